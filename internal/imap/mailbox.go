package imap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pennypost/internal/imap/wire"
	"pennypost/internal/maildir"
)

// errGone ends a session whose mailbox was removed, or replaced by another under its name.
var errGone = errors.New("the selected mailbox is gone")

// A mailbox is the selected mailbox as the client knows it: message n is msgs[n-1]. What others change is
// taken over by update, at moments when the client can be told.
type mailbox struct {
	dir      *maildir.Dir
	name     string
	readOnly bool
	validity uint32
	next     uint32
	keywords maildir.Keywords
	fresh    func() (uint32, error) // makes a UIDVALIDITY
	msgs     []*row
	last     uint32 // largest UID the client was told of
	stamp    stamp
}

// A row is one message of the mailbox.
type row struct {
	uid    uint32
	entry  maildir.Entry
	recent bool
	gone   bool  // removed by someone; the client has not been told yet
	told   bool  // the client knows entry.Flags as they are
	size   int64 // of BODY[]; -1 before it was asked for
}

// A stamp is the state of new and cur as their times tell it.
type stamp struct {
	times [2]time.Time
	sure  bool // a later change gives other times
}

// openMailbox reads a mailbox for SELECT or EXAMINE. The mailbox owns dir then.
func openMailbox(ctx context.Context, dir *maildir.Dir, name string, readOnly bool, fresh func() (uint32, error)) (*mailbox, error) {
	b := &mailbox{dir: dir, name: name, readOnly: readOnly, fresh: fresh, stamp: stampOf(dir)}
	x, err := dir.Index(ctx, fresh)
	if err != nil {
		return nil, err
	}
	b.validity, b.next = x.Validity, x.Next
	if b.keywords, err = dir.Keywords(); err != nil {
		return nil, err
	}
	if err := b.take(x.Messages); err != nil {
		return nil, err
	}
	return b, nil
}

// take adds messages behind those that are there. In a mailbox that may be changed those in new move to
// cur: they are \Recent in this session and in no other.
func (b *mailbox) take(list []maildir.Indexed) error {
	for _, x := range list {
		m := &row{uid: x.UID, entry: x.Entry, told: true, size: -1, recent: x.Sub == "new"}
		if m.recent && !b.readOnly {
			moved, err := b.dir.MoveNew(m.entry)
			switch {
			case notExist(err):
				continue
			case err != nil:
				return err
			}
			m.entry = moved
		}
		b.msgs = append(b.msgs, m)
		b.last = x.UID
	}
	return nil
}

func stampOf(dir *maildir.Dir) stamp {
	now := time.Now()
	s := stamp{sure: true}
	for i, sub := range []string{"new", "cur"} {
		info, err := dir.Root().Stat(sub)
		if err != nil {
			return stamp{}
		}
		s.times[i] = info.ModTime()
		// Within one tick of the file system's clock a second change leaves no trace.
		tick := 100 * time.Millisecond
		if s.times[i].Nanosecond() == 0 {
			tick = 2 * time.Second
		}
		s.sure = s.sure && now.Sub(s.times[i]) > tick
	}
	return s
}

// update takes over what changed in the Maildir and tells the client: new messages, flags and, where
// expunge allows it, messages that are gone. An error ends the session if it is errGone.
func (b *mailbox) update(ctx context.Context, w *wire.Writer, expunge bool) error {
	now := stampOf(b.dir)
	if !b.stamp.sure || now.times != b.stamp.times {
		if err := b.rescan(ctx, w, now); err != nil {
			return err
		}
	}
	if expunge {
		b.tellExpunged(w)
	}
	b.tellFlags(w)
	return nil
}

func (b *mailbox) rescan(ctx context.Context, w *wire.Writer, now stamp) error {
	x, err := b.dir.Index(ctx, b.fresh)
	if err == nil && x.Validity != b.validity {
		err = errGone
	}
	if err != nil {
		if _, serr := b.dir.Root().Stat("cur"); serr != nil || errors.Is(err, errGone) {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		return fmt.Errorf("look for changes: %w", err)
	}
	b.stamp, b.next = now, x.Next
	before := len(b.msgs)
	rest := b.merge(x.Messages)
	if err := b.refreshKeywords(w); err != nil {
		return err
	}
	if err := b.take(rest); err != nil {
		return err
	}
	if len(b.msgs) > before {
		w.Line("* %d EXISTS", len(b.msgs))
		w.Line("* %d RECENT", b.recents())
	}
	return nil
}

// merge compares the rows with what is there and returns what is new. A message that turns up below
// the last UID told cannot be put in without changing the numbers of others: it is left for the next SELECT.
func (b *mailbox) merge(list []maildir.Indexed) (added []maildir.Indexed) {
	i := 0
	for _, m := range b.msgs {
		for i < len(list) && list[i].UID < m.uid {
			i++
		}
		if i == len(list) || list[i].UID != m.uid {
			m.gone = true
			continue
		}
		m.gone = false
		m.told = m.told && m.entry.Flags == list[i].Flags
		m.entry = list[i].Entry
	}
	first := slices.IndexFunc(list, func(x maildir.Indexed) bool { return x.UID > b.last })
	if first < 0 {
		return nil
	}
	return list[first:]
}

// refreshKeywords reads the keywords again when a letter has none that is known.
func (b *mailbox) refreshKeywords(w *wire.Writer) error {
	k, err := b.dir.Keywords()
	if err != nil {
		return err
	}
	if k != b.keywords {
		b.keywords = k
		b.tellKeywords(w)
	}
	return nil
}

func (b *mailbox) tellKeywords(w *wire.Writer) {
	flags := b.flagNames()
	w.Line("* FLAGS (%s)", flags)
	if b.readOnly {
		w.Line("* OK [PERMANENTFLAGS ()] nothing can be changed")
		return
	}
	w.Line(`* OK [PERMANENTFLAGS (%s \*)] these are kept`, flags)
}

func (b *mailbox) tellExpunged(w *wire.Writer) {
	for i := len(b.msgs) - 1; i >= 0; i-- {
		if b.msgs[i].gone {
			w.Line("* %d EXPUNGE", i+1)
		}
	}
	b.msgs = slices.DeleteFunc(b.msgs, func(m *row) bool { return m.gone })
}

func (b *mailbox) tellFlags(w *wire.Writer) {
	for i, m := range b.msgs {
		if !m.told && !m.gone {
			b.tellFetch(w, i+1, m, true)
		}
	}
}

// tellFetch writes a FETCH response with a message's flags.
func (b *mailbox) tellFetch(w *wire.Writer, seq int, m *row, uid bool) {
	m.told = true
	w.Printf("* %d FETCH (", seq)
	if uid {
		w.Printf("UID %d ", m.uid)
	}
	w.Line("FLAGS (%s))", b.flagsOf(m))
}

func (b *mailbox) recents() int {
	n := 0
	for _, m := range b.msgs {
		if m.recent {
			n++
		}
	}
	return n
}

// pick returns the rows of a set, in order, with their sequence numbers. A sequence number that does not
// exist is an error, a UID that does not is none (RFC 3501 section 6.4.8).
func (b *mailbox) pick(set wire.Set, uid bool) ([]int, error) {
	var picked []int
	if uid {
		var last uint32
		if n := len(b.msgs); n > 0 {
			last = b.msgs[n-1].uid
		}
		set = set.Resolve(last)
		for i, m := range b.msgs {
			if set.Contains(m.uid) {
				picked = append(picked, i+1)
			}
		}
		return picked, nil
	}
	// "7:*" in a mailbox of 5 is taken for "5:*": a client may not know yet that messages are gone.
	last := uint32(len(b.msgs))
	open := func(r wire.Range) bool { return r.Lo == wire.Star || r.Hi == wire.Star }
	for i, r := range set {
		switch {
		case open(r):
			set[i] = wire.Range{Lo: min(max(r.Lo, r.Hi), last), Hi: wire.Star}
		case max(r.Lo, r.Hi) > last:
			return nil, bad("there is no message of that number")
		}
	}
	for _, r := range set.Resolve(last) {
		for n := r.Lo; n <= r.Hi; n++ {
			picked = append(picked, int(n))
		}
	}
	return picked, nil
}

// Flags that have letters of their own in Maildir. $Forwarded is what P is called by those who show it.
var systemFlags = []struct {
	name   string
	letter byte
}{
	{`\Answered`, 'R'}, {`\Flagged`, 'F'}, {`\Deleted`, 'T'}, {`\Seen`, 'S'}, {`\Draft`, 'D'}, {`$Forwarded`, 'P'},
}

// flagNames lists all flags that messages of the mailbox may have.
func (b *mailbox) flagNames() string {
	var names []string
	for _, f := range systemFlags {
		names = append(names, f.name)
	}
	for _, k := range b.keywords {
		if k != "" {
			names = append(names, k)
		}
	}
	return strings.Join(names, " ")
}

// flagsOf lists the flags of a message. A letter that has no name is not shown.
func (b *mailbox) flagsOf(m *row) string {
	names := flagList(m.entry.Flags, &b.keywords)
	if m.recent {
		names = append(names, `\Recent`)
	}
	return strings.Join(names, " ")
}

func flagList(letters string, k *maildir.Keywords) []string {
	var names []string
	for _, f := range systemFlags {
		if strings.IndexByte(letters, f.letter) >= 0 {
			names = append(names, f.name)
		}
	}
	for i := range len(letters) {
		if name := k.Name(letters[i]); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// letters translates flags into letters, and makes keywords in dir that are not there yet. \Recent, which
// nobody can set, is passed over.
func letters(ctx context.Context, dir *maildir.Dir, flags []string) (string, error) {
	var out []byte
	var words []string
next:
	for _, name := range flags {
		for _, f := range systemFlags {
			if strings.EqualFold(name, f.name) {
				out = append(out, f.letter)
				continue next
			}
		}
		switch {
		case strings.EqualFold(name, `\Recent`):
		case strings.HasPrefix(name, `\`):
			return "", bad("there is no flag %s", name)
		default:
			words = append(words, name)
		}
	}
	if len(words) == 0 {
		return string(out), nil
	}
	k, err := dir.AddKeywords(ctx, words)
	if errors.Is(err, maildir.ErrKeywordsFull) {
		return "", no("LIMIT", "the mailbox has 26 keywords already")
	}
	if err != nil {
		return "", err
	}
	for _, name := range words {
		out = append(out, k.Letter(name))
	}
	return string(out), nil
}
