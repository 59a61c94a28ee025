package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/route"
	"pennypost/internal/status"
)

// printer writes one line for each target.
type printer struct {
	out       io.Writer
	json      bool
	addresses bool
	prefix    bool // put the domain and a tab before each line
}

// record is a line of --json.
type record struct {
	Domain     string       `json:"domain"`
	Preference int          `json:"preference"`
	Host       string       `json:"host"`
	Port       int          `json:"port"`
	Implicit   bool         `json:"implicit"`
	Addresses  []netip.Addr `json:"addresses,omitempty"`
}

func newPrinter(out io.Writer, o options) printer {
	return printer{out: out, json: o.json, addresses: o.addresses}
}

// targets prints in one write, so that a reader never sees half a domain.
func (p printer) targets(domain string, targets []route.Target) error {
	var b strings.Builder
	for _, t := range targets {
		if !p.json {
			b.WriteString(p.line(domain, t))
			continue
		}
		r := record{Domain: domain, Preference: t.Preference, Host: t.Host, Port: t.Port, Implicit: t.Implicit}
		if p.addresses {
			r.Addresses = t.Addresses
		}
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("print %s: %w", domain, err)
		}
		b.Write(append(line, '\n'))
	}
	_, err := io.WriteString(p.out, b.String())
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// line is "PREFERENCE HOST." and what the flags add to it.
func (p printer) line(domain string, t route.Target) string {
	var b strings.Builder
	if p.prefix {
		b.WriteString(status.Escape(domain, maxLine) + "\t")
	}
	b.WriteString(strconv.Itoa(t.Preference) + " " + t.Host)
	if !(envelope.Address{Domain: t.Host}).IsLiteral() {
		b.WriteByte('.')
	}
	if t.Port != route.DefaultPort {
		b.WriteString(":" + strconv.Itoa(t.Port))
	}
	if p.addresses {
		for _, a := range t.Addresses {
			b.WriteString(" " + a.String())
		}
	}
	return b.String() + "\n"
}
