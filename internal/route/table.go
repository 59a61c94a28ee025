package route

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
)

// Limits of a table of routes that is read.
const (
	maxRow     = 64 << 10
	maxRows    = 1 << 20
	maxRecords = 64
	maxNames   = 8
	none       = "-" // stands for an empty field
)

// Routes are the ways to one domain as a table has them. All targets have been
// read or are to be written in the order in which they are to be tried.
type Routes struct {
	Domain  string // A-labels, or what else Find takes, printable and without blanks
	Targets []Target
}

// Routes is the plan as a table has it.
func (p *Plan) Routes() Routes {
	if p.Expanded == "" { // a host or an address, not a domain
		return Routes{strings.ToLower(p.Domain), p.Targets}
	}
	return Routes{strings.ToLower(p.Name), p.Targets}
}

// WriteRoutes writes the table form of mx(1), one line for each address of each
// target, and one for a target without any. The fields, separated by tabs, are
// the domain, preference, host, port, address, demand, the names of DANE and its
// records, the latter two separated by commas; "-" is nothing.
func WriteRoutes(w io.Writer, r Routes) error {
	var b strings.Builder
	for _, t := range r.Targets {
		addresses := make([]string, len(t.Addresses))
		for i, ip := range t.Addresses {
			addresses[i] = ip.String()
		}
		if len(addresses) == 0 {
			addresses = []string{none}
		}
		names, records := none, none
		if t.DANE != nil {
			names = strings.Join(t.DANE.Names, ",")
			var list []string
			for _, r := range t.DANE.Records {
				list = append(list, r.String())
			}
			records = strings.Join(list, ",")
		}
		for _, ip := range addresses {
			fmt.Fprintf(&b, "%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n",
				r.Domain, t.Preference, t.Host, t.Port, ip, t.TLS, names, records)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ReadRoutes reads a table of WriteRoutes, as a person or a program may have
// changed it. Empty lines and those that start with # are passed over. Lines of
// one domain belong together wherever they stand, and lines that follow each
// other and differ only in the address are one target. The order stays.
func ReadRoutes(in io.Reader) ([]Routes, error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxRow)
	var all []Routes
	at := map[string]int{}
	n := 1
	for ; s.Scan(); n++ {
		line := strings.TrimSuffix(s.Text(), "\r")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		domain, t, err := parseRow(line)
		if err == nil && n > maxRows {
			err = fmt.Errorf("more than %d lines", maxRows)
		}
		if err != nil {
			return nil, fmt.Errorf("routes: line %d: %w", n, err)
		}
		i, known := at[domain]
		if !known {
			i = len(all)
			at[domain] = i
			all = append(all, Routes{Domain: domain})
		}
		all[i].add(t)
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("routes: line %d: longer than %d bytes", n, maxRow)
	case err != nil:
		return nil, fmt.Errorf("routes: %w", err)
	}
	return all, nil
}

// add appends a target of one address, or gives its address to the last one if
// that is otherwise the same.
func (r *Routes) add(t Target) {
	if n := len(r.Targets); n > 0 && len(t.Addresses) > 0 {
		last := &r.Targets[n-1]
		if len(last.Addresses) > 0 && sameButAddress(*last, t) {
			last.Addresses = append(last.Addresses, t.Addresses...)
			return
		}
	}
	r.Targets = append(r.Targets, t)
}

func sameButAddress(a, b Target) bool {
	return a.Host == b.Host && a.Preference == b.Preference && a.Port == b.Port && a.TLS == b.TLS && sameDANE(a.DANE, b.DANE)
}

func sameDANE(a, b *DANE) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Names, b.Names) && slices.EqualFunc(a.Records, b.Records, func(x, y resolver.TLSA) bool {
		return x.String() == y.String()
	})
}

func parseRow(line string) (domain string, t Target, err error) {
	f := strings.Split(line, "\t")
	if len(f) != 8 {
		return "", t, fmt.Errorf("%d fields, not 8", len(f))
	}
	d, err := parse(f[0])
	if err != nil {
		return "", t, fmt.Errorf("domain %q: %w", shown(f[0]), err)
	}
	domain = strings.ToLower(cmp.Or(d.name, f[0]))
	if d.direct {
		domain = strings.ToLower(f[0])
	}
	preference, err := strconv.ParseUint(f[1], 10, 16)
	if err != nil {
		return "", t, fmt.Errorf("bad preference %q", shown(f[1]))
	}
	port, err := strconv.ParseUint(f[3], 10, 16)
	if err != nil || port == 0 {
		return "", t, fmt.Errorf("bad port %q", shown(f[3]))
	}
	t = Target{Preference: int(preference), Port: int(port), TLS: Demand(f[5])}
	if t.Host, err = parseRowHost(f[2]); err != nil {
		return "", t, fmt.Errorf("host %q: %w", shown(f[2]), err)
	}
	if !slices.Contains(demands, t.TLS) {
		return "", t, fmt.Errorf("unknown demand %q", shown(f[5]))
	}
	if err = t.parseAddress(f[4]); err == nil {
		err = t.parseDANE(f[6], f[7])
	}
	return domain, t, err
}

// parseRowHost takes a name, or an address as a literal. An address without
// brackets may only stand where the DNS has put it, in the place of a name.
func parseRowHost(s string) (string, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return ip.String(), nil
	}
	d, err := parse(s)
	switch {
	case err != nil:
		return "", err
	case d.port != 0:
		return "", errors.New("the port has a field of its own")
	case d.addr.IsValid():
		return envelope.Literal(d.addr), nil
	case d.direct:
		return "", errors.New("a name in brackets")
	}
	return strings.ToLower(d.name), nil
}

func (t *Target) parseAddress(s string) error {
	if s == none {
		if t.TLS != Refused {
			return errors.New("no address, yet not refused")
		}
		return nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return fmt.Errorf("bad address %q", shown(s))
	}
	t.Addresses = []netip.Addr{ip.Unmap()}
	return nil
}

// parseDANE reads names and records, which the demand dane needs and others must
// not have: a record that is not heeded would be a false comfort.
func (t *Target) parseDANE(names, records string) error {
	if t.TLS != ByDANE {
		if names != none || records != none {
			return fmt.Errorf("names or TLSA records, but the demand is %s", t.TLS)
		}
		return nil
	}
	d := &DANE{}
	for name := range strings.SplitSeq(names, ",") {
		a, err := ascii(name)
		if err != nil || len(d.Names) == maxNames {
			return fmt.Errorf("bad names %q", shown(names))
		}
		d.Names = append(d.Names, strings.ToLower(a))
	}
	for text := range strings.SplitSeq(records, ",") {
		r, err := parseTLSA(text)
		if err != nil || len(d.Records) == maxRecords {
			return fmt.Errorf("bad TLSA records %q", shown(records))
		}
		d.Records = append(d.Records, r)
	}
	t.DANE = d
	return nil
}

// parseTLSA reads the presentation form of a record that is usable.
func parseTLSA(s string) (resolver.TLSA, error) {
	f := strings.Split(s, " ")
	if len(f) != 4 {
		return resolver.TLSA{}, errors.New("not four parts")
	}
	var n [3]uint8
	for i := range n {
		v, err := strconv.ParseUint(f[i], 10, 8)
		if err != nil {
			return resolver.TLSA{}, err
		}
		n[i] = uint8(v)
	}
	data, err := hex.DecodeString(f[3])
	r := resolver.TLSA{Usage: n[0], Selector: n[1], MatchingType: n[2], Data: data}
	if err == nil && !wellFormed(r) {
		err = errors.New("not usable")
	}
	return r, err
}
