package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// A Way is a router with a name; recipients that go one way of the same name may share a transaction.
type Way struct {
	Name string
	Router
}

// Transports choose a router by the recipient's domain: the first line that fits counts.
type Transports struct {
	lines []transport
	rest  Router
}

type transport struct {
	pattern string // domain, .domain, or *
	way     Way
}

// Limits of a table of transports.
const (
	maxTransports = 100_000
	maxTransport  = 4096 // bytes of a line
)

// ReadTransports reads lines of a pattern and where its mail goes. A pattern is a domain in A-labels, a domain with a dot
// before it for those below, or *. what makes a router of the words behind it. Empty lines and those that start with # are
// passed over; what fits no line goes to rest.
func ReadTransports(in io.Reader, what func(words []string) (Router, error), rest Router) (*Transports, error) {
	t := &Transports{rest: rest}
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxTransport)
	n := 1
	for ; s.Scan(); n++ {
		words := strings.Fields(s.Text())
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(words) == 1 || n > maxTransports {
			return nil, fmt.Errorf("line %d: want a domain and where its mail goes", n)
		}
		pattern, err := parsePattern(words[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		r, err := what(words[1:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		t.lines = append(t.lines, transport{pattern, Way{strings.Join(words[1:], " "), r}})
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: longer than %d bytes", n, maxTransport)
	}
	return t, s.Err()
}

func parsePattern(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	name, below := strings.CutPrefix(s, ".")
	domain, err := domainOf(envelope.Address{Local: "x", Domain: name})
	if err == nil {
		domain, err = envelope.ParseDomain(domain)
	}
	if err != nil {
		return "", err
	}
	if below {
		domain = "." + domain
	}
	return domain, nil
}

// way is where mail for a domain goes.
func (t *Transports) way(domain string) Way {
	for _, l := range t.lines {
		if l.pattern == "*" || l.pattern == domain || l.pattern[0] == '.' && strings.HasSuffix(domain, l.pattern) {
			return l.way
		}
	}
	return Way{"", t.rest}
}

// Destination is that of the way, behind the way's name.
func (t *Transports) Destination(a envelope.Address) (string, error) {
	domain, err := domainOf(a)
	if err != nil {
		return "", err
	}
	w := t.way(domain)
	d, err := w.Destination(a)
	return w.Name + "\n" + d, err
}

// Hops are those of the way.
func (t *Transports) Hops(ctx context.Context, destination string) ([]Hop, error) {
	name, d, _ := strings.Cut(destination, "\n")
	for _, l := range t.lines {
		if name != "" && l.way.Name == name {
			return l.way.Hops(ctx, d)
		}
	}
	if t.rest == nil {
		return nil, status.Errorf(status.Config, "no transport for %s", status.Escape(d, envelope.MaxDomain))
	}
	return t.rest.Hops(ctx, d)
}
