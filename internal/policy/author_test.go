package policy

import (
	"strings"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

func TestAuthors(t *testing.T) {
	tests := []struct{ name, header, want string }{
		{"plain", "From: a@b.example\n", "a@b.example"},
		{"with a name", "From: \"Doe, J\" <J.Doe@B.example>\n", "J.Doe@b.example"},
		{"folded", "from: x\n <a@b.example>\n", "a@b.example"},
		{"several", "From: a@b.example, C <c@d.example>\n", "a@b.example c@d.example"},
		{"encoded name", "From: =?iso-8859-5?B?0A==?= <a@b.example>\n", "a@b.example"},
		{"encoded name in an unknown charset", "From: =?klingon?B?0A==?= <a@b.example>\n", "a@b.example"},
		{"quoted local part", "From: \"a@x\"@b.example\n", "\"a@x\"@b.example"},
		{"none", "To: a@b.example\n", "550 5.6.0 the message has 0 From fields"},
		{"two", "From: a@b.example\nFrom: c@d.example\n", "550 5.6.0 the message has 2 From fields"},
		{"empty", "From:\n", "550 5.6.0 the From field cannot be read"},
		{"nonsense", "From: <a@b\n", "550 5.6.0 the From field cannot be read"},
		{"empty group", "From: x:;\n", "550 5.6.0 the From field cannot be read"},
		{"not qualified", "From: root@localhost\n", "550 5.6.0 From \"root@localhost\": its domain"},
		{"no domain", "From: root\n", "550 5.6.0 the From field cannot be read"},
	}
	for _, tt := range tests {
		h, err := message.Bytes([]byte(tt.header + "\n")).Header()
		if err != nil {
			t.Fatal(err)
		}
		list, err := Authors(h)
		var got []string
		for _, a := range list {
			got = append(got, a.String())
		}
		said := strings.Join(got, " ")
		if err != nil {
			said = status.Of(err).Line()
		}
		if err == nil && said != tt.want || err != nil && !strings.HasPrefix(said, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, said, tt.want)
		}
	}
}

func TestOwn(t *testing.T) {
	a := envelope.Address{Local: "a", Domain: "b.example"}
	if err := OwnSender(envelope.Address{}, "u@b.example", false); err != nil {
		t.Errorf("null path: %v", err)
	}
	if err := OwnSender(a, "u@b.example", true); err != nil {
		t.Errorf("own: %v", err)
	}
	if got := status.Of(OwnSender(a, "u@b.example", false)).Line(); !strings.HasPrefix(got, "553 5.7.1 <a@b.example>") {
		t.Errorf("got %q", got)
	}
	if got := status.Of(OwnAuthor(a, "u@b.example", false)).Line(); !strings.HasPrefix(got, "550 5.7.1 From <a@b.example>") {
		t.Errorf("got %q", got)
	}
	if err := OwnAuthor(a, "u@b.example", true); err != nil {
		t.Errorf("own author: %v", err)
	}
}

// Whatever From says is read or refused, and what is read can be printed.
func FuzzAuthors(f *testing.F) {
	f.Add("a@b.example, \"x\" <c@d.example>")
	f.Add("=?x?q?=?= <@>")
	f.Fuzz(func(t *testing.T, value string) {
		h, err := message.Bytes([]byte("From: " + value + "\n\n")).Header()
		if err != nil {
			return
		}
		list, err := Authors(h)
		if err == nil && len(list) == 0 {
			t.Error("no authors and no error")
		}
		for _, a := range list {
			if !strings.Contains(a.Domain, ".") {
				t.Errorf("%+v is not qualified", a)
			}
		}
	})
}
