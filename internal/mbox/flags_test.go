package mbox

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/message"
)

func text(t testing.TB, m *message.Message) string {
	t.Helper()
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWithFlags(t *testing.T) {
	tests := []struct {
		name, message string
		flags         Flags
		want          string
	}{
		{"new", "A: b\n\nx\n", Flags{New: true}, "A: b\n\nx\n"},
		{"seen", "A: b\n\nx\n", Flags{Letters: "S"}, "A: b\nStatus: RO\n\nx\n"},
		{"not seen", "A: b\n\nx\n", Flags{}, "A: b\nStatus: O\n\nx\n"},
		{"all", "A: b\n\nx\n", Flags{Letters: "DFPRSTa"}, "A: b\nStatus: RO\nX-Status: TFPADa\n\nx\n"},
		{"new, but a Status is there", "Status: RO\nA: b\n\n", Flags{New: true}, "Status: RO\nA: b\nStatus:\nX-Status:\n\n"},
		{"a Status ends the header", "A: b\nstatus: R\n\n", Flags{}, "A: b\nstatus: R\nStatus: O\nX-Status:\n\n"},
		{"an X-Status", "X-STATUS: A\n\n", Flags{Letters: "S"}, "X-STATUS: A\nStatus: RO\nX-Status:\n\n"},
		{"CRLF", "A: b\r\n c\r\n\r\nx", Flags{Letters: "F"}, "A: b\r\n c\r\nStatus: O\r\nX-Status: F\r\n\r\nx"},
		{"header only", "A: b\n", Flags{}, "A: b\nStatus: O\n"},
		{"header cut", "A: b\nC: d", Flags{}, "A: b\nStatus: O\nC: d"},
		{"no header", "text\n", Flags{}, "Status: O\ntext\n"},
		{"nothing", "", Flags{Letters: "S"}, "Status: RO\n"},
		{"Status in the text", "A: b\n\nStatus: RO\n", Flags{New: true}, "A: b\n\nStatus: RO\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _, err := WithFlags(message.Bytes([]byte(tt.message)), tt.flags)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, m); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			back, flags, err := WithoutFlags(m)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, back); got != tt.message || flags != tt.flags {
				t.Errorf("back: got %q %+v, want %q %+v", got, flags, tt.message, tt.flags)
			}
		})
	}
}

func TestWithoutFlagsOfOthers(t *testing.T) {
	tests := []struct {
		name, message, want string
		flags               Flags
	}{
		{"none", "A: b\n\n", "A: b\n\n", Flags{New: true}},
		{"at the end", "A: b\nStatus: RO\nX-Status: AF\n\nx\n", "A: b\n\nx\n", Flags{Letters: "FRS"}},
		{"read but not O", "A: b\nStatus: R\n\n", "A: b\n\n", Flags{Letters: "S"}},
		{"between other fields", "Status: RO\nX-Status: D\nX-Keywords:\nX-UID: 7\n\n", "Status: RO\nX-Status: D\nX-Keywords:\nX-UID: 7\n\n", Flags{Letters: "ST"}},
		{"the other order", "X-Status: T\nStatus: O\n\n", "X-Status: T\n\n", Flags{Letters: "D"}},
		{"odd letters", "Status: XYZ,/:\nX-Status: S/,:RF\n\n", "\n", Flags{Letters: "F"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, flags, err := WithoutFlags(message.Bytes([]byte(tt.message)))
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, m); got != tt.want || flags != tt.flags {
				t.Errorf("got %q %+v, want %q %+v", got, flags, tt.want, tt.flags)
			}
		})
	}
}

func TestReturnPath(t *testing.T) {
	for head, want := range map[string]string{
		"Return-Path: <a@b>\nReturn-Path: <c@d>\n\n": "a@b",
		"return-path: a@b \n\n":                      "a@b",
		"Return-Path: <>\n\n":                        "",
		"A: b\n\nReturn-Path: <a@b>\n":               "",
	} {
		_, got, err := WithFlags(message.Bytes([]byte(head)), Flags{})
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", head, got, err, want)
		}
	}
}

func TestManyStatusLines(t *testing.T) {
	m := strings.Repeat("Status: R\n", 10*maxStatusLines) + "\n"
	marked, _, err := WithFlags(message.Bytes([]byte(m)), Flags{Letters: "F"})
	if err != nil {
		t.Fatal(err)
	}
	back, flags, err := WithoutFlags(marked)
	if err != nil || text(t, back) != m || flags.Letters != "F" {
		t.Errorf("got %d bytes, flags %+v, %v", back.Size(), flags, err)
	}
}

func FuzzFlags(f *testing.F) {
	for _, s := range []string{"", "\n", "A: b\n\nx", "Status: R\n folded\nA: b\n\n", " folded\nStatus: R\n", "X-Status: A\nStatus: O\n", "A: b\r\nStatus:\r\n\r\n", "Status: a\nStatus: b\nX-Status: c\nStatus: d"} {
		f.Add([]byte(s), "FS", false)
		f.Add([]byte(s), "", true)
	}
	f.Fuzz(func(t *testing.T, b []byte, letters string, fresh bool) {
		var clean []byte
		for _, c := range []byte(letters) {
			if strings.IndexByte(settable, c) >= 0 {
				clean = append(clean, c)
			}
		}
		slices.Sort(clean)
		want := Flags{Letters: string(slices.Compact(clean)), New: fresh}
		want.New = want.New && want.Letters == ""
		m, _, err := WithFlags(message.Bytes(b), want)
		if err != nil {
			t.Fatal(err)
		}
		back, got, err := WithoutFlags(m)
		if err != nil {
			t.Fatal(err)
		}
		if out := text(t, back); !bytes.Equal([]byte(out), b) || got != want {
			t.Errorf("got %q %+v, want %q %+v; between %q", out, got, b, want, text(t, m))
		}
	})
}
