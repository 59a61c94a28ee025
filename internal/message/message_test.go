package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"pennypost/internal/status"
)

func readAll(t *testing.T, m *Message) []byte {
	t.Helper()
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != m.Size() {
		t.Fatalf("read %d bytes, size %d", len(b), m.Size())
	}
	return b
}

func TestSpoolIsByteExact(t *testing.T) {
	big := make([]byte, 3*MaxMemory+17)
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	for name, in := range map[string][]byte{
		"empty":      {},
		"one byte":   {'x'},
		"no newline": []byte("a\nb"),
		"in memory":  big[:MaxMemory],
		"in a file":  big[:MaxMemory+1],
		"big":        big,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			m, err := Spool(iotest.HalfReader(bytes.NewReader(in)), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if got := readAll(t, m); !bytes.Equal(got, in) {
				t.Errorf("got %d bytes that differ", len(got))
			}
			f, err := m.File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, in) {
				t.Errorf("file: got %d bytes, %v", len(got), err)
			}
			if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) != 0 {
				t.Errorf("files left in TMPDIR: %v", left)
			}
		})
	}
}

func TestFilesOfOneMessageHaveTheirOwnOffset(t *testing.T) {
	m, err := Spool(strings.NewReader(strings.Repeat("x", 2*MaxMemory)), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, errA := m.File()
	b, errB := m.File()
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	defer a.Close()
	defer b.Close()
	if _, err := io.Copy(io.Discard, a); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, b); err != nil || n != m.Size() {
		t.Errorf("second file: %d bytes, %v", n, err)
	}
	if len(readAll(t, m)) != 2*MaxMemory {
		t.Error("message was moved by its files")
	}
}

func TestLimits(t *testing.T) {
	if m, err := Spool(strings.NewReader("12345"), 5); err != nil || m.Size() != 5 {
		t.Errorf("exactly the limit: %v", err)
	}
	for name, n := range map[string]int{"memory": 6, "file": 2 * MaxMemory} {
		_, err := Spool(strings.NewReader(strings.Repeat("x", n)), int64(n-1))
		if e := status.Of(err); err == nil || e.Code != 552 || e.Enhanced != "5.3.4" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w := NewWriter(3)
	w.Write([]byte("123"))
	if _, err := w.Write([]byte("4")); err == nil {
		t.Error("over the limit")
	}
	if _, err := w.Write(nil); err == nil {
		t.Error("the error is forgotten")
	}
	if _, err := w.Message(); err == nil {
		t.Error("half a message was given out")
	}
}

func TestReadErrorIsTemporaryAndNoMessage(t *testing.T) {
	_, err := Spool(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("lost"))), 0)
	if e := status.Of(err); err == nil || e.Class != status.Temporary {
		t.Errorf("got %v", err)
	}
}

func TestFromFile(t *testing.T) {
	name := t.TempDir() + "/m"
	if err := os.WriteFile(name, []byte("Subject: x\n\nbody"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.CopyN(io.Discard, f, 5)
	m, err := FromFile(f, 0)
	if err != nil || string(readAll(t, m)) != "Subject: x\n\nbody" {
		t.Errorf("offset was not ignored: %v", err)
	}
	if _, err := FromFile(f, 3); status.Of(err).Code != 552 {
		t.Errorf("limit: got %v", err)
	}
	g, err := m.File() // has a name, so it is copied
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if g.Name() == name {
		t.Error("a file that can change was handed on")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() { w.WriteString("piped"); w.Close() }()
	if m, err := FromFile(r, 0); err != nil || string(readAll(t, m)) != "piped" {
		t.Errorf("pipe: %v", err)
	}
}

func TestViews(t *testing.T) {
	m := Bytes([]byte("0123456789"))
	tests := []struct {
		name string
		m    *Message
		want string
	}{
		{"prepend", m.Prepend([]byte("ab")), "ab0123456789"},
		{"twice", m.Prepend([]byte("a")).Prepend([]byte("b")), "ba0123456789"},
		{"nothing", m.Prepend(nil), "0123456789"},
		{"middle", m.Without([]Span{{2, 3}}), "0156789"},
		{"ends, out of order, overlapping", m.Without([]Span{{8, 9}, {0, 2}, {1, 2}}), "34567"},
		{"all", m.Without([]Span{{0, 10}}), ""},
		{"none", m.Without(nil), "0123456789"},
		{"cut then prepend", m.Without([]Span{{1, 8}}).Prepend([]byte("x")), "x09"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(readAll(t, tt.m)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err := iotest.TestReader(tt.m.Reader(), []byte(tt.want)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	tests := []struct {
		name, in string
		want     string // Name:Value| of each field
		body     string
	}{
		{"plain", "A: 1\nB:2\n\nbody", "A=1|B=2|", "body"},
		{"CRLF and folded", "A: 1\r\n two\r\nB: 2\r\n\r\nbody", "A=1 two|B=2|", "body"},
		{"no body", "A: 1\n", "A=1|", ""},
		{"no newline", "A: 1", "A=1|", ""},
		{"no header", "hello\nworld\n", "", "hello\nworld\n"},
		{"empty line first", "\nA: 1\n", "", "A: 1\n"},
		{"nothing", "", "", ""},
		{"From_ line first", "From x y\nA: 1\n", "", "From x y\nA: 1\n"},
		{"line without colon inside", "A: 1\nrubbish\nB: 2\n\nx", "A=1|=rubbish|B=2|", "x"},
		{"8 bit and blank before the colon", "A : \xff\nb: \x00\n\n", "A=\xff|b=\x00|", ""},
		{"folded first line", " A: 1\n\n", "", " A: 1\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Bytes([]byte(tt.in))
			h, err := m.Header()
			if err != nil {
				t.Fatal(err)
			}
			var got, raw strings.Builder
			for _, f := range h.Fields {
				got.WriteString(f.Name + "=" + f.Value() + "|")
				raw.Write(f.Raw)
				if tt.in[f.Off:][:len(f.Raw)] != string(f.Raw) {
					t.Errorf("field %q is not at %d", f.Raw, f.Off)
				}
			}
			if got.String() != tt.want || tt.in[h.Size:] != tt.body {
				t.Errorf("got %q body %q, want %q body %q", got.String(), tt.in[h.Size:], tt.want, tt.body)
			}
		})
	}
	h, _ := Bytes([]byte("a: 1\nB: 2\nA: 3\n\n")).Header()
	if h.Get("A") != "1" || len(h.All("A")) != 2 || h.Get("c") != "" {
		t.Errorf("Get and All: %q %d", h.Get("A"), len(h.All("A")))
	}
}

// TestHeaderInPieces: a header is read in pieces, whose ends do not show.
func TestHeaderInPieces(t *testing.T) {
	for size := 4080; size < 4110; size++ {
		for _, end := range []string{"\n", "\r\n"} {
			first := "A: " + strings.Repeat("x", size) + end
			second := "Second : " + strings.Repeat("y", 3*size) + end
			h, err := Bytes([]byte(first + second + "C: 1" + end + end + "D: 2" + end)).Header()
			if err != nil || len(h.Fields) != 3 || !h.Blank || h.Size != int64(len(first+second+"C: 1"+end+end)) {
				t.Fatalf("size %d: %d fields, %d bytes, %v", size, len(h.Fields), h.Size, err)
			}
			for i, want := range []string{first, second, "C: 1" + end} {
				if f := h.Fields[i]; string(f.Raw) != want || f.Name != []string{"A", "Second", "C"}[i] {
					t.Errorf("size %d: field %d is %q of %d bytes, want %d", size, i, f.Name, len(f.Raw), len(want))
				}
			}
		}
	}
}

func TestHeaderLimits(t *testing.T) {
	for name, in := range map[string]string{
		"one endless field": "A: " + strings.Repeat("x", MaxHeader),
		"many fields":       strings.Repeat("A: 1\n", MaxFields+1),
		"many lines":        "A: 1\n" + strings.Repeat(" x\n", MaxHeader/3),
	} {
		if _, err := Bytes([]byte(in)).Header(); status.Of(err) == nil || status.Of(err).Class != status.Permanent {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name, in string
		l        Limits
		want     string
	}{
		{"clean", "a\r\nb\r\n", Limits{CRLF: true, NUL: true, Line: 4}, ""},
		{"bare LF", "ab\r\nc\nd", Limits{CRLF: true}, "bare LF at line 2, byte 2"},
		{"LF is a line end on disk", "a\nb\n", Limits{}, ""},
		{"bare CR", "a\r\nb\rc", Limits{CRLF: true}, "bare CR at line 2, byte 2"},
		{"bare CR among LF", "a\nb\rc", Limits{}, "bare CR at line 2, byte 2"},
		{"two CR", "a\r\r\n", Limits{CRLF: true}, "bare CR at line 1, byte 2"},
		{"CR at the end", "a\r", Limits{}, "bare CR at line 1, byte 2"},
		{"NUL", "a\n\x00", Limits{NUL: true}, "NUL at line 2, byte 1"},
		{"NUL let through", "\x00", Limits{}, ""},
		{"line of the limit", "12345\r\n", Limits{Line: 7}, ""},
		{"long line", "\n12345\r\n", Limits{Line: 6}, "line too long at line 2, byte 7"},
		{"header", "a: 1\n\n123456789", Limits{Header: 6}, ""},
		{"long header", "a: 1\nb: 2\n", Limits{Header: 6}, "header too long at line 2, byte 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := Check(iotest.OneByteReader(strings.NewReader(tt.in)), tt.l); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLineEnds(t *testing.T) {
	tests := []struct{ name, in, crlf, lf string }{
		{"LF", "a\nb\n", "a\r\nb\r\n", "a\nb\n"},
		{"CRLF is not doubled", "a\r\nb", "a\r\nb", "a\nb"},
		{"bare CR stays", "a\rb\r", "a\rb\r", "a\rb\r"},
		{"CR CR LF", "a\r\r\n", "a\r\r\n", "a\r\n"},
		{"empty lines", "\n\n", "\r\n\r\n", "\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := throughCRLF(tt.in, len(tt.in)); got != tt.crlf {
				t.Errorf("ToCRLF: got %q, want %q", got, tt.crlf)
			}
			if got := throughLF(tt.in, len(tt.in)); got != tt.lf {
				t.Errorf("ToLF: got %q, want %q", got, tt.lf)
			}
		})
	}
}

func throughCRLF(s string, cut int) string {
	var b bytes.Buffer
	w := ToCRLF(&b)
	w.Write([]byte(s[:cut]))
	w.Write([]byte(s[cut:]))
	w.Close()
	return b.String()
}

func throughLF(s string, cut int) string {
	var b bytes.Buffer
	w := ToLF(&b)
	w.Write([]byte(s[:cut]))
	w.Write([]byte(s[cut:]))
	w.Close()
	return b.String()
}

// The cut between two writes changes nothing, ToCRLF leaves no bare LF, and ToLF undoes it for text with LF line ends.
func FuzzLineEnds(f *testing.F) {
	f.Add("a\r\nb\nc\r", 2)
	f.Add("\r\r\n\n", 1)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if cut < 0 || cut > len(s) {
			return
		}
		crlf, lf := throughCRLF(s, cut), throughLF(s, cut)
		if crlf != throughCRLF(s, len(s)) || lf != throughLF(s, len(s)) {
			t.Errorf("%q cut at %d", s, cut)
		}
		if v := (*Violation)(nil); errors.As(Check(strings.NewReader(crlf), Limits{CRLF: true}), &v) && v.Kind == "bare LF" {
			t.Errorf("%q: bare LF in %q", s, crlf)
		}
		if !strings.Contains(s, "\r") && throughLF(crlf, len(crlf)) != s {
			t.Errorf("%q does not come back", s)
		}
	})
}

// The fields of a header are, put together, the header; views give back what they were made of.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"A: 1\n b\n\nx", "From x\n", "A:\r\n\r\n", "A: 1\nx\n\n", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := Bytes([]byte(s))
		h, err := m.Header()
		if err != nil {
			return
		}
		end := int64(0)
		for _, fld := range h.Fields {
			if fld.Off != end || s[fld.Off:][:len(fld.Raw)] != string(fld.Raw) {
				t.Fatalf("%q: field %q at %d", s, fld.Raw, fld.Off)
			}
			end += int64(len(fld.Raw))
		}
		if rest := strings.Trim(s[end:h.Size], "\r\n"); rest != "" || h.Blank != (h.Size > end) {
			t.Fatalf("%q: %q between fields and body", s, rest)
		}
		if len(h.Fields) > 0 {
			cut := h.Fields[0]
			back := m.Without([]Span{cut.Span()}).Prepend(cut.Raw)
			got, err := io.ReadAll(back.Reader())
			if err != nil || string(got) != s {
				t.Fatalf("%q: came back as %q, %v", s, got, err)
			}
		}
	})
}

// Where a violation is does not depend on how the bytes are cut.
func FuzzCheck(f *testing.F) {
	f.Add("a\r\nb\nc\rd\x00", 3)
	f.Add("a\r\nb\r\nc\r\n\r\r\n", 4)
	f.Add("\r\n\na\r", 1)
	f.Add("a\r\n\r\nb\r\n", 2)
	f.Add("a\r\rb\r\n", 2)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if cut < 0 || cut > len(s) {
			return
		}
		for _, l := range []Limits{{Line: 10, Header: 50, CRLF: true, NUL: true}, {CRLF: true, NUL: true}} {
			want := checkPieces(l, strings.Split(s, "")...)
			if got := checkPieces(l, s); got != want {
				t.Errorf("%q: %q in one piece, %q byte by byte", s, got, want)
			}
			if got := checkPieces(l, s[:cut], s[cut:]); got != want {
				t.Errorf("%q cut at %d: %q, want %q", s, cut, got, want)
			}
			if lf, got := throughChecked(l, s, cut); got != want || lf != throughLF(s, len(s)) {
				t.Errorf("%q cut at %d, with LF: %q in %q, want %q", s, cut, got, lf, want)
			}
			if want == "" && strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n\x00") {
				t.Errorf("%q: nothing found", s)
			}
		}
	})
}

// checkPieces is the text of the violation, or "".
func checkPieces(l Limits, pieces ...string) string {
	c := NewChecker(l)
	for _, p := range pieces {
		c.Write([]byte(p))
	}
	if v := c.Result(); v != nil {
		return v.Error()
	}
	return ""
}

// throughChecked is s as LF in two pieces, and the text of the violation, or "".
func throughChecked(l Limits, s string, cut int) (lf, found string) {
	var b bytes.Buffer
	c := NewChecker(l)
	w := ToCheckedLF(&b, c)
	w.Write([]byte(s[:cut]))
	w.Write([]byte(s[cut:]))
	w.Close()
	if v := c.Result(); v != nil {
		found = v.Error()
	}
	return b.String(), found
}

// text is a megabyte of lines as mail has them.
var text = bytes.Repeat([]byte("a line of an ordinary length, of which a message has many thousands, more or less\r\n"), 12_500)

func BenchmarkToLF(b *testing.B) {
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		ToLF(io.Discard).Write(text)
	}
}

func BenchmarkToCheckedLF(b *testing.B) {
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		ToCheckedLF(io.Discard, NewChecker(Limits{CRLF: true, NUL: true})).Write(text)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, l := range []Limits{{CRLF: true, NUL: true}, {CRLF: true, NUL: true, Line: 1000}} {
		b.Run(fmt.Sprintf("line limit %d", l.Line), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				NewChecker(l).Write(text)
			}
		})
	}
}
