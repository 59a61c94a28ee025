package smtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"pennypost/internal/message"
)

// Chunking says when a message goes by BDAT (RFC 3030) to a server that offers CHUNKING. One with binary parts does always,
// unless ChunkNever has them re-encoded.
type Chunking uint8

const (
	ChunkLarge  Chunking = iota // from 64 kB on: nothing has to be looked for then, and a refusal comes early
	ChunkAlways                 // every message
	ChunkNever
)

const (
	largeMessage = 64 << 10
	chunkSize    = 4 << 20 // bytes of a BDAT; each is answered before the next is sent
)

// chunks says whether a message of so many bytes goes by BDAT.
func (c *Client) chunks(size int64) bool {
	_, offered := c.esmtp["CHUNKING"]
	return offered && (c.o.Chunking == ChunkAlways || c.o.Chunking == ChunkLarge && size >= largeMessage)
}

// chunkError is the refusal of a chunk. The session goes on with RSET.
type chunkError struct{ reply Reply }

func (c *chunkError) Error() string { return "BDAT: " + c.reply.String() }

// chunked writes the message as BDAT commands, all but the last of them answered. Its results are those of data; a message
// that cannot be read, or is not of the size that was found before, is never complete.
func (c *Client) chunked(ctx context.Context, m *message.Message, what content) (unsure bool, err error) {
	w := &chunkWriter{c: c, ctx: ctx, left: what.size}
	w.out = c.writer(ctx)
	if what.size == 0 {
		w.begin()
	}
	d := io.WriteCloser(&DotWriter{w: w, raw: true})
	if what.binary {
		d = nopCloser{w}
	}
	if _, err := io.Copy(d, m.Reader()); err != nil {
		return w.over, err
	}
	if err := d.Close(); err != nil {
		return w.over, err
	}
	if w.left > 0 || w.room > 0 {
		return false, errors.New("the message has changed while it was sent")
	}
	return true, w.out.Flush()
}

// nopCloser is for octets that need no end.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// chunkWriter takes the bytes as they go over the wire.
type chunkWriter struct {
	c     *Client
	ctx   context.Context
	out   *bufio.Writer
	left  int64 // bytes of chunks to come
	room  int64 // bytes of this chunk to come
	begun bool
	over  bool // the last bytes may have been written
}

func (w *chunkWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if w.room == 0 {
			if err := w.next(); err != nil {
				return n, err
			}
		}
		k := min(int64(len(p)-n), w.room)
		if w.left == 0 && k == w.room { // what was written up to here is no whole message
			if err := w.out.Flush(); err != nil {
				return n, err
			}
			w.over = true
		}
		if _, err := w.out.Write(p[n : n+int(k)]); err != nil {
			return n, err
		}
		n += int(k)
		w.room -= k
	}
	return n, nil
}

// next takes the reply to the chunk before and begins another.
func (w *chunkWriter) next() error {
	if w.left == 0 {
		return errors.New("the message has grown while it was sent")
	}
	if w.begun {
		if err := w.out.Flush(); err != nil {
			return err
		}
		rep, err := w.c.reply(w.ctx, waitData)
		if err != nil {
			return err
		}
		if rep.Code != 250 {
			return &chunkError{rep}
		}
	}
	return w.begin()
}

func (w *chunkWriter) begin() error {
	last := ""
	if w.room = min(w.left, chunkSize); w.room == w.left {
		last = " LAST"
	}
	w.left -= w.room
	w.begun = true
	_, err := fmt.Fprintf(w.out, "BDAT %d%s\r\n", w.room, last)
	return err
}
