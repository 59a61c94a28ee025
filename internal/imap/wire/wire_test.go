package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var limits = Limits{Line: 200, Literal: 20, Command: 30, Literals: 3, Skip: 100}

// decode reads "TAG NAME STRING..." commands and writes down what it saw, prompts included.
func decode(r io.Reader) string {
	var log strings.Builder
	d := NewDecoder(r, limits)
	d.Continue = func() error { log.WriteString("+\n"); return nil }
	for {
		if err := d.Next(); err != nil {
			fmt.Fprintf(&log, "end: %v\n", err)
			return log.String()
		}
		if err := arguments(d, &log); err != nil {
			fmt.Fprintf(&log, " error: %v", err)
		}
		log.WriteByte('\n')
		if err := d.Finish(); err != nil {
			fmt.Fprintf(&log, "end: %v\n", err)
			return log.String()
		}
	}
}

func arguments(d *Decoder, log io.Writer) error {
	tag, err := d.Tag()
	if err != nil {
		return err
	}
	name, err := d.Atom()
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "%s %s", tag, name)
	for {
		if _, more := d.Peek(); !more {
			return nil
		}
		if err := d.SP(); err != nil {
			return err
		}
		if name == "BIG" {
			if err := bigArgument(d, log); err != nil {
				return err
			}
			continue
		}
		s, err := d.AString()
		if err != nil {
			return err
		}
		fmt.Fprintf(log, " %q", s)
	}
}

func bigArgument(d *Decoder, log io.Writer) error {
	r, size, err := d.Literal(50)
	if err != nil {
		return err
	}
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF {
		return err
	}
	fmt.Fprintf(log, " %d:%q", size, head[:n])
	return d.After()
}

func TestDecoder(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"atoms", "a x one two]\r\n", "a x \"one\" \"two]\"\nend: EOF\n"},
		{"LF alone", "a x one\n", "a x \"one\"\nend: EOF\n"},
		{"quoted", `a x "b c" "\"\\" ""` + "\r\n", `a x "b c" "\"\\" ""` + "\nend: EOF\n"},
		{"literal", "a x {3}\r\nb\r\n {0}\r\n\r\n", "a x+\n \"b\\r\\n\"+\n \"\"\nend: EOF\n"},
		{"literal at once", "a x {3+}\r\nb\r\n y\r\n", "a x \"b\\r\\n\" \"y\"\nend: EOF\n"},
		{"several blanks", "a x   y\r\n", "a x \"y\"\nend: EOF\n"},
		{"stream", "a BIG {40+}\r\n" + strings.Repeat("z", 40) + "\r\nb x\r\n", "a BIG 40:\"zz\"\nb x\nend: EOF\n"},
		{"too big and waiting", "a x {21}\r\nb x\r\n", "a x error: literal is too big\nb x\nend: EOF\n"},
		{"too big at once is skipped", "a x {23+}\r\nevil CREATE pwned\r\nabcd\r\nb x\r\n", "a x error: literal is too big\nb x\nend: EOF\n"},
		{"skipped with what follows", "a x {21+}\r\n" + strings.Repeat("e", 21) + " {5+}\r\n12345\r\nb x\r\n", "a x error: literal is too big\nb x\nend: EOF\n"},
		{"sum of literals", "a x {20+}\r\n" + strings.Repeat("e", 20) + " {11+}\r\n12345678901\r\nb x\r\n", "a x \"eeeeeeeeeeeeeeeeeeee\" error: literal is too big\nb x\nend: EOF\n"},
		{"too many literals", "a x {1+}\r\n1 {1+}\r\n2 {1+}\r\n3 {1+}\r\n4\r\nb x\r\n", "a x \"1\" \"2\" \"3\" error: literal is too big\nb x\nend: EOF\n"},
		{"not to be skipped", "a x {5000+}\r\nz9 CREATE pwned\r\n", "a x error: literal is too big\nend: line or literal exceeds all limits\n"},
		{"number beyond all", "a x {99999999999999999999+}\r\nz9 CREATE pwned\r\n", "a x error: literal is too big\nend: line or literal exceeds all limits\n"},
		{"behind an error", "a ( {3+}\r\nx y\r\nb x\r\n", "error: a word is missing at \"( {3+}\"\nb x\nend: EOF\n"},
		{"not at the end", "a x {3} y\r\n", "a x error: a literal must end its line\nend: EOF\n"},
		{"quoted without end", "a x \"yy\r\nb x\r\n", "a x error: a quoted string has no end\nb x\nend: EOF\n"},
		{"NUL in a literal", "a x {1+}\r\n\x00\r\nb x\r\n", "a x error: a NUL byte is in a literal\nb x\nend: EOF\n"},
		{"empty line", "\r\nb x\r\n", "error: a tag is missing\nb x\nend: EOF\n"},
		{"long line", "a x " + strings.Repeat("y", 300) + "\r\nb x\r\n", "end: line or literal exceeds all limits\n"},
		{"half a line", "a x y", "end: unexpected EOF\n"},
		{"half a literal", "a x {5+}\r\nabc", "a x error: unexpected EOF\nend: unexpected EOF\n"},
		{"half a stream", "a BIG {5+}\r\nabc", "a BIG 5:\"ab\" error: unexpected EOF\nend: unexpected EOF\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if strings.HasPrefix(want, "error") {
				want = " " + want
			}
			want = strings.ReplaceAll(want, "\nerror", "\n error")
			if got := decode(strings.NewReader(tt.in)); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if got := decode(iotest.OneByteReader(strings.NewReader(tt.in))); got != want {
				t.Errorf("byte by byte: got\n%swant\n%s", got, want)
			}
		})
	}
}

// How the input is cut into reads makes no difference, and no input makes more than it has bytes.
func FuzzDecoder(f *testing.F) {
	f.Add("a x {3+}\r\nb\r\n {99+}\r\nc\r\n", 5)
	f.Add("a BIG {5}\r\n12345 \"q\\\"\"\r\n\r\n", 13)
	f.Fuzz(func(t *testing.T, in string, cut int) {
		whole := decode(strings.NewReader(in))
		cut = max(0, min(cut, len(in)))
		split := decode(io.MultiReader(strings.NewReader(in[:cut]), strings.NewReader(in[cut:])))
		if whole != split {
			t.Errorf("in one piece:\n%sin two:\n%s", whole, split)
		}
		if n := strings.Count(whole, "\n"); n > 2*len(in)+2 {
			t.Errorf("%d lines of %d bytes", n, len(in))
		}
	})
}

func TestOtherTokens(t *testing.T) {
	d := NewDecoder(strings.NewReader("\\Seen $x] 12 % a.* BODY[1]<2>\r\n99999999999999999999\r\nleft over\r\n"), limits)
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	step := func(got any, err error, want any) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		if err := d.SP(); err != nil && want != "BODY" {
			t.Error(err)
		}
	}
	s, err := d.Flag()
	step(s, err, `\Seen`)
	s, err = d.Flag()
	step(s, err, "$x]")
	n, err := d.Number()
	step(n, err, int64(12))
	s, err = d.ListMailbox()
	step(s, err, "%")
	s, err = d.ListMailbox()
	step(s, err, "a.*")
	s, err = d.Word("[")
	step(s, err, "BODY")
	if err := d.End(); err == nil {
		t.Error("[1]<2> was passed over")
	}
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Number(); err == nil {
		t.Errorf("got %d", n)
	}
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if got := string(d.Line()); got != "left over" || d.End() != nil {
		t.Errorf("got %q", got)
	}
}

func TestSet(t *testing.T) {
	tests := []struct {
		in   string
		last uint32
		want string
	}{
		{"1", 9, "1"},
		{"1:3,2:5,7", 9, "1:5,7"},
		{"5:1", 9, "1:5"},
		{"*", 9, "9"},
		{"*:7", 9, "7:9"},
		{"12:*", 9, "9:12"},
		{"3,1,2", 9, "1:3"},
		{"4294967295,4294967294,1:4294967295", 9, "1:4294967295"},
		{"1:*", 0, ""},
		{"*", 0, ""},
	}
	for _, tt := range tests {
		set, err := ParseSet(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if set.String() != tt.in {
			t.Errorf("%q is written %q", tt.in, set.String())
		}
		if got := set.Resolve(tt.last).String(); got != tt.want {
			t.Errorf("%q of %d: got %q, want %q", tt.in, tt.last, got, tt.want)
		}
	}
	for _, in := range []string{"", "0", "01", "1,", ",1", "1:", ":1", "1:2:3", "a", "-1", "4294967296", "1 2", strings.Repeat("1,", maxRanges) + "1"} {
		if set, err := ParseSet(in); err == nil {
			t.Errorf("%.20q: got %.20v", in, set)
		}
	}
}

// A resolved set has exactly the numbers that the ranges name.
func FuzzSet(f *testing.F) {
	f.Add("1:3,7,*:5", uint32(8))
	f.Fuzz(func(t *testing.T, in string, last uint32) {
		set, err := ParseSet(in)
		if err != nil {
			return
		}
		last %= 50
		resolved := set.Resolve(last)
		for n := uint32(1); n < 60; n++ {
			want := false
			for _, r := range set {
				lo, hi := r.Lo, r.Hi
				if last == 0 && (lo == Star || hi == Star) {
					continue
				}
				if lo == Star {
					lo = last
				}
				if hi == Star {
					hi = last
				}
				want = want || min(lo, hi) <= n && n <= max(lo, hi)
			}
			if got := resolved.Contains(n); got != want {
				t.Errorf("%q of %d: %d is in: %v, want %v", in, last, n, got, want)
			}
		}
	})
}

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	var traced []string
	w.Trace = func(line []byte) { traced = append(traced, string(line)) }
	for _, s := range []string{"atom", "", "NIL", "two words", `q"\`, "a]", "8-bit \xe4", "line\r\n"} {
		w.AString(s)
		w.Raw(" ")
	}
	w.NString("x", false)
	w.Raw(" ")
	w.NString("", true)
	w.CRLF()
	w.Literal(4, func(out io.Writer) error { _, err := io.WriteString(out, "body"); return err })
	w.Line(")")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "atom \"\" \"NIL\" \"two words\" \"q\\\"\\\\\" a] {7}\r\n8-bit \xe4 {6}\r\nline\r\n NIL \"\"\r\n{4}\r\nbody)\r\n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
	if len(traced) != 2 || strings.Contains(strings.Join(traced, ""), "body") {
		t.Errorf("traced %q", traced)
	}
}

// A literal that is not as long as announced breaks the stream; nothing may be sent behind it.
func TestWriterBrokenLiteral(t *testing.T) {
	fault := errors.New("fault")
	tests := map[string]func(io.Writer) error{
		"short": func(out io.Writer) error { _, err := io.WriteString(out, "abc"); return err },
		"long":  func(out io.Writer) error { _, err := io.WriteString(out, "abcde"); return err },
		"error": func(out io.Writer) error { return fault },
	}
	for name, send := range tests {
		var b bytes.Buffer
		w := NewWriter(&b)
		w.Literal(4, send)
		w.Line("a OK")
		if w.Flush() == nil || strings.Contains(b.String(), "OK") {
			t.Errorf("%s: sent %q, %v", name, b.String(), w.Err())
		}
	}
}
