package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// script is an executable that says something.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "remote")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// The interface of qmail-remote(8): what it is given, and what each report means.
func TestByProgram(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	p := script(t, `{ echo "$@"; cat; } >>`+seen+`; for i in "$@"; do :; done; printf 'rok\0hRemote host said: 550 5.1.1 nobody\n\0sbusy\0KRemote host said: 250 ok\n\0'`)
	r := New(Options{Router: ByProgram{p}})
	defer r.Close()
	m, e := letterTo(t, "a@one.example", "b@one.example", "c@ONE.example")
	out := r.Send(context.Background(), m, e)
	if got, want := strings.ReplaceAll(fates(out), p+": ", ""), "ok, 550 5.1.1, 451 4.3.0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b, err := os.ReadFile(seen)
	if want := "one.example s@example.net a@one.example b@one.example c@one.example\nSubject: x\n\nbody\n"; err != nil || string(b) != want {
		t.Errorf("it saw %q, %v, want %q", b, err, want)
	}
	for text, want := range map[string]string{
		`printf 'rx\0KRemote\0'`:                                "ok",
		`printf 'KRemote\0'`:                                    "ok",
		`printf 'ZNo connection\0'`:                             "451 4.3.0",
		`printf 'D554 5.7.1 go away\0'`:                         "554 5.7.1",
		`printf 'rx\0DRemote host said: 552 5.3.4 too big\n\0'`: "552 5.3.4",
		`printf 'D450 4.0.0 odd\0'`:                             "554 5.0.0",
		`printf 'rx\0'`:                                         "451 4.3.0",
		``:                                                      "451 4.3.0",
		`exit 111`:                                              "451 4.3.0",
		`exit 1`:                                                "451 4.3.0",
		`exit 100`:                                              "554 5.0.0",
		`printf 'KRemote\0'; kill -9 $$`:                        "451 4.3.0",
	} {
		r := New(Options{Router: ByProgram{script(t, text)}})
		m, e := letterTo(t, "a@one.example")
		got := fates(r.Send(context.Background(), m, e))
		if _, got, _ = strings.Cut(got, ": "); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func FuzzReports(f *testing.F) {
	f.Add("rok\x00h550 no\x00K\x00", 2)
	f.Add("\x00\x00D", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = min(max(n, 1), 50)
		out := readReports(text, n)
		if len(out) != n {
			t.Fatalf("%d outcomes", len(out))
		}
		for _, o := range out {
			if o.Err == nil && !strings.Contains("\x00"+text, "\x00K") {
				t.Fatalf("%q: taken, and no K was said", text)
			}
		}
	})
}

func TestTransports(t *testing.T) {
	named := func(words []string) (Router, error) {
		if words[0] == "bad" {
			return nil, fmt.Errorf("bad")
		}
		return Fixed{{Name: words[0]}}, nil
	}
	const table = "# comment\n\none.example  a\n.one.example b c\nBücher.example d\n*  e\n"
	tr, err := ReadTransports(strings.NewReader(table), named, nil)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"x@one.example": "a", "x@ONE.example": "a", "x@deep.sub.one.example": "b", "x@two.example": "e", "x@notone.example": "e",
		"x@xn--bcher-kva.example": "d",
	} {
		a, err := envelope.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		d, err := tr.Destination(a)
		if err != nil {
			t.Fatal(err)
		}
		hops, err := tr.Hops(context.Background(), d)
		if err != nil || len(hops) != 1 || hops[0].Name != want {
			t.Errorf("%s: %v, %v, want %s", to, hops, err, want)
		}
	}
	for _, bad := range []string{"one.example\n", "one.example bad\n", "a b.example c\nx@y z\n", ". a\n", strings.Repeat("x", maxTransport+1) + " a\n"} {
		if _, err := ReadTransports(strings.NewReader(bad), named, nil); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
	tr, err = ReadTransports(strings.NewReader("one.example a\n"), named, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Hops(context.Background(), "\ntwo.example"); err == nil || status.Of(err).Class != status.Temporary {
		t.Errorf("nowhere: %v", err)
	}
}

// Attempts become the objects of RFC 8460.
func TestTLSReport(t *testing.T) {
	good, bad, clear := &host{}, &host{}, &host{}
	config, roots, sum := certificate(t, "good.sec.example")
	other, _, _ := certificate(t, "other.example")
	port := good.start(t, "127.0.0.2", 0, config)
	bad.start(t, "127.0.0.3", port, other)
	clear.start(t, "127.0.0.4", port, nil)
	router := byMX(t, fmt.Sprintf(`
		;! secure sec.example
		dane.sec.example.   MX 10 good.sec.example.
		good.sec.example.   A 127.0.0.2
		_%[1]d._tcp.good.sec.example. TLSA 3 1 1 %[2]s
		wrong.sec.example.  MX 10 bad.sec.example.
		bad.sec.example.    A 127.0.0.3
		_%[1]d._tcp.bad.sec.example. TLSA 3 1 1 %[2]s
		sts.example.        MX 10 plainbad.example.
		plainbad.example.   A 127.0.0.3
		plain.example.      MX 10 clear.example.
		clear.example.      A 127.0.0.4
		dead.example.       MX 10 deadhost.example.
		deadhost.example.   A 127.0.0.9
	`, port, sum), port)
	router.Client.TLSConfig = &tls.Config{RootCAs: roots}
	router.Search.STS = policies{"sts.example": "plainbad.example"}
	var log bytes.Buffer
	r := New(Options{Router: router, Tried: NewTLSReporter(&log).Tried})
	defer r.Close()
	for to, want := range map[string]string{
		"a@dane.sec.example":  "tlsa dane.sec.example good.sec.example 127.0.0.2 true ",
		"a@wrong.sec.example": "tlsa wrong.sec.example bad.sec.example 127.0.0.3 false validation-failure",
		"a@sts.example":       "sts sts.example plainbad.example 127.0.0.3 false certificate-host-mismatch",
		"a@plain.example":     "no-policy-found plain.example clear.example 127.0.0.4 false starttls-not-supported",
		"a@dead.example":      "",
	} {
		log.Reset()
		m, e := letterTo(t, to)
		r.Send(context.Background(), m, e)
		got := ""
		if log.Len() > 0 {
			var x TLSReport
			if err := json.Unmarshal(log.Bytes(), &x); err != nil {
				t.Fatalf("%s: %v", log.String(), err)
			}
			got = fmt.Sprintf("%s %s %s %s %v %s", x.PolicyType, x.PolicyDomain, x.MXHost, x.ReceivingIP, x.Successful, x.ResultType)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q (%s)", to, got, want, log.String())
		}
	}
}
