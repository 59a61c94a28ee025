package envelope

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/status"
)

func TestParsePath(t *testing.T) {
	tests := []struct {
		name, in     string
		local, dom   string
		printed, rst string
	}{
		{"plain", "<alice@example.org>", "alice", "example.org", "<alice@example.org>", ""},
		{"blank after the colon", " <someuser@gmail.com>", "someuser", "gmail.com", "<someuser@gmail.com>", ""},
		{"parameters", "<a@b.org> SIZE=10 BODY=8BITMIME", "a", "b.org", "<a@b.org>", "SIZE=10 BODY=8BITMIME"},
		{"null", "<>", "", "", "<>", ""},
		{"postmaster", "<Postmaster>", "Postmaster", "", "<Postmaster>", ""},
		{"quoted at sign", `<"a@b"@c.org>`, "a@b", "c.org", `<"a@b"@c.org>`, ""},
		{"quoting that was not needed", `<"ab"@c.org>`, "ab", "c.org", "<ab@c.org>", ""},
		{"quoted bracket, blank, quote", `<"a> b\"\\"@c.org> X`, `a> b"\`, "c.org", `<"a> b\"\\"@c.org>`, "X"},
		{"empty quoted", `<""@c.org>`, "", "c.org", `<""@c.org>`, ""},
		{"dots quoted", `<".a."@c.org>`, ".a.", "c.org", `<".a."@c.org>`, ""},
		{"case of the domain", "<A@EXAMPLE.org>", "A", "example.org", "<A@example.org>", ""},
		{"trailing dot", "<a@example.org.>", "a", "example.org", "<a@example.org>", ""},
		{"IPv4 literal", "<u@[192.168.1.3]>", "u", "[192.168.1.3]", "<u@[192.168.1.3]>", ""},
		{"IPv6 literal", "<u@[ipv6:2001:DB8:0::1]>", "u", "[IPv6:2001:db8::1]", "<u@[IPv6:2001:db8::1]>", ""},
		{"source route", "<@x.org,@y.org:a@b.org>", "a", "b.org", "<a@b.org>", ""},
		{"UTF-8", "<jürgen@Bücher.example>", "jürgen", "bücher.example", "<jürgen@bücher.example>", ""},
		{"percent hack is a plain local part", "<a%b@c.org>", "a%b", "c.org", "<a%b@c.org>", ""},
		{"limit", "<" + strings.Repeat("l", 64) + "@c.org>", strings.Repeat("l", 64), "c.org", "<" + strings.Repeat("l", 64) + "@c.org>", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, rest, err := ParsePath(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if a.Local != tt.local || a.Domain != tt.dom || a.Path() != tt.printed || rest != tt.rst {
				t.Errorf("got %q @ %q, path %q, rest %q; want %q @ %q, %q, %q", a.Local, a.Domain, a.Path(), rest, tt.local, tt.dom, tt.printed, tt.rst)
			}
		})
	}
}

func TestParsePathRefuses(t *testing.T) {
	long := strings.Repeat("a", 60)
	for name, in := range map[string]string{
		"no brackets":        "a@b.org",
		"no domain":          "<alice>",
		"empty":              "",
		"open":               "<a@b.org",
		"two ats":            "<a@b@c.org>",
		"empty domain":       "<a@>",
		"empty local":        "<@b.org>",
		"double dot":         "<a..b@c.org>",
		"double dot domain":  "<a@b..org>",
		"leading dot":        "<.a@c.org>",
		"blank":              "<a b@c.org>",
		"injected parameter": "<x> NOTIFY=NEVER y@v.example>",
		"glued parameters":   "<a@b.org>SIZE=1",
		"NUL":                "<a\x00@b.org>",
		"quoted line end":    "<\"a\r\nb\"@c.org>",
		"escaped line end":   "<\"a\\\nb\"@c.org>",
		"not UTF-8":          "<a\xff@c.org>",
		"local of 65":        "<" + strings.Repeat("l", 65) + "@c.org>",
		"path of 257":        "<a@" + long + "." + long + "." + long + "." + long + ".abcdefghijk>",
		"label of 64":        "<a@" + strings.Repeat("d", 64) + ".org>",
		"literal of a name":  "<a@[example.org]>",
		"literal not closed": "<a@[192.168.1.3>",
		"IPv6 without tag":   "<a@[2001:db8::1]>",
		"IPv4 with tag":      "<a@[IPv6:192.168.1.3]>",
		"zone in literal":    "<a@[IPv6:fe80::1%eth0]>",
		"route without end":  "<@x.org>",
		"hyphen":             "<a@-b.org>",
		"slash in domain":    "<a@b/../c.org>",
		"control in UTF-8":   "<a\u0085@b.org>",
	} {
		t.Run(name, func(t *testing.T) {
			a, rest, err := ParsePath(in)
			if e := status.Of(err); err == nil || e.Code != 553 || e.Class != status.Permanent {
				t.Errorf("got %+v rest %q err %v, want 553", a, rest, err)
			}
		})
	}
}

func TestDistinctAddressesStayApart(t *testing.T) {
	in := []string{`"a@b"@c.org`, `"a b"@c.org`, "a@c.org", "A@c.org", `"a."@c.org`, "postmaster", "a@[192.0.2.1]", "a@[IPv6:::1]"}
	for i, x := range in {
		for j, y := range in {
			a, errA := Parse(x)
			b, errB := Parse(y)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			if got := a.Equal(b); got != (i == j) {
				t.Errorf("%q equal %q: got %v", x, y, got)
			}
		}
	}
}

func TestIDNA(t *testing.T) {
	a, err := Parse("x@Bücher.example")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse("x@XN--bcher-kva.example")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.ASCII(); err != nil || got.Domain != "xn--bcher-kva.example" {
		t.Errorf("ASCII: got %q, %v", got.Domain, err)
	}
	if got := b.Unicode(); got.Domain != "bücher.example" {
		t.Errorf("Unicode: got %q", got.Domain)
	}
	if !a.Equal(b) || !a.NeedsUTF8() || b.NeedsUTF8() {
		t.Errorf("equal %v, needs %v %v", a.Equal(b), a.NeedsUTF8(), b.NeedsUTF8())
	}
	if ip, ok := (Address{"a", "[IPv6:2001:db8::1]"}).IP(); !ok || ip != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("IP: got %v %v", ip, ok)
	}
}

// What is wrong with an address is said of what was given, with its brackets or without.
func TestParseSaysWhy(t *testing.T) {
	for in, want := range map[string]string{
		"a@x.example,b@x.example": `parse address "a@x.example,b@x.example": there is more behind the domain`,
		"a@x.example>":            `parse address "a@x.example>": there is more behind the domain`,
		"a@b@c":                   `parse address "a@b@c": there is more behind the domain`,
		"<a@x.example":            `parse address "<a@x.example": no closing bracket where one is needed`,
		"<a@x.example> b":         `parse address "<a@x.example> b": text after the closing bracket`,
		"Alice <a@x.example>":     `parse address "Alice <a@x.example>": a blank or another character that a local part has only in quotes`,
		"<a b@x.example>":         `parse address "<a b@x.example>": a blank or another character that a local part has only in quotes`,
		"alice":                   `parse address "alice": address has no domain`,
	} {
		if _, err := Parse(in); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

func TestEnvironRoundTrip(t *testing.T) {
	e := &Envelope{
		Sender:     Address{"a@b", "c.org"},
		Recipients: []Address{{"x", "y.org"}, {"z", "y.org"}},
		Conn:       Connection{Proto: "TCP", RemoteIP: "192.0.2.1", RemotePort: "25", Helo: "me", TLS: "TLS1.3 X"},
		Body:       "8BITMIME", Notify: []string{"NEVER", ""}, ORcpt: []string{"", "rfc822;old+2Bz@y.org"}, RequireTLS: true,
		Priority: "-3", By: "120;R", HoldFor: "60", HoldUntil: "2026-11-24T07:00:00Z",
	}
	base := []string{"PATH=/bin", "SENDER=forged@x.org", "AUTHUSER=root", "RECIPIENT=old@x.org", "SMTP_SMTPUTF8=1"}
	env, err := e.Environ(base)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(env, "PATH=/bin") || slices.ContainsFunc(env, func(s string) bool {
		return strings.HasPrefix(s, "AUTHUSER=") || strings.HasPrefix(s, "RECIPIENT=") || strings.HasPrefix(s, "SMTP_SMTPUTF8")
	}) {
		t.Errorf("inherited facts: %q", env)
	}
	got, err := FromEnviron(env)
	if err != nil {
		t.Fatal(err)
	}
	again, err := got.Environ(base)
	if err != nil || !slices.Equal(env, again) {
		t.Errorf("got %q, %v\nwant %q", again, err, env)
	}
	if want := "SMTP_ORCPT=\nrfc822;old+2Bz@y.org"; !slices.Contains(env, want) || len(got.ORcpt) != 2 || got.ORcpt[1] != e.ORcpt[1] {
		t.Errorf("got ORCPT %q of %q, want %q", got.ORcpt, env, want)
	}
	e.Conn.Helo = "x\nSENDER=evil@x.org"
	if _, err := e.Environ(nil); err == nil {
		t.Error("a line end in HELO was let through")
	}
	e.Conn.Helo, e.Recipients = "", []Address{{"a\nb@c.org", "d.org"}}
	if _, err := e.Environ(nil); err == nil {
		t.Error("a line end in a recipient was let through")
	}
}

func TestFor(t *testing.T) {
	e := &Envelope{
		Sender:     Address{"a", "b.org"},
		Recipients: []Address{{"x", "y.org"}, {"z", "y.org"}, {"u", "y.org"}},
		Notify:     []string{"NEVER", "", "DELAY"},
		ORcpt:      []string{"rfc822;1", "rfc822;2", ""},
	}
	got := e.For(2, 1)
	if got.Sender != e.Sender || !slices.Equal(got.Recipients, []Address{{"u", "y.org"}, {"z", "y.org"}}) ||
		!slices.Equal(got.Notify, []string{"DELAY", ""}) || !slices.Equal(got.ORcpt, []string{"", "rfc822;2"}) {
		t.Errorf("got %+v", got)
	}
	e.Notify, e.ORcpt = nil, nil
	if got := e.For(0); len(e.Recipients) != 3 || len(got.Recipients) != 1 || got.Notify != nil || got.ORcpt != nil {
		t.Errorf("got %+v of %+v", got, e)
	}
}

func TestArgsGoBeforeEnvironment(t *testing.T) {
	str := func(s string) *string { return &s }
	tests := []struct {
		name   string
		env    []string
		sender *string
		rcpts  []string
		want   string
	}{
		{"environment", []string{"SENDER=a@b.org", "RECIPIENT=c@d.org"}, nil, nil, "<a@b.org> <c@d.org>"},
		{"RECIPIENTS first", []string{"RECIPIENT=c@d.org", "RECIPIENTS=e@f.org\ng@h.org\n"}, nil, nil, "<> <e@f.org> <g@h.org>"},
		{"arguments", []string{"SENDER=a@b.org", "RECIPIENT=c@d.org"}, str("<x@y.org>"), []string{"z@y.org"}, "<x@y.org> <z@y.org>"},
		{"null sender", []string{"SENDER=a@b.org", "RECIPIENT=c@d.org"}, str(""), nil, "<> <c@d.org>"},
		{"null sender in brackets", []string{"SENDER=a@b.org", "RECIPIENT=c@d.org"}, str("<>"), nil, "<> <c@d.org>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := FromEnviron(tt.env)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.FromArgs(tt.sender, tt.rcpts); err != nil {
				t.Fatal(err)
			}
			got := e.Sender.Path()
			for _, r := range e.Recipients {
				got += " " + r.Path()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	e := new(Envelope)
	if err := e.FromArgs(nil, []string{"<>"}); err == nil {
		t.Error("a null recipient was taken")
	}
}

// Whatever parses prints so that it parses to the same address, and cannot smuggle anything.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<a@b.org>", `<"a@b"@c.org> X=1`, "<@x:y@z>", "<u@[IPv6:::1]>", "<>", "<postmaster>", "<ü@bücher.example>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, _, err := ParsePath(s)
		if err != nil {
			return
		}
		path := a.Path()
		b, rest, err := ParsePath(path)
		if err != nil || rest != "" || a != b {
			t.Errorf("%q: %+v printed as %q, read as %+v %q %v", s, a, path, b, rest, err)
		}
		if strings.ContainsAny(path, "\x00\r\n") || len(a.Local) > MaxLocal {
			t.Errorf("%q: path %q", s, path)
		}
	})
}
