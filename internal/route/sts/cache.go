package sts

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/route"
)

// A kept policy is a file named like its domain: the line "ID EXPIRES", the
// latter in seconds of Unix time, and then the policy as RFC 8461 section 3.2
// writes it.

// load returns the kept policy of a domain and when its age is over, nil if there
// is none or that was before. A damaged file is none, and the error says so.
func (s *Source) load(domain string) (*route.Policy, time.Time, error) {
	if s.Cache == nil || !fits(domain) {
		return nil, time.Time{}, nil
	}
	f, err := s.Cache.Open(domain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("kept policy: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 2*route.MaxPolicy))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("kept policy: %w", err)
	}
	p, expires, err := decode(text)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("kept policy of %s: %w", domain, err)
	}
	if !time.Now().Before(expires) {
		return nil, time.Time{}, nil
	}
	return p, expires, nil
}

func decode(text []byte) (*route.Policy, time.Time, error) {
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	id, expires, _ := strings.Cut(string(head), " ")
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || id == "" {
		return nil, time.Time{}, errors.New("damaged first line")
	}
	p, err := route.ParsePolicy(rest)
	if err != nil {
		return nil, time.Time{}, err
	}
	p.ID = id
	return p, time.Unix(seconds, 0), nil
}

func encode(p *route.Policy, now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %d\nversion: STSv1\nmode: %s\n", p.ID, now.Add(p.MaxAge).Unix(), p.Mode)
	for _, mx := range p.MX {
		fmt.Fprintf(&b, "mx: %s\n", mx)
	}
	fmt.Fprintf(&b, "max_age: %d\n", p.MaxAge/time.Second)
	return b.Bytes()
}

// store keeps a policy. The file appears whole or not at all.
func (s *Source) store(domain string, p *route.Policy) error {
	if s.Cache == nil || !fits(domain) {
		return nil
	}
	stage := ".new-" + rand.Text()
	err := s.write(stage, encode(p, time.Now()))
	if err == nil {
		err = s.Cache.Rename(stage, domain)
	}
	if err != nil {
		_ = s.Cache.Remove(stage) // it may not be there
		return fmt.Errorf("keep policy: %w", err)
	}
	return s.sync(".")
}

func (s *Source) write(name string, data []byte) error {
	f, err := s.Cache.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *Source) sync(dir string) error {
	d, err := s.Cache.Open(dir)
	if err != nil {
		return fmt.Errorf("keep policy: %w", err)
	}
	defer d.Close()
	return d.Sync()
}

// fits tells whether a domain can be the name of a file of the cache.
func fits(domain string) bool {
	return domain != "" && domain[0] != '.' && filepath.Base(domain) == domain && len(domain) < 250
}
