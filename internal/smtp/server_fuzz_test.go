package smtp

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
)

// playedConn is a connection whose client has said everything already. It is read in pieces of the given sizes.
type playedConn struct {
	in  []byte
	cut func(left int) int
	out bytes.Buffer
}

func (c *playedConn) Read(b []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), c.cut(len(c.in)))], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *playedConn) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *playedConn) Close() error                     { return nil }
func (c *playedConn) LocalAddr() net.Addr              { return nil }
func (c *playedConn) RemoteAddr() net.Addr             { return nil }
func (c *playedConn) SetDeadline(time.Time) error      { return nil }
func (c *playedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *playedConn) SetWriteDeadline(time.Time) error { return nil }

// play is what a session answers and takes.
func play(t *testing.T, in []byte, cut func(int) int) (answers string, mails []mail) {
	e, o := newTestEngine()
	e.Auth = testAuth(true)
	e.MaxSize = 1000
	c := &playedConn{in: in, cut: cut}
	e.Serve(t.Context(), c, envelope.Connection{})
	return c.out.String(), o.mails
}

// A session that is cut at any byte delivers what was complete then, and nothing else.
func TestEveryPrefix(t *testing.T) {
	const session = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<chat@joursoir.net>\r\nDATA\r\nSubject: one\r\n\r\n..\r\n.\r\n" +
		"MAIL FROM:<>\r\nRCPT TO:<chat@joursoir.net>\r\nBDAT 8\r\nSubject:BDAT 6 LAST\r\n two\r\nQUIT\r\n"
	first := strings.Index(session, "\r\n.\r\n") + 5
	second := strings.Index(session, "QUIT")
	for n := range len(session) + 1 {
		answers, mails := play(t, []byte(session[:n]), func(left int) int { return left })
		want := 0
		if n >= first {
			want++
		}
		if n >= second {
			want++
		}
		if got := strings.Count(answers, "Ok: queued as"); len(mails) != want || got != want {
			t.Errorf("after %q: %d messages taken, %d acknowledged, want %d", session[:n], len(mails), got, want)
		}
	}
}

var replyLineForm = regexp.MustCompile(`^[2345]\d\d[ -][ -~\x{80}-\x{10ffff}]*$`)

// FuzzServer: whatever is said, in whatever pieces, the answers are the same, each is a reply of RFC 5321 section 4.2, and no
// message is taken that did not end.
func FuzzServer(f *testing.F) {
	head := "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<chat@joursoir.net>\r\n"
	for _, seed := range []string{
		head + "DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n",
		head + "BDAT 5\r\nabc\r\nBDAT 3 LAST\r\nx\r\n",
		head + "DATA\r\na\n.\nMAIL FROM:<>\r\n.\r\n",
		head + "RSET\nHELP\nVRFY x\nNOOP\n",
		"AUTH PLAIN\r\n", "EHLO x\r\nAUTH LOGIN YWxpY2U=\r\nc2VjcmV0\r\nAUTH PLAIN =\r\n*\r\n",
		"MAIL FROM:<\xff>\r\n", "\x16\x03\x01", "GET / HTTP/1.0\r\n\r\n", "BDAT 99999999999999999999 LAST\r\n",
	} {
		f.Add([]byte(seed), uint64(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		whole, mails := play(t, in, func(n int) int { return n })
		rng := rand.New(rand.NewPCG(seed, 2))
		cut, cutMails := play(t, in, func(n int) int { return 1 + rng.IntN(min(n, 1+int(seed%50))) })
		if whole != cut || len(mails) != len(cutMails) {
			t.Errorf("whole: %d mails, %q\ncut: %d mails, %q", len(mails), whole, len(cutMails), cut)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(whole, "\r\n"), "\r\n") {
			ascii := !strings.ContainsFunc(line, func(r rune) bool { return r > '~' })
			if !replyLineForm.MatchString(line) || len(line) > 510 || !ascii && !bytes.Contains(bytes.ToUpper(in), []byte("SMTPUTF8")) {
				t.Errorf("%q is not a reply line", line)
			}
		}
		if n := strings.Count(whole, "Ok: queued as"); n != len(mails) {
			t.Errorf("%d messages acknowledged, %d taken", n, len(mails))
		}
		for i, m := range mails {
			if m.text != cutMails[i].text || strings.ContainsAny(m.text, "\r\x00") {
				t.Errorf("mail %d: got %q, cut %q", i, m.text, cutMails[i].text)
			}
		}
	})
}
