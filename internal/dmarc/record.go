package dmarc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of a record. DNS ends a TXT record at 64 kB; more tags than these are not read.
const (
	maxTags     = 100
	maxURIs     = 100
	maxProblems = 20
)

// Policy is what the owner of a domain wants done with mail that fails (RFC 9989 section 4.7, tag p).
type Policy string

// The policies, from mild to strict.
const (
	NoPolicy   Policy = "none"
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

// lower is the policy one level below, which stands for a policy that is only tested.
func (p Policy) lower() Policy {
	if p == Reject {
		return Quarantine
	}
	return NoPolicy
}

// URI is one address for reports. Limit is the obsolete size behind "!", which reporters ignore, as it was written.
type URI struct {
	URI   string `json:"uri"`
	Limit string `json:"limit,omitempty"`
}

// Record is a DMARC policy record (RFC 9989 sections 4.7 and 4.8). The names of tags and all values but that of v have no
// case. What cannot be read counts as absent and is told in Problems. A tag that comes twice has no valid value.
type Record struct {
	Text       string   `json:"text"`
	P          Policy   `json:"p,omitempty"` // as are SP and NP, "" when absent or not valid
	SP         Policy   `json:"sp,omitempty"`
	NP         Policy   `json:"np,omitempty"`
	PSD        string   `json:"psd"`     // y, n or u
	Testing    bool     `json:"t"`       // t=y
	StrictDKIM bool     `json:"adkim_s"` // adkim=s
	StrictSPF  bool     `json:"aspf_s"`  // aspf=s
	FO         string   `json:"fo"`      // options of failure reports; means nothing without RUF
	RUA        []URI    `json:"rua,omitempty"`
	RUF        []URI    `json:"ruf,omitempty"`
	Pct        int      `json:"pct"`                // RFC 7489 only; 100 when absent
	Problems   []string `json:"problems,omitempty"` // deviations, for people

	bad  bool // p, sp or np stand there and are not valid
	list bool // the same for p and sp alone, which is what RFC 7489 knows
}

// IsRecord says whether a TXT record begins with the tag v=DMARC1, as only policy records do. All others are not looked at.
func IsRecord(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.EqualFold(strings.TrimRight(name, " \t"), "v") && strings.Trim(value, " \t") == "DMARC1"
}

// ParseRecord reads a policy record. ok is false when it is none; nothing else makes a record unreadable.
func ParseRecord(text string) (r *Record, ok bool) {
	if !IsRecord(text) {
		return nil, false
	}
	r = &Record{Text: text, PSD: "u", FO: "0", Pct: 100}
	_, rest, _ := strings.Cut(text, ";")
	tags, order := r.tags(rest)
	for _, name := range order {
		r.set(name, tags[name])
	}
	if r.P == "" && !r.bad {
		r.problem("no p: as p=none")
	}
	return r, true
}

func (r *Record) problem(format string, a ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, a...))
	}
}

// tags splits what follows the version. A tag that comes twice or cannot be a tag has the value "" in the end, which no
// tag may have.
func (r *Record) tags(rest string) (tags map[string]string, order []string) {
	tags = map[string]string{}
	specs := strings.SplitN(rest, ";", maxTags+1)
	if len(specs) > maxTags {
		r.problem("more than %d tags: the rest is not read", maxTags)
		specs = specs[:maxTags]
	}
	for i, spec := range specs {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			if i < len(specs)-1 {
				r.problem("empty tag")
			}
			continue
		}
		name, value, ok := strings.Cut(spec, "=")
		name, value = strings.ToLower(strings.TrimRight(name, " \t")), strings.TrimLeft(value, " \t")
		if !ok || !isAlpha(name) {
			r.problem("not a tag: %q", clip(spec))
			continue
		}
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			r.problem("%s holds what a value must not: %q", name, clip(value))
			value = ""
		}
		if _, twice := tags[name]; twice {
			r.problem("%s comes twice: not read", name)
			tags[name] = ""
			continue
		}
		tags[name] = value
		order = append(order, name)
	}
	return tags, order
}

// set reads one tag.
func (r *Record) set(name, value string) {
	word := strings.ToLower(value)
	switch name {
	case "p":
		r.P = r.policy(name, word)
	case "sp":
		r.SP = r.policy(name, word)
	case "np":
		r.NP = r.policy(name, word)
	case "psd":
		r.PSD = r.choice(name, word, "u", "y", "n")
	case "t":
		r.Testing = r.choice(name, word, "n", "y") == "y"
	case "adkim":
		r.StrictDKIM = r.choice(name, word, "r", "s") == "s"
	case "aspf":
		r.StrictSPF = r.choice(name, word, "r", "s") == "s"
	case "fo":
		if r.FO = word; !isFO(word) {
			r.FO = r.choice(name, word, "0")
		}
	case "rua":
		r.RUA = r.uris(name, value)
	case "ruf":
		r.RUF = r.uris(name, value)
	case "pct":
		if n, err := strconv.Atoi(word); err == nil && n >= 0 && n <= 100 {
			r.Pct = n
		}
		r.problem("pct is of RFC 7489: RFC 9989 ignores it")
	case "rf", "ri":
		r.problem("%s is of RFC 7489: RFC 9989 ignores it", name)
	default:
		r.problem("unknown tag %s", clip(name))
	}
}

func (r *Record) policy(name, word string) Policy {
	switch p := Policy(word); p {
	case NoPolicy, Quarantine, Reject:
		return p
	}
	r.problem("%s is not none, quarantine or reject: %q", name, clip(word))
	r.bad = true
	r.list = r.list || name != "np"
	return ""
}

// choice is word if it is one of those allowed, the first of which is the default.
func (r *Record) choice(name, word string, allowed ...string) string {
	if slices.Contains(allowed, word) {
		return word
	}
	r.problem("%s is not one of %s: %q", name, strings.Join(allowed, " "), clip(word))
	return allowed[0]
}

// isFO is dmarc-fo: at most one of 0 and 1, and d and s each once.
func isFO(s string) bool {
	seen := map[string]bool{}
	for option := range strings.SplitSeq(s, ":") {
		if len(option) != 1 || !strings.Contains("01ds", option) || seen[option] {
			return false
		}
		seen[option] = true
	}
	return !seen["0"] || !seen["1"]
}

// uris reads a list of report addresses and leaves out those that are none.
func (r *Record) uris(name, value string) []URI {
	var out []URI
	items := strings.SplitN(value, ",", maxURIs+1)
	for i, item := range items {
		if i == maxURIs {
			r.problem("more than %d addresses in %s", maxURIs, name)
			break
		}
		uri, limit, _ := strings.Cut(strings.Trim(item, " \t"), "!")
		if !isURI(uri) {
			r.problem("%s holds no URI: %q", name, clip(item))
			continue
		}
		if limit != "" {
			r.problem("the size limit in %s is of RFC 7489", name)
		}
		out = append(out, URI{uri, limit})
	}
	return out
}

// isURI accepts what has the form of a URI: a scheme, a colon, and characters of RFC 3986, of which "!" and the comma have to be
// written as %21 and %2C.
func isURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || !letter(scheme[0]) {
		return false
	}
	for i := range len(scheme) {
		if c := scheme[i]; !letter(c) && !digit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case letter(c), digit(c), strings.IndexByte("-._~:/?#[]@$&'()*+;=", c) >= 0:
		case c == '%' && i+2 < len(rest) && hex(rest[i+1]) && hex(rest[i+2]):
			i += 2
		default:
			return false
		}
	}
	return true
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }
func hex(c byte) bool    { return digit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isAlpha(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return s != ""
}

// clip shortens what stands in a sentence.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
