package imap

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/imap/wire"
)

// A criterion is a search key ready to be asked of a message. Cheap ones are asked first.
type criterion struct {
	cost  need
	match func(*candidate) (bool, error)
}

// A candidate is a message that SEARCH looks at.
type candidate struct {
	seq uint32
	box *mailbox
	view
}

// search is SEARCH and UID SEARCH (RFC 3501 section 6.4.4).
func (s *session) search(c *command) error {
	want, err := s.searchArgs()
	if err != nil {
		return err
	}
	s.w.Raw("* SEARCH")
	for i, m := range s.box.msgs {
		hit, err := s.try(uint32(i+1), m, want)
		if err != nil {
			s.w.CRLF()
			return err
		}
		switch {
		case hit && c.uid:
			s.w.Printf(" %d", m.uid)
		case hit:
			s.w.Printf(" %d", i+1)
		}
	}
	s.w.CRLF()
	return nil
}

// try asks one message. One that is gone does not match.
func (s *session) try(seq uint32, m *row, want criterion) (bool, error) {
	c := &candidate{seq: seq, box: s.box, view: view{m: m}}
	defer c.close()
	hit, err := want.match(c)
	if notExist(err) {
		return false, nil
	}
	return hit, err
}

// searchArgs reads charset and keys to the end of the command.
func (s *session) searchArgs() (criterion, error) {
	if err := s.dec.SP(); err != nil {
		return criterion{}, err
	}
	p := &keyParser{s: s}
	var keys []criterion
	for first := true; ; first = false {
		k, err := p.key(0, first)
		if err != nil {
			return criterion{}, err
		}
		keys = append(keys, k)
		if c, more := s.dec.Peek(); !more || c != ' ' {
			break
		}
		if err := s.dec.SP(); err != nil {
			return criterion{}, err
		}
	}
	return all(keys), s.dec.End()
}

// all is true when every key is.
func all(keys []criterion) criterion {
	slices.SortStableFunc(keys, func(a, b criterion) int { return cmp.Compare(a.cost, b.cost) })
	return criterion{cost: costOf(keys), match: func(c *candidate) (bool, error) {
		for _, k := range keys {
			if ok, err := k.match(c); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	}}
}

func either(a, b criterion) criterion {
	keys := []criterion{a, b}
	return criterion{cost: costOf(keys), match: func(c *candidate) (bool, error) {
		ok, err := a.match(c)
		if ok || err != nil {
			return ok, err
		}
		return b.match(c)
	}}
}

func not(k criterion) criterion {
	return criterion{cost: k.cost, match: func(c *candidate) (bool, error) {
		ok, err := k.match(c)
		return !ok && err == nil, err
	}}
}

func costOf(keys []criterion) need {
	var n need
	for _, k := range keys {
		n = max(n, k.cost)
	}
	return n
}

// Limits of one SEARCH.
const (
	maxKeys     = 5000
	maxKeyDepth = 100
)

type keyParser struct {
	s    *session
	keys int
}

// key reads one search key; first tells that CHARSET may come.
func (p *keyParser) key(depth int, first bool) (criterion, error) {
	d := p.s.dec
	if p.keys++; p.keys > maxKeys || depth > maxKeyDepth {
		return criterion{}, no("LIMIT", "the search is too complex")
	}
	c, _ := d.Peek()
	switch {
	case c == '(':
		return p.group(depth)
	case c >= '0' && c <= '9' || c == '*':
		set, err := d.Set()
		return p.numbers(set), err
	}
	word, err := d.Atom()
	if err != nil {
		return criterion{}, err
	}
	switch word = strings.ToUpper(word); word {
	case "CHARSET":
		if !first {
			return criterion{}, bad("CHARSET comes first")
		}
		return p.charset(depth)
	case "NOT":
		k, err := p.next(depth)
		return not(k), err
	case "OR":
		a, err := p.next(depth)
		if err != nil {
			return criterion{}, err
		}
		b, err := p.next(depth)
		return either(a, b), err
	case "UID":
		if err := d.SP(); err != nil {
			return criterion{}, err
		}
		set, err := d.Set()
		return p.uids(set), err
	}
	return p.word(word)
}

// next reads a blank and a key.
func (p *keyParser) next(depth int) (criterion, error) {
	if err := p.s.dec.SP(); err != nil {
		return criterion{}, err
	}
	return p.key(depth+1, false)
}

func (p *keyParser) group(depth int) (criterion, error) {
	d := p.s.dec
	if err := d.Expect('('); err != nil {
		return criterion{}, err
	}
	var keys []criterion
	for {
		k, err := p.key(depth+1, false)
		if err != nil {
			return criterion{}, err
		}
		keys = append(keys, k)
		if d.Accept(')') {
			return all(keys), nil
		}
		if err := d.SP(); err != nil {
			return criterion{}, err
		}
	}
}

// charset reads the charset and the key behind it.
func (p *keyParser) charset(depth int) (criterion, error) {
	if err := p.s.dec.SP(); err != nil {
		return criterion{}, err
	}
	name, err := p.s.dec.AString()
	if err != nil {
		return criterion{}, err
	}
	if !strings.EqualFold(name, "UTF-8") && !strings.EqualFold(name, "US-ASCII") {
		return criterion{}, no("BADCHARSET (US-ASCII UTF-8)", "that charset is not known")
	}
	return p.next(depth)
}

func (p *keyParser) numbers(set wire.Set) criterion {
	set = set.Resolve(uint32(len(p.s.box.msgs)))
	return named(func(c *candidate) bool { return set.Contains(c.seq) })
}

func (p *keyParser) uids(set wire.Set) criterion {
	var last uint32
	if n := len(p.s.box.msgs); n > 0 {
		last = p.s.box.msgs[n-1].uid
	}
	set = set.Resolve(last)
	return named(func(c *candidate) bool { return set.Contains(c.m.uid) })
}

// named is a key that the message's row answers.
func named(match func(c *candidate) bool) criterion {
	return criterion{cost: needRow, match: func(c *candidate) (bool, error) { return match(c), nil }}
}

// rowKeys are the keys without argument.
var rowKeys = map[string]criterion{
	"ALL":        named(func(*candidate) bool { return true }),
	"NEW":        named(func(c *candidate) bool { return c.m.recent && !c.m.has('S') }),
	"OLD":        named(func(c *candidate) bool { return !c.m.recent }),
	"RECENT":     named(func(c *candidate) bool { return c.m.recent }),
	"ANSWERED":   flagged('R'),
	"DELETED":    flagged('T'),
	"DRAFT":      flagged('D'),
	"FLAGGED":    flagged('F'),
	"SEEN":       flagged('S'),
	"UNANSWERED": not(flagged('R')),
	"UNDELETED":  not(flagged('T')),
	"UNDRAFT":    not(flagged('D')),
	"UNFLAGGED":  not(flagged('F')),
	"UNSEEN":     not(flagged('S')),
}

func flagged(letter byte) criterion {
	return named(func(c *candidate) bool { return c.m.has(letter) })
}

// word reads the arguments of a key and makes it.
func (p *keyParser) word(word string) (criterion, error) {
	if k, ok := rowKeys[word]; ok {
		return k, nil
	}
	switch word {
	case "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE":
		return p.date(word)
	case "LARGER", "SMALLER", "KEYWORD", "UNKEYWORD", "HEADER",
		"BCC", "CC", "FROM", "SUBJECT", "TO", "BODY", "TEXT":
	default:
		return criterion{}, bad("there is no search key %s", word)
	}
	arg, err := p.string()
	if err != nil {
		return criterion{}, err
	}
	switch word {
	case "LARGER", "SMALLER":
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 0 {
			return criterion{}, bad("%s wants a number", word)
		}
		return sized(word == "LARGER", n), nil
	case "KEYWORD":
		return keyword(arg), nil
	case "UNKEYWORD":
		return not(keyword(arg)), nil
	case "HEADER":
		text, err := p.string()
		return inHeader(arg, text), err
	case "BODY", "TEXT":
		return inText(arg, word == "TEXT"), nil
	}
	return inHeader(word, arg), nil
}

func (p *keyParser) string() (string, error) {
	if err := p.s.dec.SP(); err != nil {
		return "", err
	}
	return p.s.dec.AString()
}

func sized(larger bool, n int64) criterion {
	return criterion{cost: needSize, match: func(c *candidate) (bool, error) {
		if err := c.load(c.box, needSize); err != nil {
			return false, err
		}
		return larger && c.m.size > n || !larger && c.m.size < n, nil
	}}
}

func keyword(name string) criterion {
	return named(func(c *candidate) bool {
		for _, f := range systemFlags {
			if strings.EqualFold(f.name, name) {
				return c.m.has(f.letter)
			}
		}
		letter := c.box.keywords.Letter(name)
		return letter != 0 && c.m.has(letter)
	})
}

// date reads a day and makes a key that compares it with the day of arrival or of the Date field, each as
// it is written, whatever its zone (RFC 3501 section 6.4.4).
func (p *keyParser) date(word string) (criterion, error) {
	arg, err := p.string()
	if err != nil {
		return criterion{}, err
	}
	day, err := time.Parse("2-Jan-2006", arg)
	if err != nil {
		return criterion{}, bad("%s wants a day like 1-Feb-1994", word)
	}
	of, cost := arrival, needFile
	word, sent := strings.CutPrefix(word, "SENT")
	if sent {
		of, cost = sentDate, needHeader
	}
	return criterion{cost: cost, match: func(c *candidate) (bool, error) {
		t, ok, err := of(c)
		if !ok || err != nil {
			return false, err
		}
		order := cmp.Compare(dayNumber(t), dayNumber(day))
		return word == "BEFORE" && order < 0 || word == "ON" && order == 0 || word == "SINCE" && order >= 0, nil
	}}, nil
}

func dayNumber(t time.Time) int {
	y, m, d := t.Date()
	return (y*12+int(m))*31 + d
}
