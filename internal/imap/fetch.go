package imap

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"pennypost/internal/message"
)

// A fetchItem is one thing to tell of each message.
type fetchItem struct {
	name string
	sec  *section // of BODY[...] and RFC822...
	mark bool     // sets \Seen
}

// need says how much of a message must be read for the items.
type need uint8

const (
	needRow    need = 0 // what the session knows already
	needFile   need = 1 // the time of its file
	needSize   need = 2 // its size as sent
	needHeader need = 4 // its header
	needParts  need = 8 // all of it
)

var fetchMacros = map[string][]string{
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// rfc822 are the old names of sections.
var rfc822 = map[string]*section{
	"RFC822":        {first: -1},
	"RFC822.HEADER": {first: -1, kind: "HEADER"},
	"RFC822.TEXT":   {first: -1, kind: "TEXT"},
}

// fetch is FETCH and UID FETCH (RFC 3501 sections 6.4.5, 6.4.8).
func (s *session) fetch(c *command) error {
	if err := s.dec.SP(); err != nil {
		return err
	}
	set, err := s.dec.Set()
	if err != nil {
		return err
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	items, err := s.fetchItems()
	if err != nil {
		return err
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	picked, err := s.box.pick(set, c.uid)
	if err != nil {
		return err
	}
	if c.uid && !hasItem(items, "UID") {
		items = append([]fetchItem{{name: "UID"}}, items...)
	}
	gone := 0
	for _, n := range picked {
		err := s.fetchOne(n, items)
		switch {
		case notExist(err):
			gone++
		case err != nil:
			return err
		}
		if s.w.Err() != nil {
			return s.w.Err()
		}
	}
	if gone > 0 {
		c.code, c.text = "EXPUNGEISSUED", "some messages are gone"
	}
	return nil
}

func hasItem(items []fetchItem, name string) bool {
	for _, it := range items {
		if it.name == name {
			return true
		}
	}
	return false
}

// fetchItems reads a macro, one item or a list of items.
func (s *session) fetchItems() ([]fetchItem, error) {
	if c, _ := s.dec.Peek(); c != '(' {
		name, err := s.fetchName()
		if err != nil {
			return nil, err
		}
		if macro, ok := fetchMacros[name]; ok {
			var items []fetchItem
			for _, n := range macro {
				items = append(items, fetchItem{name: n})
			}
			return items, nil
		}
		it, err := s.fetchItem(name)
		return []fetchItem{it}, err
	}
	var items []fetchItem
	_, err := s.words(func() (string, error) {
		name, err := s.fetchName()
		if err != nil {
			return "", err
		}
		it, err := s.fetchItem(name)
		items = append(items, it)
		return name, err
	})
	if err == nil && len(items) == 0 {
		err = bad("nothing was asked for")
	}
	return items, err
}

// fetchName reads an item's name, up to the bracket.
func (s *session) fetchName() (string, error) {
	name, err := s.dec.Word("[")
	return strings.ToUpper(name), err
}

func (s *session) fetchItem(name string) (fetchItem, error) {
	it := fetchItem{name: name}
	switch name {
	case "FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE":
		return it, nil
	case "RFC822", "RFC822.HEADER", "RFC822.TEXT":
		it.sec, it.mark = rfc822[name], name != "RFC822.HEADER"
		return it, nil
	case "BODY", "BODY.PEEK":
		if c, _ := s.dec.Peek(); c != '[' && name == "BODY" {
			return it, nil
		}
		var err error
		it.name, it.mark = "BODY[]", name == "BODY"
		it.sec, err = s.sectionArg()
		return it, err
	}
	return it, bad("there is no item %s", name)
}

func (it fetchItem) needs() need {
	switch {
	case it.name == "BODY" || it.name == "BODYSTRUCTURE":
		return needParts
	case it.name == "ENVELOPE":
		return needHeader
	case it.name == "RFC822.SIZE":
		return needSize
	case it.name == "INTERNALDATE":
		return needFile
	case it.sec == nil:
		return needRow
	case it.sec.needsParts():
		return needParts
	case it.sec.kind == "" || it.sec.kind == "TEXT":
		return needSize | needHeader
	}
	return needHeader
}

// fetchOne tells the items of message n. fs.ErrNotExist, before anything was written, when it is gone.
func (s *session) fetchOne(n int, items []fetchItem) error {
	m := s.box.msgs[n-1]
	v := &view{m: m}
	defer v.close()
	marks := false
	for _, it := range items {
		if err := v.load(s.box, it.needs()); err != nil {
			return err
		}
		marks = marks || it.mark
	}
	if marks && !s.box.readOnly && !m.has('S') {
		changed, err := s.box.dir.SetFlags(m.entry, m.entry.Flags+"S")
		if err != nil {
			return err
		}
		m.entry, m.told = changed, false
	}
	if !m.told && !hasItem(items, "FLAGS") {
		items = append(items[:len(items):len(items)], fetchItem{name: "FLAGS"})
	}
	s.w.Printf("* %d FETCH (", n)
	for i, it := range items {
		if i > 0 {
			s.w.Raw(" ")
		}
		if err := s.writeItem(v, it); err != nil {
			return fmt.Errorf("%w: message %q: %w", errBroken, m.entry.Key, err)
		}
	}
	s.w.Line(")")
	return nil
}

func (s *session) writeItem(v *view, it fetchItem) error {
	w := s.w
	switch {
	case it.name == "BODY[]":
		it.sec.writeLabel(w)
	default:
		w.Raw(it.name)
	}
	w.Raw(" ")
	if it.sec != nil {
		return it.sec.write(w, v.file, v.root)
	}
	switch it.name {
	case "FLAGS":
		v.m.told = true
		w.Printf("(%s)", s.box.flagsOf(v.m))
	case "UID":
		w.Printf("%d", v.m.uid)
	case "INTERNALDATE":
		w.Raw(v.date.Format(`"_2-Jan-2006 15:04:05 -0700"`))
	case "RFC822.SIZE":
		w.Printf("%d", v.m.size)
	case "ENVELOPE":
		writeEnvelope(w, v.root)
	case "BODY", "BODYSTRUCTURE":
		writeStructure(w, v.root, it.name == "BODYSTRUCTURE")
	}
	return nil
}

// A view is a message while something of it is told. What is read of it is kept for the next item.
type view struct {
	m       *row
	file    *os.File
	date    time.Time
	root    *part
	parts   bool // root is complete
	counted bool // root.end was found by reading
}

func (v *view) close() {
	if v.file != nil {
		v.file.Close()
	}
}

// load reads as much of the message as n asks for.
func (v *view) load(b *mailbox, n need) error {
	if n == needRow || n == needSize && v.m.size >= 0 {
		return nil
	}
	if v.file == nil {
		if err := v.open(b); err != nil {
			return err
		}
	}
	whole := func() io.Reader { return io.NewSectionReader(v.file, 0, 1<<62) }
	var err error
	switch {
	case n == needParts && !v.parts:
		if v.root, err = parseMessage(whole()); err != nil {
			return fmt.Errorf("read message %q: %w", v.m.entry.Key, err)
		}
		v.parts, v.counted = true, true
		v.m.size = v.root.end.wire
	case n&needHeader != 0 && v.root == nil:
		if v.root, err = parseHeader(whole()); err != nil {
			return fmt.Errorf("read message %q: %w", v.m.entry.Key, err)
		}
	}
	switch {
	case n == needSize && v.m.size < 0, n == needSize|needHeader && !v.counted:
		return v.measure()
	}
	return nil
}

// open opens the file and takes the size from the name where the name can be trusted.
func (v *view) open(b *mailbox) error {
	f, err := b.dir.OpenEntry(v.m.entry)
	if err != nil {
		return err
	}
	v.file = f
	info, err := f.Stat()
	if err != nil {
		return err
	}
	v.date = info.ModTime()
	if e := v.m.entry; v.m.size < 0 && e.VSize >= 0 && e.Size == info.Size() {
		v.m.size = e.VSize
	}
	return nil
}

// measure counts the message's bytes as they are sent: a literal must be announced exactly.
func (v *view) measure() error {
	n := &counter{}
	if _, err := io.Copy(message.ToCRLF(n), io.NewSectionReader(v.file, 0, 1<<62)); err != nil {
		return fmt.Errorf("read message %q: %w", v.m.entry.Key, err)
	}
	v.m.size = n.n
	if v.root != nil && !v.parts {
		info, err := v.file.Stat()
		if err != nil {
			return err
		}
		v.root.end = pos{raw: info.Size(), wire: n.n}
		v.counted = true
	}
	return nil
}
