package imap

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pennypost/internal/message"
)

func TestMatches(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "A.B.C", true},
		{"%", "A", true},
		{"%", "A.B", false},
		{"%.%", "A.B", true},
		{"A%", "A.B", false},
		{"A*", "A.B", true},
		{"*C", "A.B.C", true},
		{"A.%.C", "A.B.C", true},
		{"A.%.C", "A.B.B.C", false},
		{"A.*.C", "A.B.B.C", true},
		{"%*", "A.B", true},
		{"a", "A", false},
		{"inbox", "INBOX", true},
		{"", "", true},
		{strings.Repeat("*a", 400), strings.Repeat("a", 199), false}, // and soon
	}
	for _, tt := range tests {
		if got := matches(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%.20q matches %q: got %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}

func TestChanged(t *testing.T) {
	tests := []struct {
		old  string
		op   byte
		want string
		out  string
	}{
		{"", '+', "S", "S"},
		{"FS", '+', "S", "FS"},
		{"FS", '-', "S", "F"},
		{"FS", '-', "D", "FS"},
		{"FS", '=', "D", "D"},
		{"FSXa", '=', "D", "XD"}, // X is nobody's flag that a client knows
		{"FSX", '=', "", "X"},
		{"ab", '-', "a", "b"},
	}
	for _, tt := range tests {
		if got := changed(tt.old, tt.op, tt.want); got != tt.out {
			t.Errorf("%q %c %q: got %q, want %q", tt.old, tt.op, tt.want, got, tt.out)
		}
	}
}

func TestPlanRename(t *testing.T) {
	folders := []string{"A", "A.B", "A.B.C", "AB", "X"}
	tests := []struct{ from, to, want string }{
		{"A", "Y", "A>Y A.B>Y.B A.B.C>Y.B.C"},
		{"A.B", "Z.Z", "A.B>Z.Z A.B.C>Z.Z.C"},
		{"A", "X", "there is a mailbox of that name"},
		{"B", "Y", "there is no such mailbox"},
		{"", "Y", "there is no such mailbox"},
		{"A", "", "no mailbox can have that name"},
		{"A", ".Y", "no mailbox can have that name"},
		{"A", strings.Repeat("y", maxName-1), "the name is too long"},
	}
	for _, tt := range tests {
		moves, err := planRename(folders, tt.from, tt.to)
		var got []string
		for _, m := range moves {
			got = append(got, m[0]+">"+m[1])
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != tt.want {
			t.Errorf("%q to %.20q: got %q, want %q", tt.from, tt.to, text, tt.want)
		}
	}
}

func TestSqueeze(t *testing.T) {
	for in, want := range map[string]string{"1": "1", "1,2,3": "1:3", "3,2,1": "3,2,1", "1,2,9,10,4": "1:2,9:10,4", "5,5": "5,5"} {
		if got := squeeze(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// What APPEND stores is what the converter of the other programs makes of it, however it is read.
func FuzzLFReader(f *testing.F) {
	f.Add("a\r\nb\r\r\n\r")
	f.Add("\r\n\n\r\r")
	f.Fuzz(func(t *testing.T, in string) {
		var want strings.Builder
		w := message.ToLF(&want)
		io.WriteString(w, in)
		w.Close()
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)),
			"EOF with data": iotest.DataErrReader(strings.NewReader(in))} {
			got, err := io.ReadAll(&lfReader{r: r})
			if err != nil || string(got) != want.String() {
				t.Errorf("%s of %q: got %q, %v, want %q", name, in, got, err, want.String())
			}
		}
	})
}

// The search in pieces finds what one in the whole does.
func FuzzContains(f *testing.F) {
	f.Add("Hello Wörld", "wÖrl", 7)
	f.Add("aaab\xff\xc3", "ab", 3)
	f.Fuzz(func(t *testing.T, in, text string, cut int) {
		text = strings.ToLower(text)
		cut = max(0, min(cut, len(in)))
		whole, err := contains(strings.NewReader(in), text)
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := contains(io.MultiReader(strings.NewReader(in[:cut]), strings.NewReader(in[cut:])), text)
		if err != nil || pieces != whole {
			t.Errorf("%q in %q cut at %d: got %v, %v, want %v", text, in, cut, pieces, err, whole)
		}
		if want := strings.Contains(strings.ToLower(in), text); whole != want {
			t.Errorf("%q in %q: got %v, want %v", text, in, whole, want)
		}
	})
}
