package recode

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

func rewrite(t *testing.T, text string, n Need) (string, error) {
	t.Helper()
	m, err := Rewrite(message.Bytes([]byte(text)), n)
	if err != nil {
		return "", err
	}
	defer m.Close()
	out, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n"), nil
}

func TestRewrite(t *testing.T) {
	long := strings.Repeat("0123456789", 100)
	tests := []struct {
		name     string
		need     Need
		in, want string
	}{
		{"text", Need{SevenBit: true},
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nSubject: x\n\ncaf\xc3\xa9 = \nend\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nSubject: x\nContent-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9 =3D=20\nend\n"},
		{"nothing to do", Need{SevenBit: true}, "Subject: x\nContent-Transfer-Encoding: 8bit\n\nplain\n", "Subject: x\nContent-Transfer-Encoding: 8bit\n\nplain\n"},
		{"no MIME", Need{SevenBit: true}, "Subject: x\n\n\xe4\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n"},
		{"no header", Need{SevenBit: true}, "\xe4 text\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E4 text\n"},
		{"an empty header", Need{SevenBit: true}, "\n\xe4",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E4"},
		{"the field is folded, and there twice", Need{SevenBit: true}, "A: b\nContent-Transfer-Encoding:\n 8bit\ncontent-transfer-encoding : binary\nMIME-Version: 1.0\nContent-Type: text/html\n\n\xe4\n",
			"A: b\nMIME-Version: 1.0\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n"},
		{"only the part that needs it", Need{SevenBit: true},
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b b\"\nContent-Transfer-Encoding: 8bit\n\npre\xe4mble\n--b b\nContent-Type: text/plain\n\nplain\n--b b\nContent-Type: text/html; charset=latin1\n\n\xe4\n\n--b b--\nepil\xf6gue\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b b\"\n\npre?mble\n--b b\nContent-Type: text/plain\n\nplain\n--b b\nContent-Type: text/html; charset=latin1\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n\n--b b--\nepil?gue\n"},
		{"a multipart in a multipart, not closed", Need{SevenBit: true},
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n\xe4\n--a\n\n\xf6\n--a--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n--a\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=F6\n--a--\n"},
		{"a message in a message: only what is inside", Need{SevenBit: true},
			"MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: in\n\n\xe4\n",
			"MIME-Version: 1.0\nContent-Type: message/rfc822\n\nSubject: in\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n"},
		{"quoted-printable with raw bytes", Need{SevenBit: true, Lines: true}, "Content-Transfer-Encoding: Quoted-Printable (x)\n\n\xe4=3D=\nx\n", "Content-Transfer-Encoding: Quoted-Printable (x)\n\n=E4=3D=\nx\n"},
		{"a header stays as it is", Need{SevenBit: true}, "Subject: \xe4\n\nx\n", "Subject: \xe4\n\nx\n"},
		{"long lines", Need{Lines: true}, "Content-Type: text/plain\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\n" + long + "\n",
			"Content-Type: text/plain\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("012345678901234567890123456789012345678901234567890123456789012345678901234=\n567890123456789012345678901234567890123456789012345678901234567890123456789=\n", 6) + long[:75] + "=\n" + long[75:100] + "\n"},
		{"long lines of base64", Need{Lines: true}, "Content-Transfer-Encoding: base64\n\n" + strings.Repeat("AAAA", 300) + "\nAAAA\n",
			"Content-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("AAAA", 19)+"\n", 15) + strings.Repeat("AAAA", 15) + "\nAAAA\n"},
		{"a long field", Need{Lines: true}, "To: " + strings.Repeat("a@example.org, ", 100) + "b@example.org\n\nx\n",
			"To: " + strings.Repeat("a@example.org, ", 65) + "a@example.org,\n " + strings.Repeat("a@example.org, ", 34) + "b@example.org\n\nx\n"},
		{"a long field of a part without a body", Need{Lines: true}, "Content-Type: multipart/mixed; boundary=a\n\n--a\nX: " +
			strings.Repeat("0123456 ", 125) + "y\n--a--\n",
			"Content-Type: multipart/mixed; boundary=a\n\n--a\nX: " + strings.TrimSuffix(strings.Repeat("0123456 ", 124), " ") + "\n 0123456 y\n--a--\n"},
		{"8-bit may stay", Need{Lines: true}, "Subject: x\nContent-Transfer-Encoding: 8bit\n\n\xe4\n", "Subject: x\nContent-Transfer-Encoding: 8bit\n\n\xe4\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := rewrite(t, tt.in, tt.need)
			if err != nil || got != tt.want {
				t.Errorf("%v, got\n%q\nwant\n%q", err, got, tt.want)
			}
			crlf, err := rewrite(t, strings.ReplaceAll(tt.in, "\n", "\r\n"), tt.need)
			if err != nil || crlf != tt.want {
				t.Errorf("with CRLF: %v, got\n%q\nwant\n%q", err, crlf, tt.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	both := Need{SevenBit: true, Lines: true}
	for name, in := range map[string]string{
		"signed":                     "MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=a\n\n--a\nContent-Type: text/plain\n\n\xe4\n--a\n\n--a--\n",
		"in a multipart in a signed": "Content-Type: multipart/signed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\xe4\n--b--\n--a--\n",
		"8-bit base64":               "Content-Transfer-Encoding: base64\n\n\xe4\n",
		"unknown encoding":           "Content-Transfer-Encoding: x-uuencode\n\n\xe4\n",
		"part of a message":          "Content-Type: message/partial; id=1; number=1\n\n\xe4\n",
		"multipart without boundary": "Content-Type: multipart/mixed\n\n\xe4\n",
		"a word longer than a line":  "Subject: " + strings.Repeat("x", 1000) + "\n\n",
		"an encoding in a long line": "Content-Transfer-Encoding: " + strings.Repeat("x ", 500) + "\n\n",
		"long in a signed": "Content-Type: multipart/signed; boundary=a\n\n--a\nSubject: " + strings.Repeat("x ", 500) +
			"\n\nx\n--a\n\n--a--\n",
	} {
		_, err := rewrite(t, in, both)
		if e := status.Of(err); err == nil || e.Class != status.Permanent || e.Code != 554 || e.Enhanced != "5.6.3" {
			t.Errorf("%s: got %v, want 554 5.6.3", name, err)
		}
	}
	if _, err := rewrite(t, "Content-Type: multipart/signed; boundary=a\n\nx\n--a\n\nx\n--a\n\n--a--\n", both); err != nil {
		t.Errorf("signed, nothing to do: %v", err)
	}
}

// leaves are the decoded bodies of all parts, by another reader of MIME.
func leaves(t *testing.T, text string) []string {
	t.Helper()
	e, err := gomessage.Read(strings.NewReader(text))
	if err != nil && !gomessage.IsUnknownCharset(err) {
		t.Fatal(err)
	}
	var out []string
	err = e.Walk(func(_ []int, e *gomessage.Entity, err error) error {
		if err != nil && !gomessage.IsUnknownCharset(err) {
			return err
		}
		if e.MultipartReader() == nil {
			b, err := io.ReadAll(e.Body)
			out = append(out, string(b))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Another reader finds the same content in both forms.
func TestSameContent(t *testing.T) {
	text := strings.ReplaceAll("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: 8bit\n\n"+
		strings.Repeat("\xff\xfe =\t\n \n", 500)+strings.Repeat("x\xe4", 2000)+"\n\n--a\nContent-Type: application/x\nContent-Transfer-Encoding: 8bit\n\n.\n\xe4 \n--a--\n", "\n", "\r\n")
	got, err := rewrite(t, text, Need{SevenBit: true, Lines: true})
	if err != nil {
		t.Fatal(err)
	}
	got = strings.ReplaceAll(got, "\n", "\r\n")
	a, b := leaves(t, text), leaves(t, got)
	if len(a) != 2 || len(b) != 2 || a[0] != b[0] || a[1] != b[1] {
		t.Errorf("got %q, want %q", b, a)
	}
}

// What was rewritten needs nothing more, and what is refused is refused for good.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n\xe4\n--a\n\n\xe4\n--a--\n\xe4"))
	f.Add([]byte("Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\n" + strings.Repeat("\xe4", 1000)))
	f.Add([]byte("Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=E4\xe4", 300)))
	f.Add([]byte("Content-Transfer-Encoding:0quoted-print" + strings.Repeat("\xe4=E4", 300)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.ContainsAny(in, "\x00") || strings.Contains(strings.ReplaceAll(string(in), "\r\n", ""), "\r") {
			return // never sent
		}
		n := Need{SevenBit: true, Lines: true}
		first, err := Rewrite(message.Bytes(in), n)
		if err != nil {
			if e := new(status.Error); !errors.As(err, &e) || e.Class != status.Permanent {
				t.Errorf("refused by %v", err)
			}
			return
		}
		defer first.Close()
		once, _ := io.ReadAll(first.Reader())
		again, err := Rewrite(first, n)
		if err != nil {
			t.Fatalf("the second time: %v\n%q", err, once)
		}
		twice, _ := io.ReadAll(again.Reader())
		if !bytes.Equal(once, twice) {
			t.Errorf("the second time:\n%q\nwas\n%q", twice, once)
		}
		for line := range bytes.Lines(once) {
			if len(bytes.TrimRight(line, "\r\n")) > MaxLine {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	})
}
