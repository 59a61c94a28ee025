package envelope

import (
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	tests := []struct{ name, value, want, completed string }{
		{"one", "a@x.example", "a@x.example", ""},
		{"with names", `"Doe, Jane" <j@x.example>, Bob (the, other) <b@y.example>`, "j@x.example b@y.example", ""},
		{"bare names", "root, Joe <joe>, postmaster (Post)", "root joe postmaster",
			"root@h.example, Joe <joe@h.example>, postmaster@h.example (Post)"},
		{"as cron has it", "root (Cron Daemon)", "root", "root@h.example (Cron Daemon)"},
		{"folded", "a@x.example,\n b@y.example", "a@x.example b@y.example", ""},
		{"groups", "Friends: a@x.example, b;, undisclosed-recipients:;, c@x.example", "a@x.example b c@x.example",
			"Friends: a@x.example, b@h.example;, undisclosed-recipients:;, c@x.example"},
		{"quoted local part", `"a b"@x.example, "c\"d"`, `"a b"@x.example "c\"d"`, `"a b"@x.example, "c\"d"@h.example`},
		{"blanks and comments inside", "j . doe (x) @ (y(z\\)) ) x . example", "j.doe@x.example", ""},
		{"route", "<@r.example,@s.example:a@x.example>", "a@x.example", ""},
		{"literal", "a@[192.0.2.1]", "a@[192.0.2.1]", ""},
		{"nothing", " , ,;", "", ""},
		{"null path", "<>", "", ""},
		{"utf-8", "Jörg <jörg@exämple.org>", "jörg@exämple.org", ""},
		{"one is bad", "a@x.example, Joe Blow j@y.example, b@z.example", "a@x.example b@z.example!", ""},
		{"no end", "<a@x.example", "!", ""},
		{"quote without end", `"a@x.example`, "!", ""},
		{"two words", "Joe Blow", "!", ""},
		{"twice at", "a@b@x.example", "!", ""},
		{"semicolons as commas", "a@x.example; b@x.example", "a@x.example b@x.example", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := ParseList(tt.value)
			var got []string
			for _, f := range found {
				got = append(got, f.Address.String())
			}
			s := strings.Join(got, " ")
			if err != nil {
				s += "!"
			}
			if s != tt.want {
				t.Errorf("got %q (%v), want %q", s, err, tt.want)
			}
			if tt.completed == "" {
				tt.completed = tt.value
			}
			if got := Complete(tt.value, "h.example"); got != tt.completed {
				t.Errorf("completed %q, want %q", got, tt.completed)
			}
		})
	}
}

// Completing changes nothing but bare names, and leaves none.
func FuzzParseList(f *testing.F) {
	for _, s := range []string{`"Doe, J" <j@x.example>, root (Cron)`, "g: a, b@c;", "<@r:a@b>", `"a`, "(((", "a . b @ c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		before, errBefore := ParseList(s)
		after, errAfter := ParseList(Complete(s, "h.example"))
		if len(before) != len(after) || (errBefore == nil) != (errAfter == nil) {
			t.Fatalf("%d addresses before (%v), %d after (%v)", len(before), errBefore, len(after), errAfter)
		}
		for i, b := range before {
			if b.Address.Domain == "" {
				b.Address.Domain = "h.example"
			}
			if after[i].Address != b.Address {
				t.Errorf("got %q, want %q", after[i].Address, b.Address)
			}
		}
	})
}

func FuzzXtext(f *testing.F) {
	for _, s := range []string{"a+b=c", "a+2Bb", "+2b", "é\x00", "+4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := FromXtext(Xtext(s)); got != s || ok != (s != "") {
			t.Errorf("got %q %v back", got, ok)
		}
		if plain, ok := FromXtext(s); ok && Xtext(plain) != s && len(Xtext(plain)) > len(s) {
			t.Errorf("%q is %q, which is longer as %q", s, plain, Xtext(plain))
		}
	})
}
