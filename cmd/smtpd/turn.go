package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"pennypost/internal/envelope"
	"pennypost/internal/queue"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// maxTurns is how many runs of the queue that clients asked for there are at a time.
const maxTurns = 4

// turns starts runs of the queue for ETRN. They go on when the session is over, and when this process is.
type turns struct {
	queue   string
	program string
	may     func(envelope.Connection) bool
	log     *slog.Logger

	mu      sync.Mutex
	running map[string]bool // by what is asked for
	all     sync.WaitGroup
}

// findSender is the smtpsend beside our own executable, or the one in PATH.
func findSender() (string, error) {
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), "smtpsend")); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("smtpsend")
	if err != nil {
		return "", status.Errorf(status.Config, "--queue: find smtpsend: %w", err)
	}
	return path, nil
}

// useQueue takes --queue, which is also where .qmail files forward to; without it that is the queue of the office. Users who have
// logged in may run it, and so may peers that may send to other hosts. A submission server without a command puts its mail there.
func (o *options) useQueue(h *handler, e *smtp.Engine) error {
	forward := o.queue
	if forward == "" {
		forward = filepath.Join(h.office.Root().Name(), "queue")
	}
	h.delivery.Forward = queue.Into(forward, queue.Options{Log: e.Log})
	if o.queue == "" {
		return nil
	}
	program, err := findSender()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(o.queue)
	if err != nil {
		return status.Errorf(status.Config, "--queue: %w", err)
	}
	if o.submit && len(o.command) == 0 {
		h.command = []string{program, "--queue", dir}
	}
	t := &turns{queue: dir, program: program, may: h.mayRelay, log: e.Log, running: make(map[string]bool)}
	e.Turn = t.start
	return nil
}

// mayRelay tells whether the peer may send to other hosts.
func (h *handler) mayRelay(c envelope.Connection) bool { return c.AuthUser != "" || h.named(c) }

// named tells whether the peer may do so because somebody named it.
func (h *handler) named(c envelope.Connection) bool {
	return h.relay.Contain(c.RemoteIP) || h.relayLocal && c.RemoteIP == ""
}

// start is the smtp.Turner of the queue. One run for a domain is enough.
func (t *turns) start(_ context.Context, f *smtp.Facts, domain string, below bool) (int, error) {
	if !t.may(f.Envelope.Conn) {
		return 0, status.Errorf(status.TempFail, "Node %s not allowed: log in first", domain).WithReply(459, "4.7.1")
	}
	node := domain
	if below {
		node = "." + domain
	}
	n, err := t.waiting(domain, below)
	if err != nil {
		return 0, unable(node, err)
	}
	if n == 0 {
		return 0, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.running[node]:
		return -1, nil
	case len(t.running) >= maxTurns:
		return 0, status.Errorf(status.TempFail, "Unable to queue messages for node %s: too many runs", node).WithReply(458, "4.3.2")
	}
	args := append([]string{"--queue", t.queue, "run"}, strings.Fields(os.Getenv("MAIL_RUN"))...)
	cmd := exec.Command(t.program, append(args, "--domain", node)...)
	cmd.Stderr = os.Stderr // never the peer: cli/listen has seen to that
	if err := cmd.Start(); err != nil {
		return 0, unable(node, err)
	}
	t.running[node] = true
	t.all.Go(func() { t.wait(cmd, node) })
	return n, nil
}

func unable(node string, err error) error {
	return status.Errorf(status.TempFail, "Unable to queue messages for node %s: %w", node, err).WithReply(458, "4.3.0")
}

func (t *turns) wait(cmd *exec.Cmd, node string) {
	if err := cmd.Wait(); err != nil {
		t.log.Warn("queue run", "domain", node, "err", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, node)
}

// waiting counts the messages that wait for a domain, up to one more than smtp.MaxWaiting. Where so many others are in the
// queue that looking through it would take long it does not count, and is negative.
func (t *turns) waiting(domain string, below bool) (int, error) {
	if _, err := os.Stat(t.queue); err != nil {
		return 0, err
	}
	q, err := queue.Open(t.queue, queue.Options{})
	if err != nil {
		return 0, err
	}
	defer q.Close()
	ids, err := q.IDs()
	if err != nil {
		return 0, err
	}
	if len(ids) > 10*smtp.MaxWaiting {
		return -1, nil
	}
	n := 0
	for _, id := range ids {
		e, err := q.Read(id)
		if err != nil || e.Held {
			continue // sent meanwhile, or damaged: the run will say
		}
		if waitsFor(e, domain, below) {
			if n++; n > smtp.MaxWaiting {
				return n, nil
			}
		}
	}
	return n, nil
}

// waitsFor tells whether a recipient in the domain waits. Names are compared as A-labels.
func waitsFor(e *queue.Entry, domain string, below bool) bool {
	want := ascii(domain)
	for _, r := range e.Recipients {
		d := ascii(r.Address.Domain)
		if r.State == queue.Waiting && (d == want || below && strings.HasSuffix(d, "."+want)) {
			return true
		}
	}
	return false
}

// ascii is a domain in lower-case A-labels, or as it is where it has none.
func ascii(domain string) string {
	if a, err := (envelope.Address{Local: "x", Domain: domain}).ASCII(); err == nil {
		domain = a.Domain
	}
	return strings.ToLower(domain)
}
