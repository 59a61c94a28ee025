package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/route"
	"pennypost/internal/status"
)

// print writes what was found about a domain in the form asked for. What it
// writes to keeps it in memory and does not fail.
func (q *query) print(out io.Writer, domain string, p *route.Plan) {
	switch {
	case q.json:
		printJSON(out, domain, p)
	case q.routes:
		_ = route.WriteRoutes(out, p.Routes())
	case q.long:
		q.printLong(out, domain, p)
	default:
		for i := range p.Targets {
			if t := &p.Targets[i]; t.TLS != route.Refused {
				io.WriteString(out, q.line(domain, t))
			}
		}
	}
}

// line is "PREFERENCE HOST." and what the flags add to it.
func (q *query) line(domain string, t *route.Target) string {
	var b strings.Builder
	if q.prefix {
		b.WriteString(status.Escape(domain, maxLine) + "\t")
	}
	b.WriteString(strconv.Itoa(t.Preference) + " " + hostOf(t))
	if q.addresses {
		for _, a := range t.Addresses {
			b.WriteString(" " + a.String())
		}
	}
	return b.String() + "\n"
}

// hostOf is a host as the DNS writes it, with the port if that is not 25.
func hostOf(t *route.Target) string {
	s := t.Host
	if !(envelope.Address{Domain: s}).IsLiteral() {
		s += "."
	}
	if t.Port != route.DefaultPort {
		s += ":" + strconv.Itoa(t.Port)
	}
	return s
}

// printLong writes one aligned line for each address of each host, and one for a
// host without any.
func (q *query) printLong(out io.Writer, domain string, p *route.Plan) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range p.Targets {
		t := &p.Targets[i]
		flags := make([]string, len(t.Flags))
		for i, f := range t.Flags {
			flags[i] = string(f)
		}
		addresses := []string{"-"}
		if len(t.Addresses) > 0 {
			addresses = addresses[:0]
		}
		for _, ip := range t.Addresses {
			addresses = append(addresses, ip.String())
		}
		dnssec := "insecure"
		if t.Authentic {
			dnssec = "secure"
		}
		for _, ip := range addresses {
			if q.prefix {
				fmt.Fprintf(w, "%s\t", status.Escape(domain, maxLine))
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Preference, hostOf(t), ip, t.TLS, dnssec,
				orDash(strings.Join(flags, ",")), status.Escape(t.Why, status.MaxText))
		}
	}
	_ = w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// record is a line of --json.
type record struct {
	Domain     string       `json:"domain"`
	Preference int          `json:"preference"`
	Host       string       `json:"host"`
	Port       int          `json:"port"`
	Implicit   bool         `json:"implicit"`
	Addresses  []netip.Addr `json:"addresses,omitempty"`
	Authentic  bool         `json:"authentic"`
	Flags      []route.Flag `json:"flags,omitempty"`
	TLS        route.Demand `json:"tls"`
	Why        string       `json:"why"`
	DANE       *daneRecord  `json:"dane,omitempty"`
	STS        *stsRecord   `json:"sts,omitempty"`
	STSError   string       `json:"sts_error,omitempty"`
	Reports    []string     `json:"reports,omitempty"`
}

type daneRecord struct {
	Names   []string `json:"names"`
	Records []string `json:"records"`
}

type stsRecord struct {
	ID     string     `json:"id"`
	Mode   route.Mode `json:"mode"`
	MX     []string   `json:"mx,omitempty"`
	MaxAge int64      `json:"max_age"`
}

func printJSON(out io.Writer, domain string, p *route.Plan) {
	all := record{Domain: domain}
	if p.STS != nil {
		all.STS = &stsRecord{p.STS.ID, p.STS.Mode, p.STS.MX, int64(p.STS.MaxAge / time.Second)}
	}
	if p.STSErr != nil {
		all.STSError = status.Escape(p.STSErr.Error(), status.MaxText)
	}
	if p.Report != nil {
		all.Reports = p.Report.To
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, t := range p.Targets {
		r := all
		r.Preference, r.Host, r.Port, r.Implicit = t.Preference, t.Host, t.Port, t.Implicit
		r.Addresses, r.Authentic, r.Flags, r.TLS = t.Addresses, t.Authentic, t.Flags, t.TLS
		r.Why = status.Escape(t.Why, status.MaxText)
		if t.DANE != nil {
			r.DANE = &daneRecord{Names: t.DANE.Names}
			for _, tlsa := range t.DANE.Records {
				r.DANE.Records = append(r.DANE.Records, tlsa.String())
			}
		}
		_ = e.Encode(r) // plain data into memory
	}
}
