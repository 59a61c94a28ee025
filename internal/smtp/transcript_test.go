package smtp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// exchange is who says what: C the client, S the server.
type exchangeStep struct{ who, bytes string }

// watchDialogue runs steps through a transcript taken on either side and returns what it wrote. cut splits the bytes of each step.
func watchDialogue(t *testing.T, role Role, steps []exchangeStep, cut int) string {
	t.Helper()
	var log bytes.Buffer
	tr := NewTranscript(&log, role)
	wire := &tape{}
	conn := tr.Conn(wire)
	for _, s := range steps {
		for part := range chunks(s.bytes, cut) {
			if (s.who == "C") == (role == ClientRole) {
				conn.Write([]byte(part))
				continue
			}
			wire.next = part
			io.ReadFull(conn, make([]byte, len(part)))
		}
	}
	conn.Close()
	return log.String()
}

func chunks(s string, n int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for n > 0 && len(s) > n {
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
		yield(s)
	}
}

// tape is a connection that hears what it is told to and forgets what is said.
type tape struct {
	net.Conn
	next string
}

func (p *tape) Read(b []byte) (int, error) {
	n := copy(b, p.next)
	p.next = p.next[n:]
	return n, nil
}
func (p *tape) Write(b []byte) (int, error) { return len(b), nil }
func (p *tape) Close() error                { return nil }

func TestTranscript(t *testing.T) {
	tests := []struct {
		name  string
		steps []exchangeStep
		want  string
	}{
		{"a letter", []exchangeStep{
			{"S", "220 mx\r\n"}, {"C", "EHLO me\r\n"}, {"S", "250-mx\r\n250 PIPELINING\r\n"},
			{"C", "MAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\n"}, {"S", "250 1\r\n250 2\r\n354 3\r\n"},
			{"C", "DATA\r\nAUTH x\r\n..\r\n\r\n.\r\nQUIT\r\n"}, {"S", "250 4\r\n221 5\r\n"},
		}, `<- 220 mx
-> EHLO me
<- 250-mx
<- 250 PIPELINING
-> MAIL FROM:<>
-> RCPT TO:<b>
-> DATA
<- 250 1
<- 250 2
<- 354 3
-> [20 bytes of message]
-> .
-> QUIT
<- 250 4
<- 221 5
`},
		{"an empty message", []exchangeStep{{"C", "DATA\r\n"}, {"S", "354\r\n"}, {"C", ".\r\n"}, {"S", "250\r\n"}},
			"-> DATA\n<- 354\n-> [0 bytes of message]\n-> .\n<- 250\n"},
		{"a bare LF is no end", []exchangeStep{{"C", "DATA\r\n"}, {"S", "354\r\n"}, {"C", "a\n.\nb\r\n.\r\n"}, {"S", "250\r\n"}},
			"-> DATA\n<- 354\n-> [7 bytes of message]\n-> .\n<- 250\n"},
		{"DATA refused", []exchangeStep{{"C", "DATA\r\n"}, {"S", "503 no\r\n"}, {"C", "QUIT\r\n"}},
			"-> DATA\n<- 503 no\n-> QUIT\n"},
		{"message before 354", []exchangeStep{{"C", "DATA\r\nsecret\r\n.\r\nQUIT\r\n"}, {"S", "354\r\n250\r\n221\r\n"}},
			"-> DATA\n<- 354\n-> [8 bytes of message]\n-> .\n-> QUIT\n<- 250\n<- 221\n"},
		{"initial response", []exchangeStep{{"C", "auth plain AHUAcA==\r\n"}, {"S", "235 ok\r\n"}, {"C", "NOOP\r\n"}},
			"-> auth plain [redacted]\n<- 235 ok\n-> NOOP\n"},
		{"challenges", []exchangeStep{
			{"C", "AUTH LOGIN\r\n"}, {"S", "334 VXNlcg==\r\n"}, {"C", "dQ==\r\n"}, {"S", "334 UGFzcw==\r\n"}, {"C", "cA==\r\n"}, {"S", "535 no\r\n"}, {"C", "RSET\r\n"},
		}, "-> AUTH LOGIN\n<- 334 VXNlcg==\n-> [redacted]\n<- 334 UGFzcw==\n-> [redacted]\n<- 535 no\n-> RSET\n"},
		{"secrets before their challenges", []exchangeStep{{"C", "AUTH LOGIN\r\ndQ==\r\ncA==\r\nNOOP\r\n"}, {"S", "334 a\r\n334 b\r\n235 ok\r\n"}},
			"-> AUTH LOGIN\n<- 334 a\n-> [redacted]\n<- 334 b\n-> [redacted]\n<- 235 ok\n-> NOOP\n"},
		{"cancelled", []exchangeStep{{"C", "AUTH LOGIN\r\n"}, {"S", "334 a\r\n"}, {"C", "*\r\n"}, {"S", "501\r\n"}},
			"-> AUTH LOGIN\n<- 334 a\n-> *\n<- 501\n"},
		{"chunks", []exchangeStep{{"C", "BDAT 6\r\nAUTH\r\nBDAT 0 LAST\r\n"}, {"S", "250\r\n250\r\n"}},
			"-> BDAT 6\n-> [6 bytes of message]\n-> BDAT 0 LAST\n<- 250\n<- 250\n"},
		{"LMTP has a reply for each recipient", []exchangeStep{
			{"C", "LHLO me\r\n"}, {"S", "250 x\r\n"}, {"C", "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n"},
			{"S", "250\r\n250\r\n550\r\n250\r\n354\r\n"}, {"C", "x\r\n.\r\nAUTH LOGIN\r\n"}, {"S", "250\r\n250\r\n334 a\r\n"}, {"C", "cA==\r\n"},
		}, "-> LHLO me\n<- 250 x\n-> MAIL FROM:<>\n-> RCPT TO:<a>\n-> RCPT TO:<b>\n-> RCPT TO:<c>\n-> DATA\n<- 250\n<- 250\n<- 550\n<- 250\n<- 354\n" +
			"-> [3 bytes of message]\n-> .\n-> AUTH LOGIN\n<- 250\n<- 250\n<- 334 a\n-> [redacted]\n"},
		{"ends in a message", []exchangeStep{{"C", "DATA\r\n"}, {"S", "354\r\n"}, {"C", "abc"}},
			"-> DATA\n<- 354\n-> [3 bytes of message, unfinished]\n"},
		{"ends in a line", []exchangeStep{{"C", "QUI"}}, "-> QUI\n"},
		{"ends in a secret", []exchangeStep{{"C", "AUTH LOGIN\r\n"}, {"S", "334 a\r\n"}, {"C", "cA="}}, "-> AUTH LOGIN\n<- 334 a\n-> [redacted]\n"},
		{"ends before the reply", []exchangeStep{{"C", "AUTH PLAIN\r\ncA==\r\n"}}, "-> AUTH PLAIN\n-> [6 bytes not answered]\n"},
		{"not printable", []exchangeStep{{"S", "220 \x1b[2J\xff\r\n"}}, `<- 220 \x1b[2J\xff` + "\n"},
		{"empty lines", []exchangeStep{{"C", "\r\nNOOP\r\n"}}, "-> \n-> NOOP\n"},
	}
	for _, tt := range tests {
		for _, role := range []Role{ClientRole, ServerRole} {
			for _, cut := range []int{0, 1, 3} {
				t.Run(fmt.Sprintf("%s/%d/%d", tt.name, role, cut), func(t *testing.T) {
					if got := watchDialogue(t, role, tt.steps, cut); got != tt.want {
						t.Errorf("got\n%s\nwant\n%s", got, tt.want)
					}
				})
			}
		}
	}
}

func TestTranscriptIsBounded(t *testing.T) {
	long := strings.Repeat("x", 10*transcriptHeld)
	got := watchDialogue(t, ServerRole, []exchangeStep{{"C", long + "\r\nAUTH PLAIN\r\n" + long}, {"S", "500\r\n535 no\r\n"}}, 0)
	if len(got) > 3*transcriptLine {
		t.Errorf("got %d bytes, want three capped lines", len(got))
	}
	if !strings.Contains(got, "bytes not shown]") {
		t.Errorf("what was left out is not told: %q", got)
	}
}

// No transcript at all is the common case.
func TestNilTranscript(t *testing.T) {
	var tr *Transcript
	c := &tape{}
	if got := tr.Conn(c); got != net.Conn(c) {
		t.Errorf("got %v, want the connection itself", got)
	}
	tr.Remark("x")
	tr.Flush()
}

// A secret never shows, wherever the stream is cut.
func FuzzTranscriptRedacts(f *testing.F) {
	f.Add("EHLO me\r\nAUTH PLAIN ", "\r\nQUIT\r\n", "250 x\r\n535 no\r\n", 3)
	f.Add("AUTH LOGIN\r\n", "\r\n", "334 a\r\n334 b\r\n", 1)
	f.Fuzz(func(t *testing.T, before, after, replies string, cut int) {
		const secret = "c2VjcmV0c2VjcmV0"
		if !strings.HasPrefix(strings.ToUpper(before), "AUTH PLAIN ") || strings.ContainsAny(before, "\r\n") {
			before = "AUTH PLAIN "
		}
		got := watchDialogue(t, ServerRole, []exchangeStep{{"C", before + secret + "\r\n" + after}, {"S", replies}}, cut)
		if strings.Contains(got, secret) {
			t.Fatalf("the secret shows:\n%s", got)
		}
		for _, l := range strings.SplitAfter(got, "\n") {
			if l != "" && (!strings.HasPrefix(l, "-> ") && !strings.HasPrefix(l, "<- ") || len(l) > transcriptLine+8) {
				t.Fatalf("%q is no line of a transcript", l)
			}
		}
	})
}
