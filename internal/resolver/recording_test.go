package resolver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const recordedZone = `
example.org. 60 SOA ns.example.org. root.example.org. 1 2 3 4 30
example.org. TXT "v=spf1 -all" "x" "\000\255\"\\;"
example.org. MX 10 mail.example.org.
example.org. MX 20 .
mail.example.org. A 192.0.2.1
mail.example.org. AAAA 2001:db8::1
www.example.org. CNAME Alias.example.org.
alias.example.org. CNAME mail.example.org.
far.example.org. CNAME gone.example.net.
a\ b\.c\(\"\;.example.org. TXT "odd"
_25._tcp.mail.example.org. TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
1.2.0.192.in-addr.arpa. PTR mail.example.org.
;! servfail broken.example.org.
;! timeout silent.example.org.
;! refused closed.example.org.
;! secure mail.example.org.
`

// askAll asks many things and tells what was said, errors and times to live included.
func askAll(r *Resolver) string {
	var b strings.Builder
	say := func(what string, a any, err error) {
		fmt.Fprintf(&b, "%s: %+v", what, a)
		if err != nil {
			var e *Error
			known := errors.As(err, &e) && e.Kind != 0
			fmt.Fprintf(&b, " %v (%v, temporary %v, late %v)", err, known, e.Temporary(), errors.Is(err, context.DeadlineExceeded))
		}
		b.WriteByte('\n')
	}
	ctx := context.Background()
	for _, name := range []string{"example.org", "mail.example.org", "www.example.org", "far.example.org",
		`a\ b\.c\(\"\;.example.org`, `a\032b\.c("\;.example.org`, "broken.example.org", "silent.example.org", "closed.example.org",
		"none.example.org", "no..name", "."} {
		txt, err := r.TXT(ctx, name)
		say("TXT "+name, txt, err)
		mx, err := r.MX(ctx, name)
		say("MX "+name, mx, err)
		addrs, err := r.Addresses(ctx, name, true, true)
		say("addresses "+name, addrs, err)
		alias, err := r.CNAME(ctx, name)
		say("CNAME "+name, alias, err)
	}
	tlsa, err := r.TLSA(ctx, "_25._tcp.mail.example.org")
	say("TLSA", tlsa, err)
	ptr, err := r.PTR(ctx, netip.MustParseAddr("192.0.2.1"))
	say("PTR", ptr, err)
	fmt.Fprintln(&b, "now", r.Now().Unix())
	return b.String()
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRecordingGivesTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recording")
	recorded, err := New(Options{ZoneFile: writeFile(t, "zo ne", recordedZone), RecordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	want := askAll(recorded)
	if again := askAll(recorded); again != want {
		t.Error("asking twice made a difference")
	}
	played, err := New(Options{ReplayFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if got := askAll(played); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	for _, sure := range []string{"v=spf1 -allx\x00\xff\"\\;", "Authentic:true", "server failure", "late true",
		"no such domain", "not a domain name"} {
		if !strings.Contains(want, sure) {
			t.Errorf("nothing with %q in:\n%s", sure, want)
		}
	}
	if age := time.Since(recorded.Now()); age < 0 || age > time.Hour {
		t.Errorf("the clock is off by %v", age)
	}
}

// What servers did to us is recorded as well, and not asked for again.
func TestRecordingOfServers(t *testing.T) {
	good, asked := fakeServer(t, func(q *dns.Msg) [][]byte {
		return [][]byte{changed(answerA(q), func(m *dns.Msg) { m.AuthenticatedData = true })}
	})
	code, _ := fakeServer(t, func(q *dns.Msg) [][]byte {
		return [][]byte{packed(new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented))}
	})
	silent, _ := fakeServer(t, func(*dns.Msg) [][]byte { return nil })
	for _, addr := range []string{good, code, silent, closedPort(t)} {
		timeout := time.Minute
		if addr == silent {
			timeout = 50 * time.Millisecond
		}
		file := filepath.Join(t.TempDir(), "recording")
		recorded, err := New(Options{Server: addr, Timeout: timeout, RecordFile: file})
		if err != nil {
			t.Fatal(err)
		}
		tell := func(r *Resolver) string {
			a, err := r.Addresses(context.Background(), "Host.example", true, false)
			return fmt.Sprintf("%+v %v %v", a, err, kind(err))
		}
		want := tell(recorded)
		if again := tell(recorded); again != want {
			t.Errorf("asked again: got %s, want %s", again, want)
		}
		played, err := New(Options{ReplayFile: file})
		if err != nil {
			t.Fatal(err)
		}
		if got := tell(played); got != want {
			t.Errorf("played: got %s, want %s", got, want)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("a server was asked %d times", n)
	}
}

func TestUnrecordedQuestion(t *testing.T) {
	file := writeFile(t, "recording", "; a note\n")
	if _, err := New(Options{ReplayFile: file}); err == nil {
		t.Error("a file that is no recording was taken")
	}
	file = writeFile(t, "recording", recordingHead+"\n;! clock 2026-11-24T12:00:00Z\n")
	r, err := New(Options{ReplayFile: file})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.TXT(context.Background(), "Example.org")
	want := fmt.Sprintf(`look up TXT "Example.org" at %s: not in the recording`, file)
	var e *Error
	if !errors.As(err, &e) || !e.Temporary() || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := r.Now().Format(time.RFC3339); got != "2026-11-24T12:00:00Z" {
		t.Errorf("now is %s", got)
	}
}

// An answer that cannot be written down is not used either.
func TestRecordingThatFails(t *testing.T) {
	zone := writeFile(t, "zone", recordedZone)
	if _, err := New(Options{ZoneFile: zone, RecordFile: filepath.Join(t.TempDir(), "no", "dir")}); err == nil {
		t.Error("a recording was begun without its directory")
	}
	r, err := New(Options{ZoneFile: zone, RecordFile: filepath.Join(t.TempDir(), "recording")})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.source.(*recorder).file.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = r.TXT(context.Background(), "example.org")
	var e *Error
	if !errors.As(err, &e) || e.Kind != Unrecorded || !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// oddSource answers with what no zone file can hold.
type oddSource struct{ answer []dns.RR }

func (s oddSource) exchange(_ context.Context, name string, qtype uint16) (reply, error) {
	m := question(name, qtype, false)
	m.Response, m.Answer = true, s.answer
	return reply{m, "odd", true}, nil
}

func TestRecordingOfOddRecords(t *testing.T) {
	head := dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1<<31 + 5}
	odd := oddSource{[]dns.RR{
		&dns.TXT{Hdr: head, Txt: []string{"\r\n\t", strings.Repeat("a", 255), "\xff"}},
		&dns.TXT{Hdr: head},
		&dns.RRSIG{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeRRSIG, Class: dns.ClassINET}},
	}}
	file := filepath.Join(t.TempDir(), "recording")
	rec, err := newRecorder(odd, file, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	want, err := (&Resolver{source: rec}).TXT(context.Background(), "x.example")
	if err != nil {
		t.Fatal(err)
	}
	played, err := New(Options{ReplayFile: file})
	if err != nil {
		t.Fatal(err)
	}
	got, err := played.TXT(context.Background(), "x.example")
	same := fmt.Sprint(got) == fmt.Sprint(want)
	if err != nil || !same || len(got.Records) == 0 || !strings.HasPrefix(got.Records[0], "\r\n\taaa") {
		t.Errorf("got %v, want %v, %v", got, want, err)
	}
}

func TestBadRecordings(t *testing.T) {
	const head = recordingHead + "\n;! clock 2026-11-24T12:00:00Z\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"another version", ";! recording 2\n", "the first line is not"},
		{"no clock", recordingHead + "\n", "it has no clock"},
		{"bad clock", recordingHead + "\n;! clock noon\n", `line 2: clock "noon" is not a time`},
		{"no directive", head + ";!\n", "line 3: a directive has no name"},
		{"unknown directive", head + ";! guess x.example. A NOERROR from \"s\"\n", `directive "guess"`},
		{"incomplete", head + ";! answer x.example. A NOERROR\n", "not complete"},
		{"unknown type", head + ";! answer x.example. AA NOERROR from \"s\"\n", `unknown record type "AA"`},
		{"bad name", head + ";! answer x..example. A NOERROR from \"s\"\n", `name "x..example."`},
		{"no quotes", head + ";! answer x.example. A NOERROR from s\n", `"s" is not in quotes`},
		{"no end", head + ";! answer x.example. A NOERROR from \"s\n", "a quote has no end"},
		{"trouble as answer", head + ";! answer x.example. A SERVFAIL from \"s\"\n", "not the code of an answer"},
		{"unknown flag", head + ";! answer x.example. A NOERROR from \"s\" true\n", `flag "true"`},
		{"unknown trouble", head + ";! trouble x.example. A bad from \"s\"\n", `trouble "bad"`},
		{"half a reason", head + ";! trouble x.example. A timeout from \"s\" because\n", "trouble ends in"},
		{"twice", head + strings.Repeat(";! trouble x.example. A timeout from \"s\"\n", 2), "asked twice"},
		{"no answer", head + "x.example. 1 IN A 192.0.2.1\n", "belongs to no answer"},
		{"record of trouble", head + ";! trouble x.example. A timeout from \"s\"\nx.example. 1 IN A 192.0.2.1\n",
			"belongs to no answer"},
		{"include", head + ";! answer x.example. A NOERROR from \"s\"\n$INCLUDE /etc/passwd\n", "is not a record"},
		{"other class", head + ";! answer x.example. A NOERROR from \"s\"\nx.example. 1 CH A 192.0.2.1\n", "not a record of class IN"},
		{"no record", head + ";! answer x.example. A NOERROR from \"s\"\nhello\n", "line 4"},
	} {
		_, err := parseReplay(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// FuzzReplay: what is read as a recording and written again is read as the same.
func FuzzReplay(f *testing.F) {
	const head = recordingHead + "\n;! clock 2026-11-24T12:00:00Z\n"
	f.Add(head + ";! answer example.org. TXT NOERROR from \"127.0.0.1:53\" trusted authentic\n" +
		"example.org.\t300\tIN\tTXT\t\"v=spf1 -all\" \"\\255\"\n")
	f.Add(head + "; note\n\n;! answer x.example.org. A NXDOMAIN from \"s\"\n" +
		";! authority\nexample.org. 60 IN SOA ns. root. 1 2 3 4 5\n")
	f.Add(head + ";! trouble y\\032z.example.org. MX timeout from \"a b\" because \"context deadline exceeded\"\n")
	f.Add(head + ";! answer x.example. TXT NOERROR from \"\"\nx.example. 1 IN TYPE16 \\# 3 02ff00\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parseReplay(strings.NewReader(text))
		if err != nil {
			return
		}
		for key, o := range first.outcomes {
			var b bytes.Buffer
			if err := o.print(&b, key); err != nil {
				t.Fatalf("%q is read, but not written: %v", text, err)
			}
			second, err := parseReplay(strings.NewReader(head + b.String()))
			if err != nil {
				t.Fatalf("%q: written as %q: %v", text, b.String(), err)
			}
			var again bytes.Buffer
			o2, ok := second.outcomes[key]
			if err := o2.print(&again, key); !ok || err != nil || again.String() != b.String() {
				t.Errorf("%q: written as %q, then as %q", text, b.String(), again.String())
			}
		}
	})
}

// TestRecordingInManual: the recording that mailauth(1) shows is one.
func TestRecordingInManual(t *testing.T) {
	page, err := os.ReadFile("../../man/mailauth.1")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), ".Sh DNS RECORDINGS\n")
	_, example, _ := strings.Cut(section, ".Bd -literal -offset indent\n")
	example, _, ok := strings.Cut(example, ".Ed\n")
	r, err := parseReplay(strings.NewReader(example))
	if !ok || err != nil || len(r.outcomes) != 3 {
		t.Fatalf("got %v, %v from:\n%s", r, err, example)
	}
	a, err := (&Resolver{source: r}).TXT(t.Context(), "example.org")
	if err != nil || len(a.Records) != 1 || a.Records[0] != "v=spf1 mx -all" {
		t.Errorf("got %v, %v", a, err)
	}
}
