package smtp

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
)

type closedBuffer struct {
	bytes.Buffer
	closed int
}

func (b *closedBuffer) Close() error { b.closed++; return nil }

// record plays a script and returns the recording of the session.
func record(t *testing.T, e *Engine, info envelope.Connection, script string) string {
	t.Helper()
	var to closedBuffer
	e.Record = func(*Facts) io.WriteCloser { return &to }
	client, server := loopback(t)
	done := make(chan struct{})
	go func() { e.Serve(t.Context(), server, info); close(done) }()
	mailtest.Dialog(t, client, script)
	client.Close()
	<-done
	if to.closed != 1 {
		t.Errorf("the recording was closed %d times", to.closed)
	}
	return to.String()
}

// loopback is a connection with buffers, so that a client may say several things before it reads.
func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// inOnePacket are sessions whose outcome depends on what comes together or without a line end, which a recording does not
// tell.
var inOnePacket = []string{"pipelining-ehlo", "pipelining-data", "http", "tls-hello"}

// side is what one of the two said: how it falls between the words of the other is a matter of time.
func side(recording, marks string) string {
	var said strings.Builder
	for line := range strings.Lines(recording) {
		if strings.Contains(marks, line[:1]) {
			said.WriteString(line)
		}
	}
	return said.String()
}

// What is recorded of a session can be played again and is then recorded alike, unless secrets were taken out.
func TestRecordingsPlay(t *testing.T) {
	files, _ := filepath.Glob("testdata/server/*.dialog")
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".dialog"), func(t *testing.T) {
			script, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			engine := func() (*Engine, envelope.Connection) {
				e, _ := newTestEngine()
				info := peer
				with(t, e, &info, string(script))
				return e, info
			}
			e, info := engine()
			first := record(t, e, info, string(script))
			if strings.Contains(first, "[redacted]") || slices.Contains(inOnePacket, filepath.Base(t.Name())) {
				return
			}
			e, info = engine()
			if again := record(t, e, info, first); side(again, "<") != side(first, "<") || side(again, "-=") != side(first, "-=") {
				t.Errorf("recorded\n%s\nplayed again\n%s", first, again)
			}
		})
	}
}

func TestRecording(t *testing.T) {
	e, _ := newTestEngine()
	e.Auth = testAuth(true)
	long := strings.Repeat("y", recordedPiece+10)
	got := record(t, e, peer, `
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
		<~ ^250-
		<- 250 CHUNKING
		-> AUTH PLAIN AGFsaWNlAHNlY3JldA==
		<- 235 ...
		-> MAIL FROM:<a@b.example>
		<- 250 ...
		-> RCPT TO:<chat@joursoir.net>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> X: "\q"
		->  ..`+long+`
		->
		=> \xff\\\t"\r\n.\r\nNOOP\r\n
		<- 250 ...
		<- 250 ...
		-> BDAT 4
		=> abc\n
		<- 503 ...
		-> QUIT
		<- 221 ...
		<- EOF`)
	_, got, _ = strings.Cut(got, "<- 250 CHUNKING\n")
	want := "-> AUTH PLAIN [redacted]\n<- 235 2.7.0 Authentication successful\n" +
		"-> MAIL FROM:<a@b.example>\n<- 250 2.1.0 Ok\n-> RCPT TO:<chat@joursoir.net>\n<- 250 2.1.5 Ok\n" +
		"-> DATA\n<- 354 End data with <CR><LF>.<CR><LF>\n" +
		"-> X: \"\\q\"\n=>  .." + long[3:recordedPiece] + "\n-> " + long[recordedPiece-3:] + "\n->\n=> \\xff\\\\\\x09\"\\r\\n\n-> .\n-> NOOP\n" +
		"<- 250 2.0.0 Ok: queued as C15F841DD5\n<- 250 2.0.0 Ok\n" +
		"-> BDAT 4\n=> abc\\n\n<- 503 5.5.1 Error: need MAIL command\n-> QUIT\n<- 221 2.0.0 Bye\n<- EOF\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
