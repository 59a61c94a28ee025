package spf

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ record, want string }{ // what is wrong, "" if nothing
		{"v=spf1", ""},
		{"V=SPF1  A  MX/24//64  -ALL ", ""},
		{"v=spf1 a:x.example//64 mx:%{d}/0 ptr:y.example exists:%{i}.z.example include:w.example.", ""},
		{"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip6:::ffff:192.0.2.1 redirect=x.example exp=y.%{d}", ""},
		{"v=spf1 unknown= a-b_c.d=%{c}:/", ""},
		{"v=spf10", "does not begin"},
		{" v=spf1", "does not begin"},
		{"v=spf1\t-all", "does not begin"},
		{"v=spf1 a\t-all", `term "a\t-all": there is no such mechanism`},
		{"v=spf1 -all:x.example", "takes no argument"},
		{"v=spf1 include", "a domain is missing"},
		{"v=spf1 include:", "the domain is empty"},
		{"v=spf1 include:x.example/24", `"example/24" cannot be a top-level domain`},
		{"v=spf1 exists/24", "a domain is missing"},
		{"v=spf1 a:", "the domain is empty"},
		{"v=spf1 a:example", "does not end in a dot"},
		{"v=spf1 a:192.0.2.1", `"1" cannot be a top-level domain`},
		{"v=spf1 a:x.ex-", "cannot be a top-level domain"},
		{"v=spf1 a:%{d}.", "does not end in a dot"},
		{"v=spf1 a/33", `prefix length "33"`},
		{"v=spf1 a/024", `prefix length "024"`},
		{"v=spf1 a/", `prefix length ""`},
		{"v=spf1 a//129", `prefix length "129"`},
		{"v=spf1 a//64/24", "domain is missing"},
		{"v=spf1 ip4:192.0.2.1/33", `prefix length "33"`},
		{"v=spf1 ip4:192.0.2", "not an address of ip4"},
		{"v=spf1 ip4:2001:db8::1", "not an address of ip4"},
		{"v=spf1 ip6:192.0.2.1", "not an address of ip6"},
		{"v=spf1 ip6:fe80::1%eth0", "not an address of ip6"},
		{"v=spf1 ip4", "an address is missing"},
		{"v=spf1 moo", "no such mechanism"},
		{"v=spf1 -exp=x.example", "no qualifier"},
		{"v=spf1 =x", "no qualifier"},
		{"v=spf1 redirect:x.example", "no such mechanism"},
		{"v=spf1 redirect=x.example redirect=x.example", "another redirect="},
		{"v=spf1 exp=x.example a exp=x.example", "another exp="},
		{"v=spf1 exp=", "the domain is empty"},
		{"v=spf1 x=%a", `"%a" is not a macro`},
		{"v=spf1 -", "no such mechanism"},
		{"v=spf1 \xc3\xa9", "no such mechanism"},
	} {
		_, err := Parse(c.record)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.record, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: got %v, want %q", c.record, err, c.want)
		}
	}
}

func TestCheckFindsAll(t *testing.T) {
	r, errs := Check("v=spf1 a/33 mx moo -all")
	if len(errs) != 2 || len(r.Terms) != 2 {
		t.Errorf("got %d terms and errors %v", len(r.Terms), errs)
	}
}

func TestTermTarget(t *testing.T) {
	for _, c := range []struct {
		term, want string
		ok         bool
	}{
		{"a", "example.org", true},
		{"a:x.example.", "x.example", true},
		{"exists:%{d2}.x.example", "example.org.x.example", true},
		{"exists:%{i}.x.example", "", false},
	} {
		r, err := Parse("v=spf1 " + c.term)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := r.Terms[0].Target("example.org"); got != c.want || ok != c.ok {
			t.Errorf("%s: got %q, %v", c.term, got, ok)
		}
	}
}
