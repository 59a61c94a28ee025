package dkim

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf8"

	"pennypost/internal/message"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// canonBody canonicalises in pieces that end at the given places.
func canonBody(c Canon, pieces ...string) string {
	var out bytes.Buffer
	b := new(body)
	b.reset(&out, c)
	for _, p := range pieces {
		_, _ = b.Write([]byte(p))
	}
	_ = b.Close()
	return out.String()
}

func TestBody(t *testing.T) {
	for _, c := range []struct{ in, simple, relaxed string }{
		{"", "\r\n", ""},
		{"\n", "\r\n", ""},
		{"\n\n\r\n", "\r\n", ""},
		{" \n\t\n", " \r\n\t\r\n", ""},
		{"a", "a\r\n", "a\r\n"},
		{"a\n\n\n", "a\r\n", "a\r\n"},
		{"a\n\nb", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
		{" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, // RFC 6376 section 3.4.5
		{"a \t", "a \t\r\n", "a\r\n"},
		{"a\r\r\n", "a\r\r\n", "a\r\r\n"},
		{"a\rb\r", "a\rb\r\r\n", "a\rb\r\r\n"},
		{"a \r b", "a \r b\r\n", "a \r b\r\n"},
		{"a\n \n", "a\r\n \r\n", "a\r\n"},
		{"\n\na", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
	} {
		if got := canonBody(Simple, c.in); got != c.simple {
			t.Errorf("simple %q: got %q, want %q", c.in, got, c.simple)
		}
		if got := canonBody(Relaxed, c.in); got != c.relaxed {
			t.Errorf("relaxed %q: got %q, want %q", c.in, got, c.relaxed)
		}
	}
}

func TestField(t *testing.T) {
	for _, c := range []struct{ in, simple, relaxed string }{
		{"A: X\n", "A: X\r\n", "a:X\r\n"},
		{"B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"}, // RFC 6376 section 3.4.5
		{"SUBJect:\n  AbC\n", "SUBJect:\r\n  AbC\r\n", "subject:AbC\r\n"},
		{"A:\n", "A:\r\n", "a:\r\n"},
		{"A: x", "A: x\r\n", "a:x\r\n"},
		{"A:\xff\x00 \r z\n", "A:\xff\x00 \r z\r\n", "a:\xff\x00 \r z\r\n"},
	} {
		if got := string(canonField(nil, []byte(c.in), Simple)); got != c.simple {
			t.Errorf("simple %q: got %q, want %q", c.in, got, c.simple)
		}
		if got := string(canonField(nil, []byte(c.in), Relaxed)); got != c.relaxed {
			t.Errorf("relaxed %q: got %q, want %q", c.in, got, c.relaxed)
		}
	}
}

// plainBody is the canonical form by the words of the RFC, slowly.
func plainBody(c Canon, s string) string {
	var lines []string
	for len(s) > 0 {
		line, rest, _ := strings.Cut(s, "\n")
		if len(line) < len(s) {
			line = strings.TrimSuffix(line, "\r")
		}
		s = rest
		if c == Relaxed {
			line = strings.ReplaceAll(line, "\t", " ")
			for strings.Contains(line, "  ") {
				line = strings.ReplaceAll(line, "  ", " ")
			}
			line = strings.TrimSuffix(line, " ")
		}
		lines = append(lines, line)
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return map[Canon]string{Simple: "\r\n", Relaxed: ""}[c]
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// FuzzBody: the result does not depend on where the input is cut, nor on its
// line ends, and is what the slow form says; doing it twice changes nothing.
func FuzzBody(f *testing.F) {
	for _, s := range []string{"", "a\n\n", " x \r\n\t\r\r\n", "\r", "a\r", "\n\n\nx  y"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, s string, at int) {
		cut := min(max(at, 0), len(s))
		for _, c := range []Canon{Simple, Relaxed} {
			want := plainBody(c, s)
			if got := canonBody(c, s[:cut], s[cut:]); got != want {
				t.Errorf("%s %q | %q: got %q, want %q", c, s[:cut], s[cut:], got, want)
			}
			if got := canonBody(c, strings.Split(s, "")...); got != want && utf8.ValidString(s) {
				t.Errorf("%s %q by bytes: got %q, want %q", c, s, got, want)
			}
			if got := canonBody(c, want); got != want {
				t.Errorf("%s %q twice: got %q, want %q", c, s, got, want)
			}
		}
	})
}

// FuzzSignature: what is parsed is within bounds and b= is really cut out.
func FuzzSignature(f *testing.F) {
	f.Add("v=1; a=rsa-sha256; d=a.b; s=c; h=from; bh=AA==; b=AA==")
	f.Add("v=1;a=x;b= A A = =;bh=;d=;h=:;s=\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		sig, err := parseSignature([]byte("DKIM-Signature:" + s))
		if err != nil {
			return
		}
		if len(sig.names) > MaxNames || !contains(sig.names, "from") || sig.domain == "" {
			t.Errorf("accepted: %+v", sig)
		}
		tags, err := ParseTags(strings.TrimPrefix(string(sig.value.without(nil, sig.raw)), "DKIM-Signature:"))
		if v, ok := tags.Get("b"); err != nil || !ok || v != "" {
			t.Errorf("left of b=: %q, %v", v, err)
		}
	})
}

func FuzzKey(f *testing.F) {
	for _, records := range rfcZone {
		f.Add(records[0])
	}
	f.Add("p=")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			return
		}
		record, err := Record(k.Public)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(record)
		if err != nil || again.Bits != k.Bits {
			t.Errorf("%q: published again as %q: %v", s, record, err)
		}
	})
}

// FuzzMessage: whatever the message, it can be signed, and the signature holds
// with either line end where those mean the same.
func FuzzMessage(f *testing.F) {
	for _, text := range messages {
		f.Add(text[:min(len(text), 500)])
	}
	z := testZone(f)
	f.Fuzz(func(t *testing.T, text string) {
		m := message.Bytes([]byte(text))
		o := signer("ed")
		o.Fields = []string{"From", "To", "DKIM-Signature"}
		field, err := Sign(m, o)
		if err != nil {
			t.Skip("header over the limits: ", err)
		}
		results, err := Verify(t.Context(), Prepend(m, field), z.options())
		if err != nil || len(results) == 0 || results[0].Verdict != Pass {
			t.Errorf("%q: %v, %v", text, results, err)
		}
	})
}

func FuzzQuotedPrintable(f *testing.F) {
	f.Add("a=b;c \xff")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := decodeQP(encodeQP(s))
		if err != nil || got != s {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
	})
}
