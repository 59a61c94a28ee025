package smtp

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pennypost/internal/message"
)

// Whatever a server says, cut into whatever pieces: there is one outcome for each recipient, nothing is taken without a
// message that was sent to its end and a 2xx, and the client says nothing but what it means to.
func FuzzClient(f *testing.F) {
	f.Add("220 x\r\n250-x\r\n250 PIPELINING\r\n250\r\n250\r\n550 no\r\n354\r\n250 taken\r\n221\r\n", 7, false)
	f.Add("220 x\r\n500\r\n250 x\r\n250\r\n250\r\n452 4.5.3 x\r\n354\r\n250 taken\r\n250\r\n250\r\n354\r\n250\r\n", 1, false)
	f.Add("220 x\r\n250-x\r\n250-SIZE 4\r\n250 SMTPUTF8\r\n250\r\n250\r\n250\r\n354\r\n250\r\n450 4.2.2 x\r\n", 3, true)
	f.Add("220 x\r\n250-x\r\n250-pipelining\r\n250 x\r\n550\r\n550\r\n550\r\n354\r\n", 100, false)
	f.Fuzz(func(t *testing.T, says string, cut int, lmtp bool) {
		server := &recording{says: says, cut: max(1, min(cut, 1000))}
		o := Options{Helo: "me.example", TLS: TLSNone, LMTP: lmtp, Transcript: NewTranscript(io.Discard, ClientRole)}
		c, err := Connect(context.Background(), func(context.Context) (net.Conn, error) { return server, nil }, o)
		if err != nil {
			return
		}
		out := c.Send(context.Background(), message.Bytes([]byte("S: x\n\n.\n")), letter(t, "b@b.example", "c@b.example"))
		c.Quit(context.Background())
		heard := server.heard.String()
		if len(out) != 2 {
			t.Fatalf("%d outcomes, want 2", len(out))
		}
		for _, o := range out {
			if o.Err == nil && (!o.Reply.Positive() || !strings.Contains(heard, "S: x\r\n\r\n..\r\n.\r\n")) {
				t.Fatalf("taken by %v after %q", o.Reply, heard)
			}
		}
		known := " EHLO HELO LHLO MAIL RCPT DATA RSET QUIT S: .. .  "
		for _, line := range strings.Split(strings.TrimSuffix(heard, "\r\n"), "\r\n") {
			verb, _, _ := strings.Cut(line, " ")
			if strings.ContainsAny(line, "\r\n") || !strings.Contains(known, " "+verb+" ") {
				t.Fatalf("the client said %q in %q", line, heard)
			}
		}
	})
}

// recording says its text in pieces, whatever it hears, and then nothing more.
type recording struct {
	says  string
	cut   int
	heard bytes.Buffer
}

func (r *recording) Read(b []byte) (int, error) {
	n := copy(b[:min(len(b), r.cut)], r.says)
	r.says = r.says[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *recording) Write(b []byte) (int, error)      { return r.heard.Write(b) }
func (r *recording) Close() error                     { return nil }
func (r *recording) LocalAddr() net.Addr              { return address("") }
func (r *recording) RemoteAddr() net.Addr             { return address("") }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }
