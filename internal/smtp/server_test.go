package smtp

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
)

var fixedTime = time.Date(2026, 11, 24, 5, 40, 0, 0, time.UTC)

// newTestEngine is an engine with fixed time and ids.
func newTestEngine() (*Engine, *office) {
	o := new(office)
	return &Engine{
		Name:    "smtp.joursoir.net",
		Handler: o,
		Now:     func() time.Time { return fixedTime },
		NewID:   func() string { return "C15F841DD5" },

		LoginDelay: time.Nanosecond,
	}, o
}

// peer is a client on the network.
var peer = envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.7", RemotePort: "1234", RemoteHost: "client.example"}

// start serves one session on a pipe and returns the client's end. The session is over when the test is.
func start(t testing.TB, e *Engine, info envelope.Connection) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Serve(t.Context(), server, info)
	}()
	t.Cleanup(func() { client.Close(); <-done })
	return client
}

// with sets what the first line of a dialog asks for: "# with: maxsize=20 plaintext".
func with(t *testing.T, e *Engine, info *envelope.Connection, script string) {
	first, _, _ := strings.Cut(script, "\n")
	words, ok := strings.CutPrefix(first, "# with: ")
	if !ok {
		return
	}
	for _, word := range strings.Fields(words) {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "local":
			*info = envelope.Connection{}
		case "greet":
			e.GreetDelay = 10 * time.Second
		case "binary":
			e.BinaryMIME = true
		case "maxsize":
			e.MaxSize = int64(n)
		case "maxheader":
			e.MaxHeader = int64(n)
		case "maxline":
			e.MaxLine = n
		case "maxerrors":
			e.MaxErrors = n
		case "maxjunk":
			e.MaxJunk = n
		case "maxrcpt":
			e.MaxRecipients = n
		case "auth", "plaintext":
			e.Auth = testAuth(name == "plaintext")
		case "lmtp":
			e.Service = LMTP
		case "xclient":
			e.XClient = func(ip string) bool { return ip == peer.RemoteIP }
		case "normalize":
			e.Normalize = func(ip string) bool { return ip == peer.RemoteIP }
		case "verify":
			e.Verify = verifyChat
		case "turn":
			e.Turn = turnSome
		case "port":
			info.LocalPort = value
		case "peer":
			info.RemoteIP = value
		default:
			t.Fatalf("unknown setting %q", word)
		}
	}
}

// TestServerDialogs plays testdata/server/*.dialog.
func TestServerDialogs(t *testing.T) {
	files, _ := filepath.Glob("testdata/server/*.dialog")
	if len(files) < 20 {
		t.Fatalf("only %d dialogs", len(files))
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".dialog"), func(t *testing.T) {
			script, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			e, _ := newTestEngine()
			info := peer
			with(t, e, &info, string(script))
			mailtest.Dialog(t, start(t, e, info), string(script))
		})
	}
}

// What the handler gets is the message as it was sent, in LF form, with the trace on top and the envelope complete.
func TestMessage(t *testing.T) {
	e, o := newTestEngine()
	mailtest.Dialog(t, start(t, e, peer), `
		<- 220 ...
		-> HELO client.example
		<- 250 ...
		-> MAIL FROM:<a@b.example>
		<- 250 ...
		-> RCPT TO:<@relay.example:chat@joursoir.net>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> Subject: hello
		->
		-> ..one
		-> ...two
		=> \xff\t last
		->
		-> .
		<- 250 ...
		-> QUIT
		<- 221 ...
		<- EOF`)
	m := o.one(t)
	want := "Received: from client.example (client.example [192.0.2.7])\n" +
		"\tby smtp.joursoir.net with SMTP id C15F841DD5\n" +
		"\tfor <chat@joursoir.net>; Tue, 24 Nov 2026 05:40:00 +0000\n" +
		"Subject: hello\n\n.one\n..two\n\xff\t last\n"
	if m.text != want {
		t.Errorf("got %q\nwant %q", m.text, want)
	}
	if m.env.Sender.String() != "a@b.example" || m.env.Conn.Helo != "client.example" || m.env.Conn.RemoteIP != "192.0.2.7" {
		t.Errorf("got envelope %+v", m.env)
	}
}

// The ESMTP facts reach the handler; NOTIFY stands beside its recipient.
func TestEnvelopeFacts(t *testing.T) {
	e, o := newTestEngine()
	c := start(t, e, peer)
	r := newReader(t, c)
	r.say("220", "")
	r.say("250", "EHLO client.example\r\n")
	r.say("250", "MAIL FROM:<\u00fc@b.example> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1\r\n")
	r.say("250", "RCPT TO:<chat@joursoir.net>\r\n")
	r.say("250", "RCPT TO:<postmaster> NOTIFY=failure,delay\r\n")
	r.say("250", "RCPT TO:<\u00fc@many.example> ORCPT=rfc822;x+2By@many.example\r\n")
	r.say("250", "RCPT TO:<\"a@b\"@many.example>\r\n")
	r.say("354", "DATA\r\n")
	r.say("250", "x\r\n.\r\n")
	m := o.one(t)
	if m.env.Body != "8BITMIME" || !m.env.SMTPUTF8 || m.env.Ret != "HDRS" || m.env.EnvID != "QQ+2B1" {
		t.Errorf("got envelope %+v", m.env)
	}
	if got := strings.Join(m.env.Notify, "|"); got != "|FAILURE,DELAY||" {
		t.Errorf("got NOTIFY %q", got)
	}
	if got := strings.Join(m.env.ORcpt, "|"); got != "||rfc822;x+2By@many.example|" {
		t.Errorf("got ORCPT %q", got)
	}
	if got := m.env.Recipients[1].String(); got != "postmaster@joursoir.net" {
		t.Errorf("got postmaster %q", got)
	}
	if got := m.env.Recipients[3]; got.Local != "a@b" || got.String() != `"a@b"@many.example` {
		t.Errorf("got quoted recipient %q", got)
	}
	if !strings.Contains(m.text, "with UTF8SMTP id C15F841DD5; Tue, 24") {
		t.Errorf("got %q", m.text)
	}
}

// reader is a client that needs no script: it sends and returns the reply, whose code must be as wanted.
type reader struct {
	t testing.TB
	c net.Conn
	b [4096]byte
}

func newReader(t testing.TB, c net.Conn) *reader { return &reader{t: t, c: c} }

func (r *reader) say(want, text string) string {
	r.t.Helper()
	r.c.SetDeadline(time.Now().Add(20 * time.Second))
	if text != "" { // on a net.Pipe even an empty write waits for a reader
		if _, err := io.WriteString(r.c, text); err != nil {
			r.t.Fatalf("send %.60q: %v", text, err)
		}
	}
	n, err := r.c.Read(r.b[:])
	got := string(r.b[:n])
	if err != nil || !strings.HasPrefix(got, want) {
		r.t.Fatalf("after %.60q: got %q, %v, want %s", text, got, err, want)
	}
	return got
}

// RFC 5321 section 4.5.3.1.10: what is over a limit is refused for now, what was accepted stays, and however many are
// refused so, the session goes on.
func TestRecipientsLimits(t *testing.T) {
	rcpt := func(n int) string { return strings.Repeat("x", 60) + strconv.Itoa(1000+n) + "@many.example" }
	tests := []struct {
		name      string
		max, want int
	}{
		{"count", 0, DefaultMaxRecipients},
		{"bytes", 5000, envelope.MaxRecipients / (len(rcpt(0)) + 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, o := newTestEngine()
			e.MaxRecipients = tt.max
			e.MaxErrors = 2
			r := newReader(t, start(t, e, peer))
			r.say("220", "")
			r.say("250", "HELO client.example\r\n")
			r.say("250", "MAIL FROM:<>\r\n")
			for n := range tt.want {
				r.say("250", "RCPT TO:<"+rcpt(n)+">\r\n")
			}
			for range 5 {
				r.say("452 4.5.3", "RCPT TO:<"+rcpt(0)+">\r\n")
			}
			r.say("354", "DATA\r\n")
			r.say("250", ".\r\n")
			if got := len(o.one(t).env.Recipients); got != tt.want {
				t.Errorf("got %d recipients, want %d", got, tt.want)
			}
		})
	}
}

func TestLongLines(t *testing.T) {
	e, _ := newTestEngine()
	r := newReader(t, start(t, e, peer))
	r.say("220", "")
	r.say("250", "NOOP "+strings.Repeat("x", 505)+"\r\n")
	r.say("500 5.5.2", "NOOP "+strings.Repeat("x", 506)+"\r\n")
	r.say("500 5.5.2", strings.Repeat("x", 100_000)+"\r\n")
	for n := readBuffer - 2; n <= readBuffer+2; n++ { // wherever the buffer cuts the line's end
		r.say("500 5.5.2 Error: line too long", strings.Repeat("x", n)+"\r\n")
	}
	r.say("250", "EHLO client.example\r\n")
	r.say("553 5.1", "MAIL FROM:<"+strings.Repeat("x", 600)+"@b.example>\r\n")
	r.say("500 5.5.2", "MAIL FROM:<a@b.example> ENVID="+strings.Repeat("x", 3000)+"\r\n")
	r.say("250", "MAIL FROM:<a@b.example> ENVID="+strings.Repeat("x", 100)+strings.Repeat(" ", 900)+"\r\n")
}

// An AUTH line may be long, as those of tokens are (RFC 4954 section 4).
func TestLongAuthLines(t *testing.T) {
	e, _ := newTestEngine()
	e.Auth = testAuth(true)
	r := newReader(t, start(t, e, peer))
	r.say("220", "")
	r.say("250", "EHLO client.example\r\n")
	r.say("535 5.7.8", "AUTH PLAIN "+strings.Repeat("QUJD", 3000)+"\r\n")
	r.say("334", "AUTH LOGIN\r\n")
	r.say("334", strings.Repeat("QUJD", 3000)+"\r\n")
	r.say("535 5.7.8", strings.Repeat("QUJD", 3000)+"\r\n")
	r.say("500 5.5.2", "AUTH PLAIN "+strings.Repeat("QUJD", 3100)+"\r\n")
}

// The limit of command lines does not touch the lines of a message, also when both come at once.
func TestLongDataLines(t *testing.T) {
	long := "x: " + strings.Repeat("y", 100_000) + "\r\n"
	for _, last := range []string{
		"BDAT " + strconv.Itoa(len(long)) + " LAST\r\n" + long,
		"BDAT 5\r\n" + long[:5] + "BDAT " + strconv.Itoa(len(long)-5) + " LAST\r\n" + long[5:],
	} {
		e, o := newTestEngine()
		c := &playedConn{in: []byte("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<chat@joursoir.net>\r\n" + last + "QUIT\r\n"), cut: func(n int) int { return n }}
		e.Serve(t.Context(), c, envelope.Connection{})
		if got := o.one(t).body(); got != strings.TrimSuffix(long, "\r\n")+"\n" {
			t.Errorf("%.20q: got %d bytes %.40q", last, len(got), got)
		}
	}
}

// writes counts what a connection writes.
type writes struct {
	net.Conn
	n int
}

func (w *writes) Write(b []byte) (int, error) { w.n++; return w.Conn.Write(b) }

// The replies to a group of commands leave in one write.
func TestRepliesLeaveTogether(t *testing.T) {
	e, _ := newTestEngine()
	client, server := net.Pipe()
	w := &writes{Conn: server}
	done := make(chan struct{})
	go func() { e.Serve(t.Context(), w, peer); close(done) }()
	mailtest.Dialog(t, client, `
		<- 220 ...
		-> EHLO client.example
		<~ ^250-
		<~ ^250-
		<~ ^250-
		<~ ^250-
		<~ ^250-
		<~ ^250-
		<~ ^250-
		<~ ^250-
		<~ ^250 CHUNKING
		=> MAIL FROM:<>\r\nRCPT TO:<no@joursoir.net>\r\nRCPT TO:<chat@joursoir.net>\r\nDATA\r\n
		<- 250 ...
		<- 550 ...
		<- 250 ...
		<- 354 ...
		=> x\r\n.\r\nQUIT\r\n
		<- 250 ...
		<- 221 ...
		<- EOF`)
	<-done
	if w.n != 4 {
		t.Errorf("got %d writes, want 4: banner, EHLO, the group, the end", w.n)
	}
}

// One line of the log says what became of a message, under the id that the client and the message have.
func TestLog(t *testing.T) {
	e, _ := newTestEngine()
	var log bytes.Buffer
	e.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := newReader(t, start(t, e, peer))
	r.say("220", "")
	r.say("250", "HELO client.example\r\n")
	r.say("250", "MAIL FROM:<a@b.example>\r\n")
	r.say("550", "RCPT TO:<no@joursoir.net>\r\n")
	r.say("250", "RCPT TO:<chat@joursoir.net>\r\n")
	r.say("354", "DATA\r\n")
	r.say("250", "x: y\r\n.\r\n")
	r.say("221", "QUIT\r\n")
	if at, took := strings.Index(log.String(), " handler="), strings.Index(log.String(), " took="); at < 0 || took < at {
		t.Errorf("no time of the handler before the time of all in\n%s", log.String())
	}
	for _, want := range []string{
		`msg="recipient refused" sid=C15F841DD5 peer=192.0.2.7 from=a@b.example rcpt=no@joursoir.net status="550 5.1.1 `,
		`msg=message sid=C15F841DD5 id=C15F841DD5 peer=192.0.2.7 tls="" auth="" from=a@b.example rcpt=chat@joursoir.net size=5 status="250 2.0.0" handler=`,
	} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%q is in the log %d times:\n%s", want, n, log.String())
		}
	}
}

func TestConnectRefused(t *testing.T) {
	e, o := newTestEngine()
	info := peer
	info.RemoteIP = "192.0.2.66"
	mailtest.Dialog(t, start(t, e, info), "<- 554 5.7.1 go away\n<- EOF")
	if o.reset == 0 {
		t.Error("the handler was not told of the end")
	}
}

func TestSenderRefused(t *testing.T) {
	e, _ := newTestEngine()
	r := newReader(t, start(t, e, peer))
	r.say("220", "")
	r.say("250", "HELO client.example\r\n")
	r.say("550 5.7.1 no mail from there", "MAIL FROM:<a@bad.example>\r\n")
	r.say("503", "RCPT TO:<chat@joursoir.net>\r\n")
	r.say("250", "MAIL FROM:<a@good.example>\r\n")
}

// The transcript shows the session and no secret.
func TestServerTrace(t *testing.T) {
	e, _ := newTestEngine()
	e.Auth = testAuth(true)
	var trace bytes.Buffer
	e.Trace = &trace
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() { e.Serve(t.Context(), server, peer); close(done) }()
	r := newReader(t, client)
	r.say("220", "")
	r.say("250", "EHLO client.example\r\n")
	r.say("334", "AUTH PLAIN\r\n")
	r.say("235", "AGFsaWNlAHNlY3JldA==\r\n")
	r.say("221", "QUIT\r\n")
	<-done
	got := trace.String()
	for _, want := range []string{"<- 220 smtp.joursoir.net ESMTP\n", "-> EHLO client.example\n", "-> AUTH PLAIN\n", "-> QUIT\n<- 221 2.0.0 Bye\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "AGFs") {
		t.Errorf("a secret is in\n%s", got)
	}
}
