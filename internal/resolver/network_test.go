package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// fakeServer answers each datagram with what say makes of the question, in
// order; it counts the questions.
func fakeServer(t *testing.T, say func(q *dns.Msg) [][]byte) (addr string, asked *atomic.Int32) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, dns.MaxMsgSize)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			asked.Add(1)
			for _, b := range say(q) {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().String(), asked
}

// answerA is a good answer to q.
func answerA(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
		A:   net.IPv4(192, 0, 2, 1),
	}}
	return m
}

// wrongA is what someone who guesses would like us to take.
func wrongA(q *dns.Msg) *dns.Msg {
	m := answerA(q)
	m.Answer[0].(*dns.A).A = net.IPv4(203, 0, 113, 66)
	return m
}

func packed(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err) // the test made a message that is none
	}
	return b
}

func changed(m *dns.Msg, f func(*dns.Msg)) []byte {
	f(m)
	return packed(m)
}

func askOne(t *testing.T, timeout time.Duration, addrs ...string) (Answer[string], error) {
	t.Helper()
	n := &network{attempts: 2, timeout: timeout}
	for _, a := range addrs {
		n.servers = append(n.servers, server{a, true})
	}
	r := &Resolver{source: n}
	a, err := r.Addresses(context.Background(), "host.example", true, false)
	out := Answer[string]{Authentic: a.Authentic}
	for _, ip := range a.Records {
		out.Records = append(out.Records, ip.String())
	}
	return out, err
}

func kind(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// TestStrays: datagrams that do not fit the question are passed over, and the
// right one behind them is found.
func TestStrays(t *testing.T) {
	for name, stray := range map[string]func(q *dns.Msg) []byte{
		"other id":   func(q *dns.Msg) []byte { return changed(wrongA(q), func(m *dns.Msg) { m.Id++ }) },
		"other name": func(q *dns.Msg) []byte { return changed(wrongA(q), func(m *dns.Msg) { m.Question[0].Name = "x." }) },
		"other type": func(q *dns.Msg) []byte {
			return changed(wrongA(q), func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX })
		},
		"other class": func(q *dns.Msg) []byte { return changed(wrongA(q), func(m *dns.Msg) { m.Question[0].Qclass = 3 }) },
		"no question": func(q *dns.Msg) []byte { return changed(wrongA(q), func(m *dns.Msg) { m.Question = nil }) },
		"a question":  func(q *dns.Msg) []byte { return packed(q) },
		"too short":   func(q *dns.Msg) []byte { return packed(wrongA(q))[:11] },
		"nothing":     func(*dns.Msg) []byte { return nil },
		"noise":       func(*dns.Msg) []byte { return []byte(strings.Repeat("noise ", 10)) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := fakeServer(t, func(q *dns.Msg) [][]byte {
				bad := stray(q)
				return [][]byte{bad, bad, packed(answerA(q))}
			})
			a, err := askOne(t, 10*time.Second, addr)
			if err != nil || !slices.Equal(a.Records, []string{"192.0.2.1"}) {
				t.Errorf("got %v, %v", a.Records, err)
			}
		})
	}
}

func TestCaseOfQuestion(t *testing.T) {
	addr, _ := fakeServer(t, func(q *dns.Msg) [][]byte {
		m := answerA(q)
		m.Question[0].Name, m.Answer[0].Header().Name = "HOST.Example.", "hOST.eXAMPLE."
		return [][]byte{packed(m)}
	})
	if a, err := askOne(t, 10*time.Second, addr); err != nil || len(a.Records) != 1 {
		t.Errorf("got %v, %v", a.Records, err)
	}
}

func TestServerBehaviour(t *testing.T) {
	code := func(rcode int) func(q *dns.Msg) [][]byte {
		return func(q *dns.Msg) [][]byte {
			return [][]byte{changed(new(dns.Msg).SetReply(q), func(m *dns.Msg) { m.Rcode = rcode })}
		}
	}
	for _, tt := range []struct {
		name  string
		say   func(q *dns.Msg) [][]byte
		kind  Kind
		asked int32
	}{
		{"server failure", code(dns.RcodeServerFailure), ServFail, 1},
		{"refused", code(dns.RcodeRefused), Refused, 1},
		{"not implemented, twice for EDNS0", code(dns.RcodeNotImplemented), ServFail, 2},
		{"not a zone", code(dns.RcodeNotZone), ServFail, 1},
		{"no such domain", code(dns.RcodeNameError), NXDomain, 1},
		{"unreadable", func(q *dns.Msg) [][]byte { b := packed(answerA(q)); return [][]byte{b[:len(b)-3]} }, Malformed, 1},
		{"flood of strays", func(q *dns.Msg) [][]byte {
			return slices.Repeat([][]byte{changed(answerA(q), func(m *dns.Msg) { m.Id++ })}, maxStrays)
		}, Malformed, 1},
		{"referral", func(q *dns.Msg) [][]byte {
			return [][]byte{changed(new(dns.Msg).SetReply(q), func(m *dns.Msg) {
				m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeNS, Class: 1}, Ns: "ns.example."}}
			})}
		}, ServFail, 1},
		{"no data in the record", func(q *dns.Msg) [][]byte {
			return [][]byte{changed(answerA(q), func(m *dns.Msg) { m.Answer[0].(*dns.A).A = nil })}
		}, NoData, 1},
		{"records of others", func(q *dns.Msg) [][]byte {
			return [][]byte{changed(answerA(q), func(m *dns.Msg) { m.Answer[0].Header().Name = "other.example." })}
		}, NoData, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, asked := fakeServer(t, tt.say)
			_, err := askOne(t, 10*time.Second, addr)
			if kind(err) != tt.kind || asked.Load() != tt.asked {
				t.Errorf("got %v after %d questions, want %q after %d", err, asked.Load(), tt.kind, tt.asked)
			}
		})
	}
}

// TestWithoutEDNS: a server that does not know EDNS0 is asked without it, also
// when its complaint does not repeat the question.
func TestWithoutEDNS(t *testing.T) {
	for _, repeat := range []bool{true, false} {
		addr, asked := fakeServer(t, func(q *dns.Msg) [][]byte {
			if q.IsEdns0() == nil {
				return [][]byte{packed(answerA(q))}
			}
			m := new(dns.Msg).SetRcodeFormatError(q)
			m.Id = q.Id
			if repeat {
				m.Question = q.Question
			}
			return [][]byte{packed(m)}
		})
		if a, err := askOne(t, 10*time.Second, addr); err != nil || len(a.Records) != 1 || asked.Load() != 2 {
			t.Errorf("question repeated %v: got %v, %v after %d questions", repeat, a.Records, err, asked.Load())
		}
	}
}

func TestQuestionAsked(t *testing.T) {
	seen := make(chan *dns.Msg, 1)
	addr, _ := fakeServer(t, func(q *dns.Msg) [][]byte { seen <- q; return [][]byte{packed(answerA(q))} })
	if _, err := askOne(t, 10*time.Second, addr); err != nil {
		t.Fatal(err)
	}
	q := <-seen
	opt := q.IsEdns0()
	if !q.RecursionDesired || !q.AuthenticatedData || opt == nil || opt.UDPSize() != 1232 || !opt.Do() {
		t.Errorf("got %v", q)
	}
}

func TestNextServer(t *testing.T) {
	good, _ := fakeServer(t, func(q *dns.Msg) [][]byte { return [][]byte{packed(answerA(q))} })
	failing, failed := fakeServer(t, func(q *dns.Msg) [][]byte {
		return [][]byte{packed(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))}
	})
	silent, ignored := fakeServer(t, func(*dns.Msg) [][]byte { return nil })
	if a, err := askOne(t, 10*time.Second, failing, good); err != nil || len(a.Records) != 1 {
		t.Errorf("behind a failing one: %v, %v", a.Records, err)
	}
	if a, err := askOne(t, 300*time.Millisecond, silent, good); err != nil || len(a.Records) != 1 {
		t.Errorf("behind a silent one: %v, %v", a.Records, err)
	}
	if a, err := askOne(t, 10*time.Second, closedPort(t), good); err != nil || len(a.Records) != 1 {
		t.Errorf("behind one that is not there: %v, %v", a.Records, err)
	}
	failed.Store(0)
	ignored.Store(0)
	if _, err := askOne(t, 50*time.Millisecond, silent, failing); kind(err) != ServFail {
		t.Errorf("silence and failure: got %v, want what was said", err)
	}
	if failed.Load() != 1 || ignored.Load() != 2 {
		t.Errorf("asked the failing one %d times, the silent one %d; want 1 and 2", failed.Load(), ignored.Load())
	}
	if _, err := askOne(t, 10*time.Second, closedPort(t)); kind(err) != Network {
		t.Errorf("nobody there: got %v", err)
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// TestBrokenStream: the answer is cut by UDP and the TCP side misbehaves.
func TestBrokenStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		say  []byte
		want Kind
	}{
		{"closes at once", nil, Network},
		{"ends within the length", []byte{0}, Network},
		{"ends within the message", []byte{0, 40, 1, 2, 3}, Network},
		{"empty messages", make([]byte, 2*maxStrays), Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := fakeServer(t, func(q *dns.Msg) [][]byte {
				return [][]byte{changed(new(dns.Msg).SetReply(q), func(m *dns.Msg) { m.Truncated = true })}
			})
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Skipf("the port is taken for TCP: %v", err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					var size [2]byte
					_, _ = c.Read(size[:])
					_, _ = c.Read(make([]byte, binary.BigEndian.Uint16(size[:])))
					_, _ = c.Write(tt.say)
					c.Close()
				}
			}()
			if _, err := askOne(t, 10*time.Second, addr); kind(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestTrust: the AD bit of a server that is neither local nor named says
// nothing.
func TestTrust(t *testing.T) {
	addr, _ := fakeServer(t, func(q *dns.Msg) [][]byte {
		return [][]byte{changed(answerA(q), func(m *dns.Msg) { m.AuthenticatedData = true })}
	})
	for _, trusted := range []bool{true, false} {
		r := &Resolver{source: &network{servers: []server{{addr, trusted}}, attempts: 1, timeout: 10 * time.Second}}
		a, err := r.Addresses(context.Background(), "host.example", true, false)
		if err != nil || a.Authentic != trusted {
			t.Errorf("trusted %v: got %v, %v", trusted, a.Authentic, err)
		}
	}
}

// TestPartialChain: a server that gives only the alias is asked for its target.
func TestPartialChain(t *testing.T) {
	addr, asked := fakeServer(t, func(q *dns.Msg) [][]byte {
		m := answerA(q)
		if q.Question[0].Name == "host.example." {
			m.Answer = []dns.RR{&dns.CNAME{
				Hdr:    dns.RR_Header{Name: "host.example.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 5},
				Target: "target.example.",
			}}
		}
		return [][]byte{packed(m)}
	})
	if a, err := askOne(t, 10*time.Second, addr); err != nil || len(a.Records) != 1 || asked.Load() != 2 {
		t.Errorf("got %v, %v after %d questions", a.Records, err, asked.Load())
	}
}

// TestEndlessChain: one alias after the other, each in its own answer.
func TestEndlessChain(t *testing.T) {
	addr, asked := fakeServer(t, func(q *dns.Msg) [][]byte {
		m := answerA(q)
		m.Answer = []dns.RR{&dns.CNAME{
			Hdr:    dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 5},
			Target: "x" + q.Question[0].Name,
		}}
		return [][]byte{packed(m)}
	})
	if _, err := askOne(t, 10*time.Second, addr); kind(err) != Loop || asked.Load() != maxChain+1 {
		t.Errorf("got %v after %d questions", err, asked.Load())
	}
}

func TestResolvConf(t *testing.T) {
	many := strings.Repeat("nameserver 192.0.2.7\n", 20)
	for _, tt := range []struct {
		name, text string
		timeout    time.Duration
		want       *network
	}{
		{"two servers", "nameserver 127.0.0.53\nnameserver 192.0.2.1 \n", 0,
			&network{servers: []server{{"127.0.0.53:53", true}, {"192.0.2.1:53", false}}, attempts: 2, timeout: 5 * time.Second}},
		{"v6", "nameserver ::1\nnameserver fe80::1%eth0\n", 0,
			&network{servers: []server{{"[::1]:53", true}, {"[fe80::1%eth0]:53", false}}, attempts: 2, timeout: 5 * time.Second}},
		{"options", "nameserver 192.0.2.1\noptions timeout:1 attempts:3\n", 0,
			&network{servers: []server{{"192.0.2.1:53", false}}, attempts: 3, timeout: time.Second}},
		{"wild options", "nameserver 192.0.2.1\noptions timeout:9999 attempts:9999\n", 0,
			&network{servers: []server{{"192.0.2.1:53", false}}, attempts: maxAttempts, timeout: maxTimeout}},
		{"own time-out", "nameserver 192.0.2.1\noptions timeout:7\n", time.Millisecond,
			&network{servers: []server{{"192.0.2.1:53", false}}, attempts: 2, timeout: time.Millisecond}},
		{"empty", "", 0, &network{servers: []server{{"127.0.0.1:53", true}}, attempts: 2, timeout: 5 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "resolv.conf")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := fromConf(path, tt.timeout)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(n.servers, tt.want.servers) || n.attempts != tt.want.attempts || n.timeout != tt.want.timeout {
				t.Errorf("got %+v, want %+v", n, tt.want)
			}
		})
	}
	if n, err := fromConf(filepath.Join(t.TempDir(), "none"), 0); err != nil || len(n.servers) != 1 || !n.servers[0].trusted {
		t.Errorf("no file: got %+v, %v", n, err)
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte(many), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := fromConf(path, 0); err != nil || len(n.servers) != maxServers {
		t.Errorf("many servers: got %+v, %v", n, err)
	}
}

func TestServerAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":        "192.0.2.1:53",
		"192.0.2.1:5353":   "192.0.2.1:5353",
		"2001:db8::1":      "[2001:db8::1]:53",
		"[2001:db8::1]":    "[2001:db8::1]:53",
		"[2001:db8::1]:99": "[2001:db8::1]:99",
		"localhost":        "localhost:53",
		"localhost:5353":   "localhost:5353",
	} {
		if got, err := serverAddr(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`plain`: "plain", `a\"b\\c`: `a"b\c`, `\000\195\188\255`: "\x00ü\xff", `\1`: "1", `end\`: `end\`, `\12x`: "12x",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// FuzzFitting: whatever comes in a datagram, what is taken for an answer fits
// the question, and following it comes to an end with a chain that is bounded
// and holds no name twice.
func FuzzFitting(f *testing.F) {
	z := mustParse(f, testZone)
	for _, name := range []string{"example.org.", "www.example.org.", "loop1.example.org.", "none.example.org.", "text.example.org."} {
		for _, qtype := range []uint16{dns.TypeMX, dns.TypeA, dns.TypeTXT} {
			q := question(name, qtype, true)
			q.Id = 7
			f.Add(name, qtype, packed(z.Reply(q, true)))
		}
	}
	f.Fuzz(func(t *testing.T, name string, qtype uint16, b []byte) {
		asked, err := wireName(name)
		if err != nil || qtype == dns.TypeCNAME {
			return
		}
		q := question(asked, qtype, true)
		q.Id = 7
		m, err := fitting(b, q)
		if err != nil {
			if !errors.Is(err, errStray) && !errors.Is(err, errMalformed) {
				t.Errorf("error of no known kind: %v", err)
			}
			return
		}
		if m.Id != 7 || !m.Response {
			t.Fatalf("took %v for an answer", m)
		}
		if verdict(m) != nil {
			return
		}
		s := search{qtype: qtype, name: asked, ttl: maxTTL}
		s.absorb(m)
		if len(s.chain) > maxChain+1 || s.ttl < 0 || s.ttl > maxTTL {
			t.Errorf("chain of %d, time to live %v", len(s.chain), s.ttl)
		}
		for i, n := range s.chain {
			if slices.Contains(s.chain[:i], n) {
				t.Errorf("%q is twice in %q", n, s.chain)
			}
		}
	})
}
