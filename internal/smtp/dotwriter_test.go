package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/textproto"
	"strings"
	"testing"
)

func TestDotWriter(t *testing.T) {
	tests := []struct {
		name, in, want string
		err            error
	}{
		{"nothing", "", ".\r\n", nil},
		{"LF", "a\nb\n", "a\r\nb\r\n.\r\n", nil},
		{"CRLF is kept, not doubled", "a\r\nb\n", "a\r\nb\r\n.\r\n", nil},
		{"last line open", "a", "a\r\n.\r\n", nil},
		{"dots", ".\n..\na.\n.b", "..\r\n...\r\na.\r\n..b\r\n.\r\n", nil},
		{"empty lines", "\n\r\n\n", "\r\n\r\n\r\n.\r\n", nil},
		{"LF.LF cannot end the data", "a\n.\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n", nil},
		{"bare CR", "a\rb", "", errBareCR},
		{"bare CR around a dot", "a\n\r.\r\nMAIL", "", errBareCR},
		{"CR CR LF", "a\r\r\n", "", errBareCR},
		{"CR at the end", "a\r", "", errBareCR},
		{"NUL", "a\x00\n", "", errNUL},
		{"8-bit", "\xff\xfe\n", "\xff\xfe\r\n.\r\n", nil},
	}
	for _, tt := range tests {
		for cut := 0; cut <= len(tt.in); cut++ {
			got, err := dotted(tt.in[:cut], tt.in[cut:])
			if !errors.Is(err, tt.err) || err == nil && got != tt.want {
				t.Errorf("%s, cut at %d: got %q, %v, want %q, %v", tt.name, cut, got, err, tt.want, tt.err)
			}
			if err != nil && strings.HasSuffix(got, "\n.\r\n") {
				t.Errorf("%s, cut at %d: %q looks complete", tt.name, cut, got)
			}
		}
	}
}

func dotted(parts ...string) (string, error) {
	var b strings.Builder
	d := NewDotWriter(&b)
	for _, p := range parts {
		io.WriteString(d, p)
	}
	err := d.Close()
	return b.String(), err
}

// Three properties: the cut of the input changes nothing; what goes out has no CR or LF but in CRLF and ends at its end
// only; and a reader that takes the dots off (net/textproto, not ours) gets the message back. The scan that goes before
// counts what is written and refuses the same.
func FuzzDotWriter(f *testing.F) {
	f.Add([]byte("a\n.\r\n..b"), 3)
	f.Add([]byte("\r\n.\n"), 1)
	f.Add([]byte("a\rb\x00"), 2)
	f.Add([]byte("\x00\r0"), 2)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		cut = max(0, min(cut, len(in)))
		whole, err := dotted(string(in))
		parts, errParts := dotted(string(in[:cut]), string(in[cut:]))
		if whole != parts && err == nil || !errors.Is(errParts, err) {
			t.Fatalf("%q cut at %d: %q, %v, and whole %q, %v", in, cut, parts, errParts, whole, err)
		}
		facts, errScan := scan(io.MultiReader(bytes.NewReader(in[:cut]), bytes.NewReader(in[cut:])))
		if (err == nil) != (errScan == nil) || !errors.Is(errScan, err) {
			t.Fatalf("%q: written %v, scanned %v", in, err, errScan)
		}
		if err != nil {
			return
		}
		bare := strings.ReplaceAll(whole, "\r\n", "")
		if strings.ContainsAny(bare, "\r\n\x00") {
			t.Fatalf("%q: %q has a bare CR, LF or NUL", in, whole)
		}
		if i := strings.Index("\r\n"+whole, "\r\n.\r\n"); i+3 != len(whole) {
			t.Fatalf("%q: %q ends at %d of %d", in, whole, i, len(whole))
		}
		back, err := io.ReadAll(textproto.NewReader(bufio.NewReader(strings.NewReader(whole))).DotReader())
		want := strings.ReplaceAll(string(in), "\r\n", "\n")
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if err != nil || string(back) != want {
			t.Fatalf("%q: got back %q, %v", in, back, err)
		}
		if n := int64(len(want) + strings.Count(want, "\n")); facts.size != n {
			t.Fatalf("%q: size %d, want %d", in, facts.size, n)
		}
	})
}

func TestScan(t *testing.T) {
	tests := []struct {
		name, in string
		want     content
		err      string
	}{
		{"nothing", "", content{}, ""},
		{"header only", "A: b\n", content{size: 6}, ""},
		{"8-bit in the header", "A: \xe4\n\nx", content{size: 11, eightHead: true}, ""},
		{"8-bit in the body", "A: b\n\n\xe4\n", content{size: 11, eightBody: true}, ""},
		{"header ends at CRLF CRLF", "A: b\r\n\r\n\xe4\r\n", content{size: 11, eightBody: true}, ""},
		{"a line of 998", "\n" + strings.Repeat("x", 998) + "\r\n", content{size: 1002}, ""},
		{"a line of 999", "\n" + strings.Repeat("x", 999) + "\r\n" + strings.Repeat("x", 1000), content{size: 2005, longLine: 2}, ""},
		{"a NUL before a CR", "x\x00\r", content{}, "NUL byte in the message, line 1, byte 2"},
		{"a CR before a NUL", "x\ry\x00", content{}, "bare CR in the message, line 1, byte 2"},
		{"place of a bare CR", "A: b\n\nxy\rz\n", content{}, "bare CR in the message, line 3, byte 3"},
		{"CR at the end", "A: b\r", content{}, "bare CR in the message, line 1, byte 5"},
		{"place of a NUL", "\n\x00", content{}, "NUL byte in the message, line 2, byte 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := scan(strings.NewReader(tt.in))
			said := ""
			if err != nil {
				said = err.Error()
			}
			if got != tt.want || said != tt.err {
				t.Errorf("got %+v, %q, want %+v, %q", got, said, tt.want, tt.err)
			}
		})
	}
}
