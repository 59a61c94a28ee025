package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/status"
)

// How long a host that did not answer is left alone: from downFirst, doubled each time, to downMax. That is less than a
// message waits between two attempts, so it saves the time of messages that come meanwhile.
const (
	downFirst = time.Minute
	downMax   = time.Hour
	maxHosts  = 10_000 // that are remembered
)

// Hosts is a memory of hosts that did not answer: a file for each, named like it, in a directory that several processes may
// share. What is written is no promise: it is not synced, and what cannot be read is forgotten.
type Hosts struct {
	root *os.Root
	now  func() time.Time
}

// OpenHosts opens the directory name below root and makes it when it is missing.
func OpenHosts(root *os.Root, name string) (*Hosts, error) {
	if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, status.Errorf(status.CantCreate, "make the memory of hosts: %w", err)
	}
	dir, err := root.OpenRoot(name)
	if err != nil {
		return nil, status.Errorf(status.Config, "open the memory of hosts: %w", err)
	}
	return &Hosts{root: dir, now: time.Now}, nil
}

// Close gives the directory back.
func (h *Hosts) Close() error { return h.root.Close() }

// down is what a file says.
type down struct {
	since, until time.Time
	times        int
	why          string
}

// file is the name of a host's file.
func file(host string) string { return url.PathEscape(host) }

func (h *Hosts) read(host string) (d down, ok bool) {
	text, err := h.root.ReadFile(file(host))
	if err != nil {
		return d, false
	}
	lines := strings.SplitN(string(text), "\n", 5)
	if len(lines) < 4 {
		return d, false
	}
	d.since, err = time.Parse(time.RFC3339, strings.TrimPrefix(lines[0], "since "))
	if err == nil {
		d.until, err = time.Parse(time.RFC3339, strings.TrimPrefix(lines[1], "until "))
	}
	if err == nil {
		d.times, err = strconv.Atoi(strings.TrimPrefix(lines[2], "times "))
	}
	d.why = lines[3]
	return d, err == nil
}

// Down is why the host is to be left alone now, or nil.
func (h *Hosts) Down(host string) error {
	if h == nil {
		return nil
	}
	d, ok := h.read(host)
	if now := h.now(); !ok || !now.Before(d.until) || d.until.Sub(now) > downMax {
		return nil
	}
	return status.Errorf(status.TempFail, "it has not answered since %s and is left alone until %s: %s",
		d.since.Format(time.RFC3339), d.until.Format(time.RFC3339), d.why).WithReply(451, "4.4.1")
}

// Silent tells whether the host did not answer the last time.
func (h *Hosts) Silent(host string) bool {
	if h == nil {
		return false
	}
	_, ok := h.read(host)
	return ok
}

// note learns from an attempt to connect. Only that a host did not answer counts: one that refuses by a reply is there. An
// attempt that was broken off says nothing.
func (h *Hosts) note(host string, err error, stopped bool) {
	if h == nil || len(file(host)) > 200 {
		return
	}
	if err == nil || status.Of(err).Enhanced != "4.4.1" && status.Of(err).Enhanced != "4.4.2" {
		h.root.Remove(file(host))
		return
	}
	if stopped {
		return
	}
	d, ok := h.read(host)
	now := h.now().UTC()
	if !ok {
		if h.full() {
			return
		}
		d = down{since: now}
	}
	d.times = min(d.times+1, 20)
	wait := min(downFirst<<(d.times-1), downMax)
	text := fmt.Sprintf("since %s\nuntil %s\ntimes %d\n%s\n", d.since.Format(time.RFC3339), now.Add(wait).Format(time.RFC3339), d.times,
		status.Escape(status.Of(err).Text, 300))
	tmp := "." + strconv.Itoa(os.Getpid()) + "." + strconv.FormatInt(now.UnixNano(), 36)
	if h.root.WriteFile(tmp, []byte(text), 0o600) != nil || h.root.Rename(tmp, file(host)) != nil {
		h.root.Remove(tmp)
	}
}

// full tells whether there are too many files for another one. Those that are long over make room.
func (h *Hosts) full() bool {
	d, err := h.root.Open(".")
	if err != nil {
		return true
	}
	defer d.Close()
	all, err := d.ReadDir(-1)
	if err != nil || len(all) < maxHosts {
		return err != nil
	}
	left := len(all)
	for _, de := range all {
		if info, err := de.Info(); err == nil && h.now().Sub(info.ModTime()) > 2*downMax && h.root.Remove(de.Name()) == nil {
			left--
		}
	}
	return left >= maxHosts
}
