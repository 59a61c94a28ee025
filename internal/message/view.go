package message

import (
	"bytes"
	"io"
	"slices"
	"sort"
)

// Span is a part of a message.
type Span struct{ Off, Len int64 }

// Prepend is the message with b before it. The new message is a view: it shares the old one's bytes, and closing it does
// close the old one.
func (m *Message) Prepend(b []byte) *Message {
	return m.join([]piece{{bytes.NewReader(b), Span{0, int64(len(b))}}, {m, Span{0, m.size}}})
}

// Without is the message with parts left out, a view like Prepend's. Spans may overlap and come in any order.
func (m *Message) Without(cut []Span) *Message {
	cut = slices.Clone(cut)
	slices.SortFunc(cut, func(a, b Span) int { return int(min(max(a.Off-b.Off, -1), 1)) })
	var pieces []piece
	at := int64(0)
	for _, c := range cut {
		if c.Off > at {
			pieces = append(pieces, piece{m, Span{at, min(c.Off, m.size) - at}})
		}
		at = min(max(at, c.Off+c.Len), m.size)
	}
	if at < m.size {
		pieces = append(pieces, piece{m, Span{at, m.size - at}})
	}
	return m.join(pieces)
}

type piece struct {
	ra   io.ReaderAt
	span Span // in ra
}

// joined is several pieces read as one.
type joined struct {
	pieces []piece
	start  []int64 // where each piece starts in the whole
	size   int64
}

func (m *Message) join(pieces []piece) *Message {
	j := &joined{pieces: pieces}
	for _, p := range pieces {
		j.start = append(j.start, j.size)
		j.size += p.span.Len
	}
	return &Message{ra: j, size: j.size, closer: m.closer}
}

func (j *joined) ReadAt(p []byte, off int64) (n int, err error) {
	i := sort.Search(len(j.start), func(i int) bool { return j.start[i] > off }) - 1
	for ; i >= 0 && i < len(j.pieces) && n < len(p); i++ {
		at := off + int64(n) - j.start[i]
		want := min(int64(len(p)-n), j.pieces[i].span.Len-at)
		if want <= 0 {
			continue
		}
		got, err := j.pieces[i].ra.ReadAt(p[n:n+int(want)], j.pieces[i].span.Off+at)
		n += got
		if int64(got) < want {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
