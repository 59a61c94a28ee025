package recode

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"

	"pennypost/internal/message"
)

func unbinary(in string) (string, error) {
	var b strings.Builder
	err := Unbinary(&b, message.Bytes([]byte(in)))
	return b.String(), err
}

// crlf writes a message of a test in its form on the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestUnbinary(t *testing.T) {
	octets := "\x00\r\n.\r\n\n--x\n\r--x\r\xff"
	code := base64.StdEncoding.EncodeToString([]byte(octets))
	const top = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n"
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", crlf("Subject: x\n\ncaf\xc3\xa9\n"), crlf("Subject: x\n\ncaf\xc3\xa9\n")},
		{"one part", crlf("A: b\nContent-Transfer-Encoding: BINARY (x)\nMIME-Version: 1.0\n\n") + octets,
			crlf("A: b\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n"+code) + "\r\n"},
		{"no MIME-Version", crlf("Content-Transfer-Encoding:\n binary\n\n") + "a", crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nYQ==\n")},
		{"nothing in it", crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: binary\n\n"), crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n\n")},
		{"only the part that is binary, and what it is in", crlf(top+"Content-Transfer-Encoding: binary\n\npre\n--x\n\nplain\n--x\nContent-Type: image/png\nContent-Transfer-Encoding: binary\n\n") + octets + crlf("\n--x--\nepilogue\n"),
			crlf(top + "Content-Transfer-Encoding: 8bit\n\npre\n--x\n\nplain\n--x\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n" + code + "\n--x--\nepilogue\n")},
		{"a delimiter between bare LF is content", crlf(top+"\n--x\nContent-Transfer-Encoding: binary\n\na") + "\n--x\nb" + crlf("\n--x--\n"),
			crlf(top + "\n--x\nContent-Transfer-Encoding: base64\n\nYQotLXgKYg==\n--x--\n")},
		{"a message in a message", crlf("MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: binary\n\nMIME-Version: 1.0\nContent-Transfer-Encoding: binary\n\n") + "\x00",
			crlf("MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nAA==\n")},
		{"a part that may not be encoded", crlf(top + "\n--x\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: binary\n\nA: b\n--x--\n"),
			crlf(top + "\n--x\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: 8bit\n\nA: b\n--x--\n")},
		{"a part that is a header", crlf(top + "\n--x\nContent-Transfer-Encoding: binary\n--x--\n"),
			crlf(top + "\n--x\nContent-Transfer-Encoding: 8bit\n--x--\n")},
		{"what is around a signed part", crlf("MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=x\nContent-Transfer-Encoding: binary\n\n--x\n\ntext\n--x--\n"),
			crlf("MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=x\nContent-Transfer-Encoding: 8bit\n\n--x\n\ntext\n--x--\n")},
		{"full lines", crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: binary\n\n") + strings.Repeat("\xff", 114),
			crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("/", 76)+"\n", 2))},
	} {
		if got, err := unbinary(c.in); err != nil || got != c.want {
			t.Errorf("%s: %v, got\n%q, want\n%q", c.name, err, got, c.want)
		}
	}
}

func TestUnbinaryRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"a part that is signed": "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\nContent-Transfer-Encoding: binary\r\n\r\nx\r\n--x--\r\n",
		"a header that is signed": "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n" +
			"Content-Type: multipart/mixed; boundary=y\r\nContent-Transfer-Encoding: binary\r\n\r\n--y--\r\n--x--\r\n",
		"too deep": strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 1) + deep(maxDepth+2),
	} {
		if got, err := unbinary(in); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("Content-Type: multipart/mixed; boundary=b" + strings.Repeat("x", i%60) + "\r\n\r\n--b" + strings.Repeat("x", i%60) + "\r\n")
	}
	return b.String()
}

// FuzzUnbinary: no part is labelled binary in the end, all parts decode to what they were, and what had no such part is not
// touched.
func FuzzUnbinary(f *testing.F) {
	f.Add([]byte("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\n--a\r\n--a--\r\n"))
	f.Add([]byte("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nContent-Transfer-Encoding: binary\r\n\r\n\r\r\n"))
	f.Add([]byte("Content-Transfer-Encoding: binary\r\n\r\n" + strings.Repeat("\xe4", 1000)))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := unbinary(string(in))
		if err != nil {
			return
		}
		if !bytes.Contains(bytes.ToLower(in), []byte("binary")) && out != string(in) {
			t.Errorf("changed:\n%q\nto\n%q", in, out)
		}
		again, err := unbinary(out)
		if err != nil || again != out {
			t.Errorf("the second time: %v\n%q\nwas\n%q", err, again, out)
		}
		head, body, _ := strings.Cut(string(in), "\r\n\r\n")
		if strings.EqualFold(head, "Content-Transfer-Encoding: binary") {
			m, err := gomessage.Read(strings.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(m.Body); err != nil || string(got) != body {
				t.Errorf("decoded: %v\n%q\nwas\n%q", err, got, body)
			}
		}
	})
}
