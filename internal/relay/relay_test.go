package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// host is a server on loopback that notes what it takes.
type host struct {
	mu       sync.Mutex
	sessions int
	taken    []string // "SENDER RECIPIENT... TLS?"
	refuse   map[string]*status.Error
	hang     chan struct{} // Data waits for it
}

func (h *host) Connect(context.Context, *smtp.Facts) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions++
	return nil
}

func (h *host) Mail(context.Context, *smtp.Facts, *smtp.Mail) error { return nil }

func (h *host) Rcpt(_ context.Context, _ *smtp.Facts, r *smtp.Recipient) error {
	if e := h.refuse[r.Address.String()]; e != nil {
		return e
	}
	return nil
}

func (h *host) Data(ctx context.Context, f *smtp.Facts, m *message.Message) error {
	if h.hang != nil {
		select {
		case <-h.hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if _, err := io.Copy(io.Discard, m.Reader()); err != nil {
		return err
	}
	var to []string
	for _, r := range f.Envelope.Recipients {
		to = append(to, r.String())
	}
	line := strings.Join(to, " ")
	if f.TLS != nil {
		line += " by TLS"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken = append(h.taken, line)
	return nil
}

func (h *host) Reset(*smtp.Facts) {}

func (h *host) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions
}

func (h *host) got() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(h.taken)
	return strings.Join(h.taken, ", ")
}

// start lets the host answer on an address; port 0 finds one.
func (h *host) start(t *testing.T, ip string, port int, config *tls.Config) int {
	t.Helper()
	engine := &smtp.Engine{Name: "mx.example", Handler: h, TLS: config}
	return mailtest.Serve(t, ip, port, func(ctx context.Context, c net.Conn) {
		engine.Serve(ctx, c, envelope.Connection{RemoteIP: "127.0.0.1"})
	})
}

// certificate is a self-signed one, the roots that make it valid, and the SHA-256 sum of its key.
func certificate(t *testing.T, name string) (*tls.Config, *x509.CertPool, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots, fmt.Sprintf("%x", sum)
}

func byMX(t *testing.T, zone string, port int) *ByMX {
	t.Helper()
	r, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, zone)})
	if err != nil {
		t.Fatal(err)
	}
	return &ByMX{Resolver: r, Search: route.Options{Port: port, Policy: true}, Client: smtp.Options{TLSConfig: &tls.Config{}}}
}

func letterTo(t *testing.T, to ...string) (*message.Message, *envelope.Envelope) {
	t.Helper()
	e := new(envelope.Envelope)
	from := "s@example.net"
	if err := e.FromArgs(&from, to); err != nil {
		t.Fatal(err)
	}
	return message.Bytes([]byte("Subject: x\n\nbody\n")), e
}

// fates are the outcomes in words: "host: ok" or "host: reply".
func fates(out []Outcome) string {
	var all []string
	for _, o := range out {
		host, _, _ := strings.Cut(o.Host, "[")
		said := "ok"
		if o.Err != nil {
			said = strconv.Itoa(o.Err.Code) + " " + o.Err.Enhanced
		}
		all = append(all, host+": "+said)
	}
	return strings.Join(all, ", ")
}

func TestSendByMX(t *testing.T) {
	a, b := &host{}, &host{}
	a.refuse = map[string]*status.Error{
		"later@one.example": status.Errorf(status.TempFail, "busy"),
		"never@one.example": status.Errorf(status.NoUser, "nobody"),
	}
	port := a.start(t, "127.0.0.2", 0, nil)
	b.start(t, "127.0.0.3", port, nil)
	router := byMX(t, `
		one.example.  MX 10 a.example.
		one.example.  MX 20 b.example.
		a.example.    A 127.0.0.2
		b.example.    A 127.0.0.3
		two.example.  MX 5 dead.example.
		two.example.  MX 10 b.example.
		dead.example. A 127.0.0.9
		null.example. MX 0 .
	`, port)
	r := New(Options{Router: router})
	defer r.Close()
	m, e := letterTo(t, "x@one.example", "y@two.example", "later@one.example", "never@ONE.example", "z@null.example", "z@none.example", "z@one.example")
	got := fates(r.Send(context.Background(), m, e))
	want := "a.example: ok, b.example: ok, b.example: ok, a.example: 550 5.1.1, : 556 5.1.10, : 550 5.1.2, a.example: ok"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := a.got(), "x@one.example z@one.example"; got != want {
		t.Errorf("a took %q, want %q", got, want)
	}
	if got, want := b.got(), "later@one.example, y@two.example"; got != want {
		t.Errorf("b took %q, want %q", got, want)
	}
}

// A demand is a demand: of DANE, of a policy, of a table, and of REQUIRETLS.
func TestDemands(t *testing.T) {
	good, bad, clear := &host{}, &host{}, &host{}
	config, roots, sum := certificate(t, "good.sec.example")
	other, _, _ := certificate(t, "other.example")
	port := good.start(t, "127.0.0.2", 0, config)
	bad.start(t, "127.0.0.3", port, other)
	clear.start(t, "127.0.0.4", port, nil)
	router := byMX(t, fmt.Sprintf(`
		;! secure sec.example
		dane.sec.example.      MX 10 good.sec.example.
		good.sec.example.      A 127.0.0.2
		_%[1]d._tcp.good.sec.example.  TLSA 3 1 1 %[2]s
		wrong.sec.example.     MX 10 bad.sec.example.
		bad.sec.example.       A 127.0.0.3
		_%[1]d._tcp.bad.sec.example.   TLSA 3 1 1 %[2]s
		clear.sec.example.     MX 10 none.sec.example.
		none.sec.example.      A 127.0.0.4
		_%[1]d._tcp.none.sec.example.  TLSA 3 1 1 %[2]s
		any.example.           MX 10 any.sec.example.
		any.sec.example.       A 127.0.0.3
		plain.example.         MX 10 plainhost.example.
		plainhost.example.     A 127.0.0.4
		sts.example.           MX 10 good.sec.example.
		stsbad.example.        MX 10 plainbad.example.
		plainbad.example.      A 127.0.0.3
	`, port, sum), port)
	router.Client.TLSConfig.RootCAs = roots
	router.Search.STS = policies{"sts.example": "good.sec.example", "stsbad.example": "plainbad.example"}
	r := New(Options{Router: router})
	defer r.Close()
	for to, want := range map[string]string{
		"a@dane.sec.example":  "good.sec.example: ok",
		"a@wrong.sec.example": "bad.sec.example: 451 4.7.5",
		"a@clear.sec.example": "none.sec.example: 451 4.7.4",
		"a@any.example":       "any.sec.example: ok",
		"a@plain.example":     "plainhost.example: ok",
		"a@sts.example":       "good.sec.example: ok",
		"a@stsbad.example":    "plainbad.example: 451 4.7.5",
	} {
		m, e := letterTo(t, to)
		out := r.Send(context.Background(), m, e)
		if got := fates(out); strings.ReplaceAll(got, ":"+strconv.Itoa(port), "") != want {
			t.Errorf("%s: got %s (%v), want %s", to, got, out[0].Err, want)
		}
		if tls := out[0].TLS != ""; out[0].Err == nil && tls == (to == "a@plain.example") {
			t.Errorf("%s: TLS %q", to, out[0].TLS)
		}
		lax := m.Prepend([]byte("TLS-Required: No\n"))
		if out = r.Send(context.Background(), lax, e); out[0].Err != nil {
			t.Errorf("%s, whose author prefers delivery to TLS: %v", to, out[0].Err)
		}
		e.RequireTLS = true
		m = lax // REQUIRETLS goes before it
		out = r.Send(context.Background(), m, e)
		if verified := to == "a@dane.sec.example" || to == "a@sts.example"; verified != (out[0].Err == nil) {
			t.Errorf("%s with REQUIRETLS: %v", to, fates(out))
		}
	}
	if got := slices.Sorted(slices.Values(bad.taken)); strings.Join(got, ", ") !=
		"a@any.example by TLS, a@any.example by TLS, a@stsbad.example by TLS, a@wrong.sec.example by TLS" {
		t.Errorf("the bad host took %q", got)
	}
	if got := slices.Sorted(slices.Values(clear.taken)); strings.Join(got, ", ") != "a@clear.sec.example, a@plain.example, a@plain.example" {
		t.Errorf("the host without TLS took %q", got)
	}
}

// policies are MTA-STS policies in force: domain to host.
type policies map[string]string

func (p policies) Policy(_ context.Context, domain string) (*route.Policy, error) {
	if p[domain] == "" {
		return nil, nil
	}
	return &route.Policy{ID: "1", Mode: route.ModeEnforce, MX: []string{p[domain]}, MaxAge: time.Hour}, nil
}

func TestByTable(t *testing.T) {
	a := &host{}
	port := a.start(t, "127.0.0.2", 0, nil)
	table := fmt.Sprintf("one.example\t10\tdead.example\t%[1]d\t127.0.0.9\topportunistic\t-\t-\n"+
		"one.example\t20\ta.example\t%[1]d\t127.0.0.2\topportunistic\t-\t-\n"+
		"two.example\t20\ta.example\t%[1]d\t127.0.0.2\trequired\t-\t-\n"+
		"three.example\t20\ta.example\t%[1]d\t127.0.0.2\trefused\t-\t-\n", port)
	routes, err := route.ReadRoutes(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	r := New(Options{Router: &ByTable{Routes: routes, Client: smtp.Options{TLSConfig: &tls.Config{}}}})
	defer r.Close()
	m, e := letterTo(t, "x@one.example", "x@two.example", "x@three.example", "x@four.example")
	got := strings.ReplaceAll(fates(r.Send(context.Background(), m, e)), ":"+strconv.Itoa(port), "")
	if want := "a.example: ok, a.example: 451 4.7.4, a.example: 451 4.7.5, : 451 4.3.5"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Connections that are kept serve the next message, also when the server has closed one meanwhile.
func TestReuse(t *testing.T) {
	a := &host{}
	port := a.start(t, "127.0.0.2", 0, nil)
	zone := "one.example. MX 10 a.example.\na.example. A 127.0.0.2\n"
	var mu sync.Mutex
	var conns []net.Conn
	router := byMX(t, zone, port)
	dials := dialed{router, func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}}
	r := New(Options{Router: dials, Reuse: true})
	defer r.Close()
	m, e := letterTo(t, "x@one.example")
	send := func() {
		t.Helper()
		if got := fates(r.Send(context.Background(), m, e)); !strings.HasSuffix(got, ": ok") {
			t.Fatal(got)
		}
	}
	for range 3 {
		send()
	}
	if n := a.count(); len(conns) != 1 || n != 1 {
		t.Errorf("%d connections, %d sessions for 3 messages", len(conns), n)
	}
	conns[0].Close()
	send()
	if len(conns) != 2 {
		t.Errorf("%d connections after the first one died", len(conns))
	}
}

// dialed tells of the connections.
type dialed struct {
	Router
	tell func(net.Conn)
}

func (d dialed) Hops(ctx context.Context, destination string) ([]Hop, error) {
	hops, err := d.Router.Hops(ctx, destination)
	for i := range hops {
		dial := hops[i].Dial
		hops[i].Dial = func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx)
			if err == nil {
				d.tell(c)
			}
			return c, err
		}
	}
	return hops, err
}

// A host that hangs costs its own destination the time for an attempt, and no other.
func TestHang(t *testing.T) {
	slow, quick := &host{hang: make(chan struct{})}, &host{}
	port := slow.start(t, "127.0.0.2", 0, nil)
	quick.start(t, "127.0.0.3", port, nil)
	router := byMX(t, `
		slow.example.  MX 10 a.example.
		quick.example. MX 10 b.example.
		a.example. A 127.0.0.2
		b.example. A 127.0.0.3
	`, port)
	r := New(Options{Router: router, Attempt: 500 * time.Millisecond})
	defer r.Close()
	m, e := letterTo(t, "x@slow.example", "x@quick.example")
	out := r.Send(context.Background(), m, e)
	if out[0].Err == nil || out[0].Err.Class != status.Temporary || out[1].Err != nil {
		t.Errorf("got %s", fates(out))
	}
	if !out[0].Unsure {
		t.Error("the message was sent whole and may have been taken, which is not said")
	}
	close(slow.hang)
}

func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := New(Options{Router: byMX(t, "one.example. MX 10 a.example.\na.example. A 127.0.0.2\n", 25)})
	defer r.Close()
	m, e := letterTo(t, "x@one.example")
	if out := r.Send(ctx, m, e); out[0].Err == nil || out[0].Err.Class != status.Temporary {
		t.Errorf("got %s", fates(out))
	}
}

func TestDeliver(t *testing.T) {
	hop := Hop{Name: "office", Deliver: func(_ context.Context, _ *message.Message, e *envelope.Envelope) []smtp.Outcome {
		out := make([]smtp.Outcome, len(e.Recipients))
		out[1].Err = status.Errorf(status.NoUser, "nobody")
		return out
	}}
	r := New(Options{Router: Fixed{hop}})
	m, e := letterTo(t, "x@one.example", "y@two.example")
	if got, want := fates(r.Send(context.Background(), m, e)), "office: ok, office: 550 5.1.1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
