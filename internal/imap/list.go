package imap

import (
	"slices"
	"strings"
)

// maxPattern bounds a pattern of LIST.
const maxPattern = 1000

// list is LIST (RFC 3501 section 6.3.8) with the attributes of CHILDREN (RFC 3348).
func (s *session) list(*command) error {
	pattern, err := s.pattern()
	if err != nil {
		return err
	}
	if pattern == "" {
		s.w.Line(`* LIST (\Noselect) "." ""`)
		return nil
	}
	folders, err := s.account.Dir.Folders()
	if err != nil {
		return err
	}
	names := withParents(append(folders, inbox))
	for _, n := range names {
		if !matches(pattern, n.name) {
			continue
		}
		attr := `\HasNoChildren`
		if n.children {
			attr = `\HasChildren`
		}
		if n.implied {
			attr = `\Noselect ` + attr
		}
		s.w.Printf(`* LIST (%s) "." `, attr)
		s.w.AString(n.name)
		s.w.CRLF()
	}
	return nil
}

// lsub is LSUB (RFC 3501 section 6.3.9): a level above subscribed mailboxes is told of only where a "%" hides
// what is below it.
func (s *session) lsub(*command) error {
	pattern, err := s.pattern()
	if err != nil {
		return err
	}
	names, err := s.account.Dir.Subscriptions()
	if err != nil {
		return err
	}
	for _, n := range withParents(names) {
		if n.implied && !strings.HasSuffix(pattern, "%") || !matches(pattern, n.name) {
			continue
		}
		attr := ""
		if n.implied {
			attr = `\Noselect`
		}
		s.w.Printf(`* LSUB (%s) "." `, attr)
		s.w.AString(n.name)
		s.w.CRLF()
	}
	return nil
}

// pattern reads reference and pattern and joins them.
func (s *session) pattern() (string, error) {
	if err := s.dec.SP(); err != nil {
		return "", err
	}
	reference, err := s.dec.AString()
	if err != nil {
		return "", err
	}
	if err := s.dec.SP(); err != nil {
		return "", err
	}
	pattern, err := s.dec.ListMailbox()
	if err != nil {
		return "", err
	}
	if err := s.dec.End(); err != nil {
		return "", err
	}
	if pattern == "" {
		return "", nil
	}
	if len(reference)+len(pattern) > maxPattern {
		return "", no("LIMIT", "the pattern is too long")
	}
	return reference + pattern, nil
}

// A listed is a name that LIST may show.
type listed struct {
	name     string
	children bool
	implied  bool // only a level above others
}

// withParents sorts names, adds the levels above them that are none themselves, and marks what has children.
func withParents(names []string) []listed {
	at := make(map[string]*listed, len(names))
	for _, n := range names {
		at[n] = &listed{name: n}
	}
	for _, n := range names {
		for i := strings.LastIndexByte(n, '.'); i > 0; i = strings.LastIndexByte(n, '.') {
			n = n[:i]
			l := at[n]
			if l == nil {
				l = &listed{name: n, implied: true}
				at[n] = l
			}
			l.children = true
		}
	}
	out := make([]listed, 0, len(at))
	for _, l := range at {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return out
}

// matches compares a name with a pattern: "*" is anything, "%" anything within a level. It takes time
// in proportion to the product of the lengths.
func matches(pattern, name string) bool {
	if name == inbox && strings.EqualFold(pattern, inbox) {
		return true
	}
	// reach[j]: the pattern so far matches name[:j]
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for i := range len(pattern) {
		c := pattern[i]
		if c == '*' || c == '%' {
			for j := 1; j <= len(name); j++ {
				reach[j] = reach[j] || reach[j-1] && (c == '*' || name[j-1] != '.')
			}
			continue
		}
		for j := len(name); j > 0; j-- {
			reach[j] = reach[j-1] && name[j-1] == c
		}
		reach[0] = false
	}
	return reach[len(name)]
}
