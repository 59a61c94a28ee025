package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/queue/report"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// post is a queue with a runner whose time stands still until it is told, and which gives mail to a function.
type post struct {
	t   *testing.T
	q   *queue.Queue
	r   *Runner
	now time.Time
	log bytes.Buffer

	mu    sync.Mutex
	fate  map[string]string // recipient -> "250", "450 ...", "550 ..."; "" = 250
	taken []string          // "SENDER RECIPIENT"
	notes []string          // texts of reports to s@here.example
}

func newPost(t *testing.T) *post {
	t.Helper()
	q, err := queue.Open(filepath.Join(t.TempDir(), "queue"), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	p := &post{t: t, q: q, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), fate: make(map[string]string)}
	p.r = &Runner{Queue: q, Relay: New(Options{Router: byDomain(p.deliver)}), Retry: DefaultRetry, Host: "here.example",
		Postmaster: envelope.Address{Local: "postmaster", Domain: "here.example"}, Now: func() time.Time { return p.now },
		Log: slog.New(slog.NewTextHandler(&p.log, nil))}
	return p
}

// byDomain is a router with a hop for each domain that calls a function.
type byDomain func(ctx context.Context, m *message.Message, e *envelope.Envelope) []smtp.Outcome

func (b byDomain) Destination(a envelope.Address) (string, error) { return domainOf(a) }

func (b byDomain) Hops(_ context.Context, d string) ([]Hop, error) {
	return []Hop{{Name: "mx." + d, Deliver: b}}, nil
}

func (p *post) deliver(_ context.Context, m *message.Message, e *envelope.Envelope) []smtp.Outcome {
	text, _ := io.ReadAll(m.Reader())
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]smtp.Outcome, len(e.Recipients))
	for i, r := range e.Recipients {
		fate := p.fate[r.String()]
		if err, ok := status.ParseLine(fate); ok {
			out[i] = smtp.Outcome{Err: err, Reply: smtp.Reply{Code: err.Code, Enhanced: err.Enhanced, Lines: []string{err.Text}}}
			continue
		}
		p.taken = append(p.taken, e.Sender.Path()+" "+r.String())
		if r.Domain == "here.example" {
			p.notes = append(p.notes, string(text))
		}
	}
	return out
}

func (p *post) put(env ...string) queue.ID {
	p.t.Helper()
	e, err := envelope.FromEnviron(env)
	if err != nil {
		p.t.Fatal(err)
	}
	id, err := p.q.Put(message.Bytes([]byte("Subject: x\nMessage-ID: <1@x>\n\nbody\n")), e, p.now, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// run is one run after some time; it returns what was taken in it.
func (p *post) run(after time.Duration) string {
	p.t.Helper()
	p.now = p.now.Add(after)
	p.taken, p.notes = nil, nil
	if _, err := p.r.Run(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	return strings.Join(p.taken, ", ")
}

func (p *post) left() int {
	p.t.Helper()
	ids, err := p.q.IDs()
	if err != nil {
		p.t.Fatal(err)
	}
	return len(ids)
}

// Who has it gets it once; who is busy again and again, less and less often; who does not exist is reported.
func TestRunnerFates(t *testing.T) {
	p := newPost(t)
	p.fate["busy@b.example"] = "450 4.2.0 busy"
	p.fate["no@b.example"] = "550 5.1.1 nobody"
	id := p.put("SENDER=s@here.example", "RECIPIENTS=a@a.example\nbusy@b.example\nno@b.example\nc@b.example")
	got := p.run(0)
	if want := []string{"<s@here.example> a@a.example", "<s@here.example> c@b.example", "<> s@here.example"}; len(p.taken) != 3 || !hasAll(got, want) {
		t.Errorf("first run: %s", got)
	}
	if len(p.notes) != 1 || !strings.Contains(p.notes[0], "no@b.example") || strings.Contains(p.notes[0], "busy@b.example") ||
		!strings.Contains(p.notes[0], "Diagnostic-Code: smtp; 550 5.1.1 nobody") {
		t.Errorf("report %q", p.notes)
	}
	if got := p.run(time.Minute); got != "" {
		t.Errorf("too early: %s", got)
	}
	attempts := 1
	for waited := time.Minute; waited < 30*time.Minute; waited += time.Minute {
		p.run(time.Minute)
		if e, err := p.q.Read(id); err == nil {
			attempts = e.Recipients[1].Attempts
		}
	}
	if attempts < 3 || attempts > 4 { // at about 5 and 15 minutes
		t.Errorf("%d attempts within half an hour", attempts)
	}
	p.fate["busy@b.example"] = ""
	if got := p.run(5 * time.Hour); !strings.Contains(got, "busy@b.example") || strings.Contains(got, "a@a.example") {
		t.Errorf("at last: %s", got)
	}
	if n := p.left(); n != 0 {
		t.Errorf("%d entries left", n)
	}
	for _, want := range []string{`rcpt=<a@a.example>`, `"recipient delivered"`, `"recipient failed"`, `"recipient delayed"`, "reply=\"550 5.1.1 nobody\""} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, p.log.String())
		}
	}
}

func hasAll(text string, want []string) bool {
	for _, w := range want {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// A warning after four hours, once, and the end after five days.
func TestRunnerGivesUp(t *testing.T) {
	p := newPost(t)
	p.fate["busy@b.example"] = "450 4.2.0 busy"
	p.put("SENDER=s@here.example", "RECIPIENTS=busy@b.example")
	var warned, failed []time.Duration
	begun := p.now
	for p.now.Sub(begun) < 6*24*time.Hour && p.left() > 0 {
		p.run(30 * time.Minute)
		for _, n := range p.notes {
			switch {
			case strings.Contains(n, "Action: delayed") && strings.Contains(n, "Will-Retry-Until"):
				warned = append(warned, p.now.Sub(begun))
			case strings.Contains(n, "Action: failed") && strings.Contains(n, "Status: 5.4.7"):
				failed = append(failed, p.now.Sub(begun))
			default:
				t.Errorf("report %s", n)
			}
		}
	}
	if len(warned) != 1 || warned[0] < 4*time.Hour || warned[0] > 9*time.Hour {
		t.Errorf("warned at %v", warned)
	}
	if len(failed) != 1 || failed[0] < 120*time.Hour || failed[0] > 125*time.Hour {
		t.Errorf("given up at %v", failed)
	}
}

// A run knows when the next is due: also what it put off itself, and no later than the sender's time or the queue's is over.
func TestRunnerNext(t *testing.T) {
	for name, c := range map[string]struct {
		env      []string
		giveUp   time.Duration
		min, max time.Duration
	}{
		"the curve":        {nil, 0, 270 * time.Second, 330 * time.Second},
		"by a time, or no": {[]string{"SMTP_BY=60;R"}, 0, time.Minute, time.Minute},
		"by a time, say":   {[]string{"SMTP_BY=90;N"}, 0, 90 * time.Second, 90 * time.Second},
		"a later time":     {[]string{"SMTP_BY=3600;R"}, 0, 270 * time.Second, 330 * time.Second},
		"given up":         {nil, 2 * time.Minute, 2 * time.Minute, 2 * time.Minute},
		"nothing is left":  {[]string{"RECIPIENTS=a@a.example"}, 0, 0, 0},
	} {
		p := newPost(t)
		p.fate["busy@b.example"] = "450 4.2.0 busy"
		if c.giveUp > 0 {
			p.r.Retry.GiveUp = c.giveUp
		}
		p.put(append([]string{"SENDER=s@here.example", "RECIPIENTS=busy@b.example"}, c.env...)...)
		got, err := p.r.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if c.max == 0 && !got.Next.IsZero() || c.max > 0 && (got.Next.Before(p.now.Add(c.min)) || got.Next.After(p.now.Add(c.max))) {
			t.Errorf("%s: next in %v, want %v to %v", name, got.Next.Sub(p.now), c.min, c.max)
		}
	}
}

// What each NOTIFY, DELIVERBY, a null sender and a bounce that bounces come to.
func TestRunnerTells(t *testing.T) {
	for name, c := range map[string]struct {
		env   []string
		fates map[string]string
		taken []string // in all, in the first run
		after time.Duration
		later []string // in a run after that
	}{
		"success wanted": {env: []string{"SENDER=s@here.example", "RECIPIENTS=a@a.example", "SMTP_NOTIFY=SUCCESS", "AUTHUSER=s"},
			taken: []string{"<s@here.example> a@a.example", "<> s@here.example"}},
		"success wanted by a stranger": {env: []string{"SENDER=s@here.example", "RECIPIENTS=a@a.example", "SMTP_NOTIFY=SUCCESS", "PROTO=TCP", "TCPREMOTEIP=192.0.2.1"},
			taken: []string{"<s@here.example> a@a.example"}},
		"never": {env: []string{"SENDER=s@here.example", "RECIPIENTS=no@a.example", "SMTP_NOTIFY=NEVER"}, fates: map[string]string{"no@a.example": "550 no"}},
		"null sender": {env: []string{"SENDER=", "RECIPIENTS=no@a.example"}, fates: map[string]string{"no@a.example": "550 no"},
			taken: []string{"<> postmaster@here.example"}},
		"double bounce": {env: []string{"SENDER=s@b.example", "RECIPIENTS=no@a.example"},
			fates: map[string]string{"no@a.example": "550 no", "s@b.example": "550 no"}, taken: []string{"<> postmaster@here.example"}},
		"no third": {env: []string{"SENDER=s@b.example", "RECIPIENTS=no@a.example"},
			fates: map[string]string{"no@a.example": "550 no", "s@b.example": "550 no", "postmaster@here.example": "550 no"}},
		"by a time, return": {env: []string{"SENDER=s@here.example", "RECIPIENTS=a@a.example", "SMTP_BY=600;R"}, fates: map[string]string{"a@a.example": "450 busy"},
			after: 20 * time.Minute, later: []string{"<> s@here.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t)
			for k, v := range c.fates {
				p.fate[k] = v
			}
			p.put(c.env...)
			if got := p.run(0); len(p.taken) != len(c.taken) || !hasAll(got, c.taken) {
				t.Errorf("got %s, want %q", got, c.taken)
			}
			if c.after > 0 {
				if got := p.run(c.after); len(p.taken) != len(c.later) || !hasAll(got, c.later) {
					t.Errorf("later %s, want %q", got, c.later)
				}
			}
			if n := p.left(); n != 0 {
				t.Errorf("%d entries left: %s", n, p.log.String())
			}
		})
	}
}

// Reports to one address are bounded, and those beyond come later.
func TestRunnerLimitsReports(t *testing.T) {
	p := newPost(t)
	p.fate["no@a.example"] = "550 5.1.1 no"
	for range maxTold + 5 {
		p.put("SENDER=victim@here.example", "RECIPIENTS=no@a.example")
	}
	if p.run(0); len(p.notes) != maxTold || p.left() != 5 {
		t.Errorf("%d reports, %d entries left", len(p.notes), p.left())
	}
	p.put("SENDER=Victim@here.example", "RECIPIENTS=no@a.example")
	p.put("SENDER=other@here.example", "RECIPIENTS=no@a.example")
	if p.run(0); len(p.notes) != 1 || p.left() != 6 {
		t.Errorf("the next run: %d reports, %d entries left", len(p.notes), p.left())
	}
	if p.run(2 * time.Hour); len(p.notes) != 6 || p.left() != 0 {
		t.Errorf("later %d reports, %d entries left", len(p.notes), p.left())
	}
}

// A report that cannot be made or put leaves the failure for the next run.
func TestRunnerReportFails(t *testing.T) {
	p := newPost(t)
	p.fate["no@a.example"] = "550 5.1.1 no"
	p.put("SENDER=s@here.example", "RECIPIENTS=no@a.example")
	p.r.Compose = func(context.Context, report.Facts) (*message.Message, *envelope.Envelope, error) {
		return nil, nil, fmt.Errorf("no paper")
	}
	if p.run(0); p.left() != 1 || len(p.notes) > 0 || !strings.Contains(p.log.String(), "no paper") {
		t.Errorf("%d left, log %s", p.left(), p.log.String())
	}
	p.r.Compose = func(_ context.Context, f report.Facts) (*message.Message, *envelope.Envelope, error) {
		return report.Make(f)
	}
	if p.run(0); p.left() != 0 || len(p.notes) != 1 {
		t.Errorf("%d left, %d reports", p.left(), len(p.notes))
	}
}

func TestRunnerOnlyAndEarly(t *testing.T) {
	p := newPost(t)
	p.fate["a@a.example"], p.fate["b@b.example"] = "450 busy", "450 busy"
	p.put("SENDER=s@here.example", "RECIPIENTS=a@a.example\nb@b.example")
	p.run(0)
	p.fate = nil
	p.r.Only, p.r.Early = func(_ *queue.Entry, a envelope.Address) bool { return a.Domain == "a.example" }, true
	if got := p.run(time.Second); got != "<s@here.example> a@a.example" {
		t.Errorf("got %s", got)
	}
}

func TestRunnerHeldAndPriority(t *testing.T) {
	p := newPost(t)
	p.r.Parallel = 1
	id := p.put("SENDER=s@here.example", "RECIPIENTS=held@a.example")
	p.put("SENDER=s@here.example", "RECIPIENTS=low@a.example", "SMTP_MT_PRIORITY=-5")
	p.put("SENDER=s@here.example", "RECIPIENTS=high@a.example", "SMTP_MT_PRIORITY=5")
	l, err := p.q.Lock(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Hold(true); err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	if got, want := p.run(0), "<s@here.example> high@a.example, <s@here.example> low@a.example"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p.left() != 1 {
		t.Error("the held one is gone")
	}
}

// Two runners at once: each message is sent once.
func TestRunnersTogether(t *testing.T) {
	p := newPost(t)
	const n = 200
	for i := range n {
		p.put("SENDER=s@here.example", fmt.Sprintf("RECIPIENTS=a%d@d%d.example", i, i%7))
	}
	other := &Runner{Queue: p.q, Relay: New(Options{Router: byDomain(p.deliver)}), Retry: DefaultRetry, Host: "here.example", Now: p.r.Now}
	var wg sync.WaitGroup
	for _, r := range []*Runner{p.r, other} {
		wg.Go(func() {
			if _, err := r.Run(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := make(map[string]int)
	for _, line := range p.taken {
		seen[line]++
	}
	if len(seen) != n || len(p.taken) != n || p.left() != 0 {
		t.Errorf("%d sent, %d different, %d left", len(p.taken), len(seen), p.left())
	}
}

func TestWait(t *testing.T) {
	for attempts, want := range map[int]time.Duration{0: 5 * time.Minute, 1: 5 * time.Minute, 2: 10 * time.Minute, 4: 40 * time.Minute, 7: 4 * time.Hour, 100: 4 * time.Hour} {
		if got := DefaultRetry.Wait(attempts, 0.5); got != want {
			t.Errorf("after %d: %v, want %v", attempts, got, want)
		}
		if lo, hi := DefaultRetry.Wait(attempts, 0), DefaultRetry.Wait(attempts, 1); lo != want*9/10 || hi != want*11/10 {
			t.Errorf("after %d: from %v to %v", attempts, lo, hi)
		}
	}
}

// A host that did not answer is left alone for a while, by other processes too, and forgiven when it answers.
func TestHosts(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	a, err := OpenHosts(root, "hosts")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, _ := OpenHosts(root, "hosts")
	defer b.Close()
	now := time.Now().Truncate(time.Second)
	a.now, b.now = func() time.Time { return now }, func() time.Time { return now }
	const host = "mx.example.org[2001:db8::1]:25/x"
	dead := status.Errorf(status.TempFail, "no route\nto it").WithReply(451, "4.4.1")
	for i, wait := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		if err := b.Down(host); err != nil {
			t.Errorf("time %d: too long: %v", i, err)
		}
		a.note(host, dead, false)
		now = now.Add(wait - time.Second)
		if err := b.Down(host); err == nil || status.Of(err).Class != status.Temporary || !strings.Contains(err.Error(), "no route") {
			t.Errorf("time %d: %v", i, err)
		}
		now = now.Add(time.Second)
	}
	a.note(host, dead, false)
	a.note(host, nil, false)
	if err := b.Down(host); err != nil {
		t.Errorf("forgiven: %v", err)
	}
	a.note(host, dead, true)
	a.note("other", status.Errorf(status.TempFail, "busy").WithReply(450, "4.7.1"), false)
	if b.Down(host) != nil || b.Down("other") != nil {
		t.Error("what was broken off, or a reply, counts as no answer")
	}
	for range 40 {
		a.note(host, dead, false)
	}
	now = now.Add(downMax + time.Second)
	if err := b.Down(host); err != nil {
		t.Errorf("for ever: %v", err)
	}
}

// The memory is asked before a connection is made.
func TestSendLeavesDeadHostsAlone(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	hosts, err := OpenHosts(root, "hosts")
	if err != nil {
		t.Fatal(err)
	}
	defer hosts.Close()
	router := byMX(t, "one.example. MX 10 a.example.\na.example. A 127.0.0.9\n", 1)
	router.Client.TLSConfig = &tls.Config{}
	tried := 0
	r := New(Options{Router: router, Hosts: hosts, Tried: func(Attempt) { tried++ }})
	defer r.Close()
	m, e := letterTo(t, "x@one.example")
	for range 3 {
		if out := r.Send(context.Background(), m, e); out[0].Err == nil || out[0].Err.Class != status.Temporary {
			t.Errorf("got %s", fates(out))
		}
	}
	if tried != 1 {
		t.Errorf("tried %d times", tried)
	}
}

// Messages that wait for their turn at a host that turns out to be dead do not wait for it one after the other.
func TestSendWaitsOnceForDeadHosts(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	hosts, err := OpenHosts(root, "hosts")
	if err != nil {
		t.Fatal(err)
	}
	defer hosts.Close()
	synctest.Test(t, func(t *testing.T) {
		tried, after := 0, make(chan struct{})
		hop := Hop{Name: "dead.example", Dial: func(context.Context) (net.Conn, error) {
			tried++
			<-after
			return nil, errors.New("no route to host")
		}}
		r := New(Options{Router: Fixed{hop}, Hosts: hosts, PerHost: 1})
		defer r.Close()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				m, e := letterTo(t, "x@one.example")
				if out := r.Send(context.Background(), m, e); out[0].Err == nil || out[0].Err.Enhanced != "4.4.1" {
					t.Errorf("got %s", fates(out))
				}
			})
		}
		synctest.Wait() // one is connecting, the others wait for it
		close(after)
		all.Wait()
		if tried != 1 {
			t.Errorf("tried %d times", tried)
		}
	})
}
