package policy

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

const testZone = `
	2.0.0.127.bl.example.     A    127.0.0.2
	7.2.0.192.bl.example.     A    127.0.0.4
	7.2.0.192.bl.example.     TXT  "see https://bl.example/192.0.2.7"
	8.2.0.192.bl.example.     A    127.0.0.4
	9.2.0.192.bl.example.     A    127.255.255.254
	10.2.0.192.bl.example.    A    192.0.2.1
	11.2.0.192.bl.example.    A    127.0.0.2
	11.2.0.192.bl.example.    A    127.0.0.11
	1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example. A 127.0.0.3
	8.2.0.192.wl.example.     A    127.0.5.1
	;! servfail 7.2.0.192.broken.example.
	;! servfail 13.2.0.192.in-addr.arpa.

	7.2.0.192.in-addr.arpa.   PTR  Mail.Client.example.
	mail.client.example.      A    192.0.2.7
	8.2.0.192.in-addr.arpa.   PTR  bank.example.
	bank.example.             A    198.51.100.1
	9.2.0.192.in-addr.arpa.   PTR  bad\010name.example.
	9.2.0.192.in-addr.arpa.   PTR  192.0.2.9.
	9.2.0.192.in-addr.arpa.   PTR  localhost.
	14.2.0.192.in-addr.arpa.  PTR  broken.example.
	;! servfail broken.example.
	1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.client.example.
	six.client.example.       AAAA 2001:db8::1

	good.example.             MX   10 mail.client.example.
	null.example.             MX   0 .
	hollow.example.           TXT  "nothing here"
	xn--bcher-kva.example.    A    192.0.2.7
	`

func zone(t *testing.T) *resolver.Resolver {
	t.Helper()
	dns, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, testZone)})
	if err != nil {
		t.Fatal(err)
	}
	return dns
}

func line(err error) string {
	if err == nil {
		return ""
	}
	return status.Of(err).Line()
}

func lists(t *testing.T, zones ...string) []List {
	t.Helper()
	var out []List
	for _, z := range zones {
		l, err := ParseList(z)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func TestParseList(t *testing.T) {
	for _, bad := range []string{"", "=127.0.0.2", "bl.example=", "bl.example=2", "bl.example=192.0.2.1", "bl.example=127.0.0.256",
		"bl.example=127.0.0.9-4", "bl.example=127.0.0.2,", "bl..example", "bl example", strings.Repeat("a.", 100) + "example",
		"bl.example=127.0.0.-1", "bl.example=127.0.0.1.1"} {
		if l, err := ParseList(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, l)
		}
	}
	tests := []struct {
		list, ip string
		want     bool
	}{
		{"bl.example", "127.0.0.2", true},
		{"bl.example", "127.9.9.9", true},
		{"bl.example", "127.0.0.1", false},
		{"bl.example", "127.0.0.255", false},
		{"bl.example", "127.255.255.252", false},
		{"bl.example", "192.0.2.1", false},
		{"bl.example=127.0.0.1", "127.0.0.1", true},
		{"BL.Example.=127.0.0.2,127.0.0.4-7", "127.0.0.2", true},
		{"bl.example=127.0.0.2,127.0.0.4-7", "127.0.0.3", false},
		{"bl.example=127.0.0.2,127.0.0.4-7", "127.0.0.7", true},
		{"bl.example=127.0.*.2-3", "127.0.200.3", true},
		{"bl.example=127.0.*.2-3", "127.1.200.3", false},
	}
	for _, tt := range tests {
		if got := lists(t, tt.list)[0].counts(netip.MustParseAddr(tt.ip)); got != tt.want {
			t.Errorf("%s of %s: got %v, want %v", tt.ip, tt.list, got, tt.want)
		}
	}
}

func TestClients(t *testing.T) {
	const listed = "550 5.7.1 client [192.0.2.7] is listed in bl.example: see https://bl.example/192.0.2.7"
	bl, wl := []string{"bl.example"}, []string{"wl.example"}
	tests := []struct {
		name         string
		ip           string
		block, allow []string
		require      bool
		want         string
	}{
		{"not asked", "192.0.2.7", nil, nil, false, ""},
		{"listed", "192.0.2.7", bl, wl, false, listed},
		{"listed, IPv4 in IPv6", "::ffff:192.0.2.7", bl, wl, false, listed},
		{"listed without text", "192.0.2.8", bl, nil, false, "550 5.7.1 client [192.0.2.8] is listed in bl.example"},
		{"listed and allowed", "192.0.2.8", bl, wl, true, ""},
		{"IPv6", "2001:db8::1", bl, nil, false, "550 5.7.1 client [IPv6:2001:db8::1] is listed in bl.example"},
		{"not listed", "192.0.2.77", bl, nil, false, ""},
		{"the list says that it does not answer", "192.0.2.9", bl, nil, false, ""},
		{"not an answer of a list", "192.0.2.10", bl, nil, false, ""},
		{"another answer", "192.0.2.7", []string{"bl.example=127.0.0.2"}, nil, false, ""},
		{"one of two answers", "192.0.2.11", []string{"bl.example=127.0.0.10-12"}, nil, false, "550 5.7.1 client [192.0.2.11] is listed in bl.example"},
		{"list out of order", "192.0.2.7", []string{"broken.example"}, nil, false, ""},
		{"list out of order, another works", "192.0.2.7", []string{"broken.example", "bl.example"}, nil, false, listed},
		{"name", "192.0.2.7", nil, nil, true, ""},
		{"name, IPv6", "2001:db8::1", nil, nil, true, ""},
		{"name that is somebody else's", "192.0.2.8", nil, nil, true, "550 5.7.25 client [192.0.2.8] has no verified host name"},
		{"names that are none", "192.0.2.9", nil, nil, true, "550 5.7.25 client [192.0.2.9] has no verified host name"},
		{"no name", "192.0.2.77", nil, nil, true, "550 5.7.25 client [192.0.2.77] has no verified host name"},
		{"no answer about the name", "192.0.2.13", nil, nil, true, "451 4.7.25"},
		{"no answer about the name's address", "192.0.2.14", nil, nil, true, "451 4.7.25"},
	}
	dns := zone(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Clients{DNS: dns, Block: lists(t, tt.block...), Allow: lists(t, tt.allow...), Name: tt.require, Require: tt.require}
			got := line(c.LookUp(context.Background(), netip.MustParseAddr(tt.ip)).Accept())
			if got != tt.want && (tt.want != "451 4.7.25" || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestVerifiedName(t *testing.T) {
	dns := zone(t)
	for ip, want := range map[string]string{"192.0.2.7": "mail.client.example", "192.0.2.8": "", "192.0.2.9": "", "2001:db8::1": "six.client.example"} {
		if got, _ := VerifiedName(context.Background(), dns, netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: got %q, want %q", ip, got, want)
		}
	}
}

// Lists that never answer cost the deadline, and nobody is refused for it.
func TestListsDeadline(t *testing.T) {
	dns, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, ";! timeout 7.2.0.192.bl.example.\n")})
	if err != nil {
		t.Fatal(err)
	}
	c := Clients{DNS: dns, Block: lists(t, "bl.example"), Deadline: 50 * time.Millisecond}
	start := time.Now()
	if err := c.LookUp(context.Background(), netip.MustParseAddr("192.0.2.7")).Accept(); err != nil {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestGreeting(t *testing.T) {
	const full = ": not the full name of a host (RFC 5321 section 4.1.1.1)"
	tests := []struct{ name, want, exists string }{
		{"mail.client.example", "", ""},
		{"Mail.Client.Example.", "", ""},
		{"xn--bcher-kva.example", "", ""},
		{"gone.example", "", "550 5.7.1 HELO gone.example: no such domain"},
		{"hollow.example", "", "550 5.7.1 HELO hollow.example: no such record"},
		{"broken.example", "", "451 4.4.3"},
		{"[192.0.2.7]", "", ""},
		{"[IPv6:::ffff:192.0.2.7]", "", ""},
		{"[192.0.2.8]", "550 5.7.1 HELO [192.0.2.8]: not your address", ""},
		{"[192.0.2.7", "550 5.7.1 HELO [192.0.2.7: not your address", ""},
		{"192.0.2.7", "550 5.7.1 HELO 192.0.2.7" + full, ""},
		{"localhost", "550 5.7.1 HELO localhost" + full, ""},
		{"a..b", "550 5.7.1 HELO a..b" + full, ""},
		{"x(y).example", "550 5.7.1 HELO x(y).example" + full, ""},
		{"MX.example.org", "550 5.7.1 HELO MX.example.org: that is me, not you", ""},
	}
	dns := zone(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := Greeting{Name: tt.name, Peer: netip.MustParseAddr("192.0.2.7"), Server: "mx.example.org"}
			if got := line(g.Accept()); got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			if tt.want != "" {
				return
			}
			got := line(g.Exists(context.Background(), dns))
			if got != tt.exists && (tt.exists != "451 4.4.3" || !strings.HasPrefix(got, tt.exists)) {
				t.Errorf("exists: got %q, want %q", got, tt.exists)
			}
		})
	}
}

func TestSender(t *testing.T) {
	tests := []struct{ path, want string }{
		{"<>", ""},
		{"<a@good.example>", ""},
		{"<a@mail.client.example>", ""}, // a host stands for itself
		{"<a@bücher.example>", ""},
		{"<a@[192.0.2.1]>", ""},
		{"<a@local.example>", ""},
		{"<a@null.example>", "550 5.7.27"},
		{"<a@hollow.example>", "550 5.1.8"},
		{"<a@gone.example>", "550 5.1.8"},
		{"<a@broken.example>", "451 4.4.3"},
	}
	dns := zone(t)
	for _, tt := range tests {
		a, _, err := envelope.ParsePath(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		got := line(Sender(context.Background(), dns, a, func(domain string) bool { return domain == "local.example" }))
		if got != tt.want && (tt.want == "" || !strings.HasPrefix(got, tt.want+" ")) {
			t.Errorf("%s: got %q, want %q", tt.path, got, tt.want)
		}
	}
}

func TestAsk(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	e := &envelope.Envelope{Sender: envelope.Address{Local: "a", Domain: "b.example"}}
	tests := []struct{ name, program, want string }{
		{"nobody", "", ""},
		{"yes", script("yes", "exit 0\n"), ""},
		{"never", script("never", "echo 550 5.7.1 no parrots >&2; exit 100\n"), "550 5.7.1 no parrots"},
		{"later", script("later", "echo 421 4.3.2 going down >&2; exit 75\n"), "421 4.3.2 going down"},
		{"what it sees", script("env", `echo "550 5.0.0 $SMTP_STAGE $SENDER $(cat)" >&2; exit 100`+"\n"), "550 5.0.0 data a@b.example Subject: hi"},
		{"unknown status", script("odd", "exit 3\n"), "451 4.3.0 program failed with exit status 3"},
		{"too slow", script("slow", "sleep 60\n"), "451 4.3.0 program "},
		{"missing", filepath.Join(dir, "missing"), "451 4.3.5 run "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := Ask{Program: tt.program}
			if tt.name == "too slow" {
				a.Deadline = 50 * time.Millisecond
			}
			got := line(a.At(context.Background(), AtData, e, message.Bytes([]byte("Subject: hi\n"))))
			if got != tt.want && (!strings.HasSuffix(tt.want, " ") || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever list is taken, the name to ask for is one that can be asked for.
func FuzzParseList(f *testing.F) {
	f.Add("bl.example=127.0.0.2,127.0.*.4-7")
	f.Add("bücher.example")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseList(s)
		if err != nil {
			return
		}
		for _, ip := range []string{"192.0.2.7", "2001:db8::1"} {
			name := l.query(netip.MustParseAddr(ip))
			if d, err := envelope.ParseDomain(name); err != nil || d != name || len(name) > 253 {
				t.Errorf("%q: query %q: %v", s, name, err)
			}
		}
	})
}
