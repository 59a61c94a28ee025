package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

const (
	greyWait  = 48 * time.Hour      // within which a client has to come again
	greyKeep  = 35 * 24 * time.Hour // how long it is known after its last message: longer than a month
	greySweep = time.Hour           // between two looks for what has expired
	greyMost  = 4096                // files in one of the 256 directories after a sweep
	waiting   = ".new"              // the file's time is that of the first attempt
	known     = ".ok"               // the file's time is that of the last message, give or take a day
	swept     = "swept"             // its time is that of the last sweep
)

// Greylist makes a client that nobody knows come again after a while, which a program that only sends spam does not do
// (RFC 6647). Its memory is a directory: a file without content for each network, sender and recipient, named by a hash of
// them, XX/HASH.new for the one that waits and XX/HASH.ok for the one that came again. A state changes by one rename, so any
// number of processes may share the directory. Nothing is synced: what a crash forgets costs a delay.
type Greylist struct {
	Root  *os.Root         // where the directory is
	Dir   string           // its name, made when it is needed; empty = Root itself
	Delay time.Duration    // a second attempt before that is too early
	Now   func() time.Time // nil = time.Now
}

// Accept is nil for a peer that is known for this sender and recipient or that has waited long enough, and otherwise 451
// 4.7.1. A network is a /24 of IPv4 or a /64 of IPv6, because large senders try again from another host.
func (g *Greylist) Accept(ip netip.Addr, sender, rcpt envelope.Address) error {
	now := time.Now
	if g.Now != nil {
		now = g.Now
	}
	left, err := g.visit(path.Join(g.Dir, greyName(ip, sender, rcpt)), now())
	switch {
	case err != nil:
		return status.Errorf(status.IO, "greylist: %w", err)
	case left > 0:
		left = left.Truncate(time.Second) + time.Second
		return status.Errorf(status.TempFail, "%s: greylisted, try again in %v", status.Escape(rcpt.Path(), 300), left).WithReply(451, "4.7.1")
	}
	return nil
}

// greyName is the path of a file without its ending.
func greyName(ip netip.Addr, sender, rcpt envelope.Address) string {
	bits := 64
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		bits = 24
	}
	network, _ := ip.Prefix(bits) // an invalid address has one too, the zero one
	sum := sha256.Sum256([]byte(network.String() + "\x00" + strings.ToLower(sender.String()) + "\x00" + strings.ToLower(rcpt.String())))
	name := hex.EncodeToString(sum[:16])
	return name[:2] + "/" + name[2:]
}

// visit notes an attempt and returns how long the client still has to wait.
func (g *Greylist) visit(name string, now time.Time) (time.Duration, error) {
	age, err := g.age(name+known, now)
	switch {
	case err == nil && age < greyKeep:
		if age > 24*time.Hour {
			err = g.Root.Chtimes(name+known, now, now)
		}
		return 0, gone(err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	age, err = g.age(name+waiting, now)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Between the two looks another process may have renamed the one to the other.
		if age, err := g.age(name+known, now); err == nil && age < greyKeep {
			return 0, nil
		}
		return g.Delay, g.begin(name, now)
	case err != nil:
		return 0, err
	case age > greyWait:
		return g.Delay, gone(g.Root.Chtimes(name+waiting, now, now))
	case age < g.Delay:
		return min(g.Delay-age, g.Delay), nil
	}
	if err := g.Root.Rename(name+waiting, name+known); err != nil {
		return 0, gone(err) // another process was faster
	}
	return 0, gone(g.Root.Chtimes(name+known, now, now))
}

// gone forgives that a file has just been renamed or removed by another process.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (g *Greylist) age(name string, now time.Time) (time.Duration, error) {
	info, err := g.Root.Stat(name)
	if err != nil {
		return 0, err
	}
	return now.Sub(info.ModTime()), nil
}

// begin makes the file of a first attempt and, now and then, room for it.
func (g *Greylist) begin(name string, now time.Time) error {
	dir := path.Dir(name)
	if err := g.Root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := g.touch(name+waiting, now); err != nil {
		return err
	}
	if age, err := g.age(dir+"/"+swept, now); err == nil && age < greySweep {
		return nil
	}
	if err := g.touch(dir+"/"+swept, now); err != nil {
		return err
	}
	return g.sweep(dir, now)
}

// touch makes an empty file, unless it is there, and gives it the time.
func (g *Greylist) touch(name string, now time.Time) error {
	f, err := g.Root.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return gone(g.Root.Chtimes(name, now, now))
}

// sweep removes what has expired, and the oldest where there are still too many files.
func (g *Greylist) sweep(dir string, now time.Time) error {
	list, err := fs.ReadDir(g.Root.FS(), dir)
	if err != nil {
		return err
	}
	type entry struct {
		name string
		age  time.Duration
	}
	var kept []entry
	for _, e := range list {
		name := dir + "/" + e.Name()
		limit := greyWait
		if strings.HasSuffix(name, known) {
			limit = greyKeep
		} else if !strings.HasSuffix(name, waiting) {
			continue
		}
		age, err := g.age(name, now)
		switch {
		case err != nil:
			continue // another process was faster
		case age > limit:
			if err := gone(g.Root.Remove(name)); err != nil {
				return err
			}
		case limit == greyWait:
			kept = append(kept, entry{name, age})
		}
	}
	slices.SortFunc(kept, func(a, b entry) int { return int(a.age/time.Second - b.age/time.Second) })
	for _, e := range kept[min(len(kept), greyMost):] {
		if err := gone(g.Root.Remove(e.name)); err != nil {
			return err
		}
	}
	return nil
}
