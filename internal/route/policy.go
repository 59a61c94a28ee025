package route

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/envelope"
)

// Limits of an MTA-STS policy: its size (RFC 8461 section 3.3) and age (section
// 3.2), and how many hosts it may name.
const (
	MaxPolicy    = 64 << 10
	maxPolicyAge = 31557600 // seconds
	maxPatterns  = 256
)

// Mode is how strict an MTA-STS policy is meant, RFC 8461 section 5.
type Mode string

// The modes of RFC 8461 section 5.
const (
	ModeEnforce Mode = "enforce"
	ModeTesting Mode = "testing"
	ModeNone    Mode = "none"
)

// Policy is an MTA-STS policy, RFC 8461 section 3.2.
type Policy struct {
	ID     string // of the record that announced it
	Mode   Mode
	MX     []string // lower case; may start with "*."
	MaxAge time.Duration
}

// PolicySource finds MTA-STS policies.
type PolicySource interface {
	// Policy returns the policy in force for a domain in A-labels, nil if there
	// is none. The error tells why there is none, or why it could not be
	// renewed; it may come with a policy.
	Policy(ctx context.Context, domain string) (*Policy, error)
}

// Match tells whether the policy allows a host: by its name, or by a pattern
// whose star stands for exactly one label (RFC 8461 section 4.1).
func (p *Policy) Match(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(p.MX, func(pattern string) bool {
		if above, star := strings.CutPrefix(pattern, "*."); star {
			return above == parent && parent != ""
		}
		return pattern == host
	})
}

// ParsePolicy reads a policy (RFC 8461 section 3.2). Of a key that comes twice
// the first counts; unknown ones are passed over.
func ParsePolicy(text []byte) (*Policy, error) {
	if len(text) > MaxPolicy {
		return nil, fmt.Errorf("policy of more than %d bytes", MaxPolicy)
	}
	first := map[string]string{}
	p := &Policy{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("policy line %q is no \"key: value\"", shown(line))
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "mx" {
			pattern, err := parsePattern(value)
			if err != nil {
				return nil, err
			}
			p.MX = append(p.MX, pattern)
		} else if _, twice := first[key]; !twice {
			first[key] = value
		}
	}
	return p, p.fill(first)
}

func (p *Policy) fill(first map[string]string) error {
	if first["version"] != "STSv1" {
		return fmt.Errorf("policy version %q is not STSv1", shown(first["version"]))
	}
	p.Mode = Mode(first["mode"])
	switch p.Mode {
	case ModeEnforce, ModeTesting:
		if len(p.MX) == 0 {
			return errors.New("policy names no host")
		}
	case ModeNone:
	default:
		return fmt.Errorf("policy mode %q is unknown", shown(first["mode"]))
	}
	if len(p.MX) > maxPatterns {
		return fmt.Errorf("policy names more than %d hosts", maxPatterns)
	}
	age := first["max_age"]
	seconds, err := strconv.ParseUint(age, 10, 64)
	if err != nil || len(age) > 10 {
		return fmt.Errorf("policy max_age %q is no number of seconds", shown(age))
	}
	p.MaxAge = time.Duration(min(seconds, maxPolicyAge)) * time.Second
	return nil
}

func parsePattern(s string) (string, error) {
	name, star := strings.CutPrefix(s, "*.")
	a, err := ascii(name)
	if err != nil || (envelope.Address{Domain: a}).IsLiteral() {
		return "", fmt.Errorf("policy names %q, which is no host", shown(s))
	}
	a = strings.ToLower(a)
	if star {
		a = "*." + a
	}
	return a, nil
}

// ParseSTSRecord finds the id in the texts at _mta-sts.DOMAIN (RFC 8461 section
// 3.1). It is empty without error if no text is such a record; several are an
// error, since then none counts.
func ParseSTSRecord(texts []string) (id string, err error) {
	fields, err := onlyRecord(texts, "STSv1")
	if err != nil || fields == nil {
		return "", err
	}
	id = fields["id"]
	bad := func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') }
	if id == "" || len(id) > 32 || strings.ContainsFunc(id, bad) {
		return "", fmt.Errorf("MTA-STS record has a bad id %q", shown(id))
	}
	return id, nil
}

// Report is where to send reports about TLS, RFC 8460 section 3.
type Report struct {
	To []string // mailto: and https: URIs, as they were written
}

// ParseReport finds the TLS-RPT record in the texts at _smtp._tls.DOMAIN. It is
// nil without error if no text is one.
func ParseReport(texts []string) (*Report, error) {
	fields, err := onlyRecord(texts, "TLSRPTv1")
	if err != nil || fields == nil {
		return nil, err
	}
	r := &Report{}
	for uri := range strings.SplitSeq(fields["rua"], ",") {
		uri = strings.TrimSpace(uri)
		lower := strings.ToLower(uri)
		if strings.HasPrefix(lower, "mailto:") || strings.HasPrefix(lower, "https:") {
			r.To = append(r.To, shown(uri))
		}
	}
	if len(r.To) == 0 {
		return nil, errors.New("TLSRPT record names no mailto: or https: to report to")
	}
	return r, nil
}

// onlyRecord reads the one text that starts with v=VERSION into its fields, of
// which the first of a name counts. Nil if there is none.
func onlyRecord(texts []string, version string) (map[string]string, error) {
	var fields map[string]string
	for _, text := range texts {
		head, rest, _ := strings.Cut(text, ";")
		if strings.TrimRight(head, " \t") != "v="+version {
			continue
		}
		if fields != nil {
			return nil, fmt.Errorf("more than one %s record", version)
		}
		fields = map[string]string{}
		for field := range strings.SplitSeq(rest, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			key = strings.TrimSpace(key)
			if _, twice := fields[key]; !twice {
				fields[key] = strings.TrimSpace(value)
			}
		}
	}
	return fields, nil
}
