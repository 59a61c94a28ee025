package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// dialogue collects the lines of a client's transcript, which are escaped and bounded there.
type dialogue struct{ lines []string }

func (d *dialogue) Write(b []byte) (int, error) {
	d.lines = append(d.lines, strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// banner is the greeting of the first connection, its lines joined by a blank.
func (d *dialogue) banner() string {
	var text []string
	for _, l := range d.lines {
		said, reply := strings.CutPrefix(l, "<- ")
		if !reply {
			break
		}
		text = append(text, said)
	}
	return strings.Join(text, " ")
}

// ehlo is what the last answered EHLO offered, without the line of the server's name.
func (d *dialogue) ehlo() []string {
	var offered []string
	inside := false
	for _, l := range d.lines {
		said, reply := strings.CutPrefix(l, "<- ")
		switch {
		case strings.HasPrefix(l, "-> EHLO"):
			inside, offered = true, nil
		case !reply:
			inside = false
		case inside && strings.HasPrefix(said, "250") && len(said) > 4:
			offered = append(offered, said[4:])
		}
	}
	if len(offered) > 0 {
		return offered[1:]
	}
	return nil
}

// printProbed writes what was found, a line of JSON or a block of lines for each address.
func (q *query) printProbed(out io.Writer, found []*probed) {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, p := range found {
		if q.json {
			_ = e.Encode(p) // plain data into memory
			continue
		}
		p.block(out, q.prefix)
	}
}

// block is an address for people: a line that says which and whether it is usable, and indented ones with the facts.
func (p *probed) block(out io.Writer, prefix bool) {
	if prefix {
		fmt.Fprintf(out, "%s\t", p.Domain)
	}
	fate := "usable"
	if !p.Usable {
		fate = "not usable: " + p.Error
	}
	fmt.Fprintf(out, "%d %s %s %s\n", p.Preference, p.Host, netip.AddrPortFrom(p.Address, uint16(p.Port)), fate)
	fact := func(name, format string, a ...any) {
		fmt.Fprintf(out, "  %-8s"+format+"\n", append([]any{name}, a...)...)
	}
	fact("demand", "%s: %s", p.Demand, p.Why)
	for _, r := range p.PTR {
		fact("ptr", "%s %s", r.Name, yes(r.Confirmed, "confirmed", "does not lead back"))
	}
	if p.PTRError != "" {
		fact("ptr", "none: %s", p.PTRError)
	}
	if p.Banner != "" {
		fact("banner", "%s", p.Banner)
	}
	if len(p.Ehlo) > 0 {
		fact("ehlo", "%s", strings.Join(p.Ehlo, ", "))
	}
	p.TLS.facts(fact)
	p.DANE.fact(fact, "dane")
	p.STS.fact(fact, "sts")
	if p.Rcpt != "" {
		fact("rcpt", "%s", p.Rcpt)
	}
}

func (t *tlsRecord) facts(fact func(string, string, ...any)) {
	if t == nil {
		fact("tls", "none")
		return
	}
	fact("tls", "%s %s", t.Version, t.Cipher)
	fact("cert", "%s for %s, by %s, %d days left", orDash(t.Subject), orDash(strings.Join(t.Names, " ")), orDash(t.Issuer), t.Days)
	t.Chain.fact(fact, "chain")
}

func (c *check) fact(fact func(string, string, ...any), name string) {
	if c != nil {
		fact(name, "%s: %s", c.Policy, yes(c.OK, "verified", c.Why))
	}
}

func yes(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
