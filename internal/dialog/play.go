package dialog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"pennypost/internal/lazy"
)

// maxLine is what is read of one line of the other side, in bytes.
const maxLine = 1 << 20

// DefaultPatience is how long a step of the other side is awaited.
const DefaultPatience = 20 * time.Second

// Mismatch is an expectation that was not met. What the other side said is in it as it came.
type Mismatch struct {
	Step Step
	Got  string // what came, in words or quoted
	Want string
}

func (m *Mismatch) Error() string {
	return fmt.Sprintf("line %d:\n got %s\nwant %s", m.Step.Number, m.Got, m.Want)
}

// Player is one side of a dialog.
type Player struct {
	Side     Side
	Patience time.Duration // for each step of the other side; 0 = DefaultPatience
	// StartTLS changes a connection to TLS; nil: it cannot.
	StartTLS func(context.Context, net.Conn) (net.Conn, error)
	// Secret is what is said in the place of [redacted]: behind AUTH and the mechanism, where first is set, or as the answer to
	// challenge, the last line of the other side; nil: it cannot.
	Secret func(mechanism string, first bool, challenge string) (string, error)
	// AnyName compares of the replies to a message only the codes: their words have the server's name for it, which is another
	// each time.
	AnyName bool
	// Played is told each step before it is carried out, or nil.
	Played func(Step)

	conn      net.Conn
	encrypted bool
	r         *bufio.Reader
	last      string // line of the other side
	mechanism string // of the exchange that is on
	secret    bool   // its answers were not kept
	named     bool   // a message ended, or a part of it
	heard     bool   // since the last step of ours
}

// Play carries out the steps of one session on c and leaves the connection open, unless we were to end it. A *Mismatch says
// that the other side did something else; other errors that a step could not be carried out. encrypted says that c is TLS
// already: the first change to it is then no change.
func (p *Player) Play(ctx context.Context, c net.Conn, steps []Step, encrypted bool) (err error) {
	p.use(c)
	p.encrypted = encrypted
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for i, s := range steps {
		if p.Played != nil {
			p.Played(s)
		}
		if s.Side == Client && s.Kind == Line && isAuth(s.Text) {
			p.mechanism, p.secret = strings.Fields(s.Text)[1], redacted(steps[i:])
		}
		dot := i+1 < len(steps) && steps[i+1].Kind == Line && steps[i+1].Text == "."
		if err := p.step(ctx, s, dot); err != nil {
			var m *Mismatch
			switch {
			case ctx.Err() != nil:
				return fmt.Errorf("line %d: given up: %w", s.Number, context.Cause(ctx))
			case errors.As(err, &m):
				return m
			}
			return fmt.Errorf("line %d: %w", s.Number, err)
		}
	}
	return nil
}

// Conn is the connection as it is now: the one that was given, or TLS on it.
func (p *Player) Conn() net.Conn { return p.conn }

func (p *Player) use(c net.Conn) { p.conn, p.r = c, bufio.NewReader(c) }

func (p *Player) step(ctx context.Context, s Step, dot bool) error {
	patience := p.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	// A pipe between processes may have no deadline.
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	if err := ctx.Err(); err != nil { // it may have ended before the deadline was set
		return err
	}
	switch {
	case s.Kind == Pause:
		return pause(ctx, s.Time)
	case s.Kind == TLS:
		return p.startTLS(ctx)
	case s.Side == p.Side:
		p.named = p.named && !p.heard || s.Kind == Line && endsMessage(s.Text)
		p.heard = false
		return p.say(s, dot)
	}
	p.heard = true
	return p.await(s, dot)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Player) startTLS(ctx context.Context) error {
	switch {
	case p.encrypted:
		return nil
	case p.StartTLS == nil:
		return errors.New("there is no TLS here")
	case p.r.Buffered() > 0:
		return errors.New("the other side said more in clear before the change to TLS")
	}
	c, err := p.StartTLS(ctx, p.conn)
	if err != nil {
		return err
	}
	p.use(c)
	p.encrypted = true
	return nil
}

// say carries out a step of our side.
func (p *Player) say(s Step, dot bool) error {
	var err error
	switch s.Kind {
	case Line:
		text := s.Text
		if head, ok := hidden(text); ok && p.secret {
			if p.Secret == nil {
				return fmt.Errorf("%q: the secret was not kept", text)
			}
			if text, err = p.Secret(p.mechanism, head != "", p.last); err != nil {
				return err
			}
			text = head + text
		}
		_, err = io.WriteString(p.conn, text+"\r\n")
	case Raw:
		_, err = io.WriteString(p.conn, s.Text)
	case Message:
		err = writeFiller(p.conn, s.Bytes, dot)
	case EOF:
		err = p.conn.Close()
	case Reset:
		if c, ok := p.bottom().(*net.TCPConn); ok {
			c.SetLinger(0)
			return c.Close()
		}
		err = p.conn.Close() // nothing else can be reset
	case Pattern:
		return errors.New("a pattern can be awaited, not said")
	}
	return err
}

// bottom is the connection under TLS.
func (p *Player) bottom() net.Conn {
	c := p.conn
	for {
		in, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = in.NetConn()
	}
}

// isAuth says whether a line begins an exchange with secrets.
func isAuth(line string) bool {
	words := strings.Fields(line)
	return len(words) > 1 && strings.EqualFold(words[0], "AUTH")
}

// hidden says whether a line of the client has a secret that was not kept, and what is before it.
func hidden(line string) (head string, ok bool) {
	head, ok = strings.CutSuffix(line, Redacted)
	return head, ok && (head == "" || isAuth(head))
}

// redacted says whether a secret was not kept in the exchange that steps begin with.
func redacted(steps []Step) bool {
	for _, s := range steps {
		if s.Side == Server && !strings.HasPrefix(s.Text, "334") {
			return false
		}
		if _, ok := hidden(s.Text); ok && s.Kind == Line {
			return true
		}
	}
	return false
}

// await carries out a step of the other side.
func (p *Player) await(s Step, dot bool) error {
	switch s.Kind {
	case EOF, Reset:
		return p.awaitEnd(s)
	case Raw:
		return p.awaitBytes(s)
	case Message:
		return p.skipMessage(s, dot)
	}
	got, err := p.readLine()
	if err != nil {
		return p.mismatch(s, fmt.Sprintf("%q and %v", got, err))
	}
	line, crlf := strings.CutSuffix(got, "\r\n")
	if !crlf {
		return p.mismatch(s, fmt.Sprintf("%q, which does not end in CRLF,", got))
	}
	p.last = line
	if p.takes(s, line) {
		return nil
	}
	return p.mismatch(s, fmt.Sprintf("%q", line))
}

func (p *Player) mismatch(s Step, got string) error {
	want := fmt.Sprintf("%q", s.Text)
	switch s.Kind {
	case EOF, Reset:
		want = "the end of the connection"
	case Pattern:
		want = "a line that matches " + s.Text
	}
	return &Mismatch{Step: s, Got: got, Want: want}
}

// takes says whether line is what s awaits.
func (p *Player) takes(s Step, line string) bool {
	if s.Kind == Pattern {
		return s.Match.MatchString(line)
	}
	want := s.Text
	if head, ok := hidden(want); ok && p.secret {
		return strings.HasPrefix(line, head)
	}
	if p.secret && s.Side == Server {
		challenge := strings.HasPrefix(line, "334")
		if wanted := strings.HasPrefix(want, "334"); challenge || wanted {
			return challenge == wanted // challenges are never the same twice
		}
		p.secret = false
	}
	if p.AnyName && p.named {
		line, want = codes(line), codes(want)
	}
	if head, ok := strings.CutSuffix(want, "..."); ok {
		return strings.HasPrefix(line, head)
	}
	return line == want
}

// endsMessage says whether a server gives a message a name in its reply to line.
func endsMessage(line string) bool {
	words := strings.Fields(line)
	return line == "." || len(words) > 1 && strings.EqualFold(words[0], "BDAT")
}

var replyCodes = lazy.Regexp(`^[2-5]\d\d[ -]?([245]\.\d{1,3}\.\d{1,3})?`)

// codes is what a reply begins with: code, and enhanced code where there is one.
func codes(reply string) string {
	if found := replyCodes().FindString(reply); found != "" {
		return found
	}
	return reply
}

// readLine reads up to LF. A line that is too long is returned in part, with an error.
func (p *Player) readLine() (string, error) {
	var b []byte
	for {
		part, err := p.r.ReadSlice('\n')
		b = append(b, part...)
		switch {
		case err == nil:
			return string(b), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return string(b), err
		case len(b) > maxLine:
			return string(b[:80]), fmt.Errorf("a line of more than %d bytes", maxLine)
		}
	}
}

// awaitEnd wants no more bytes. Who awaits the end has nothing more to say, and lets the other side know.
func (p *Player) awaitEnd(s Step) error {
	if c, ok := p.conn.(interface{ CloseWrite() error }); ok && p.Side == Server {
		_ = c.CloseWrite() // a peer that is gone is what we want
	}
	got, err := p.readLine()
	var timeout net.Error
	if got != "" || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return p.mismatch(s, fmt.Sprintf("%q, %v", got, err))
	}
	return nil
}

// awaitBytes wants exactly these bytes.
func (p *Player) awaitBytes(s Step) error {
	got := make([]byte, len(s.Text))
	n, err := io.ReadFull(p.r, got)
	switch {
	case err != nil:
		return p.mismatch(s, fmt.Sprintf("%q and %v", got[:n], err))
	case string(got) != s.Text:
		return p.mismatch(s, fmt.Sprintf("%q", got))
	}
	return nil
}

// skipMessage takes a message of the other side: up to the dot where the script has one next, else by its length.
func (p *Player) skipMessage(s Step, dot bool) error {
	if !dot {
		n, err := io.CopyN(io.Discard, p.r, s.Bytes)
		if err != nil {
			return p.mismatch(s, fmt.Sprintf("%d bytes of message and %v", n, err))
		}
		return nil
	}
	start := true
	for {
		if next, err := p.r.Peek(3); start && err == nil && string(next) == ".\r\n" {
			return nil
		}
		part, err := p.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return p.mismatch(s, fmt.Sprintf("a message without end and %v", err))
		}
		start = strings.HasSuffix(string(part), "\r\n")
	}
}

// writeFiller writes n bytes of a made-up message. Where a dot follows it ends in CRLF.
func writeFiller(w io.Writer, n int64, dot bool) error {
	if dot && n == 1 {
		return errors.New("a message of one byte cannot end in CRLF")
	}
	const line = "A message of which only the size was kept is made of lines like this.\r\n"
	b := bufio.NewWriterSize(w, 1<<15)
	for n >= int64(len(line))+2 {
		b.WriteString(line)
		n -= int64(len(line))
	}
	if n >= 2 {
		b.WriteString(strings.Repeat("x", int(n-2)) + "\r\n")
	} else {
		b.WriteString(strings.Repeat("x", int(n)))
	}
	return b.Flush()
}
