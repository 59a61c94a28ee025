package main

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

var (
	crashMessages = flag.Int("crash-messages", 300, "messages of TestQueueKill")
	crashSeed     = flag.Uint64("crash-seed", 1, "seed of the random moments of TestQueueKill")
	crashWithin   = flag.Duration("crash-within", 420*time.Millisecond, "longest life of a run of TestQueueKill; a large queue takes long to read")
)

// liar is a server that takes most mail, puts off one recipient in twenty for once, refuses one in a hundred for ever, and
// remembers.
type liar struct {
	mu      sync.Mutex
	taken   map[string]int
	refused map[string]bool
	put     map[string]bool
	told    map[string]bool // recipients of whom a report came
}

func (l *liar) Connect(context.Context, *smtp.Facts) error          { return nil }
func (l *liar) Mail(context.Context, *smtp.Facts, *smtp.Mail) error { return nil }
func (l *liar) Reset(*smtp.Facts)                                   {}

func (l *liar) Rcpt(_ context.Context, _ *smtp.Facts, r *smtp.Recipient) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := r.Address.String()
	h := fnv.New32()
	io.WriteString(h, a)
	switch n := h.Sum32() % 100; {
	case strings.HasPrefix(r.Address.Local, "sender"):
	case n == 0:
		l.refused[a] = true
		return status.Errorf(status.NoUser, "nobody")
	case n <= 5 && !l.put[a]:
		l.put[a] = true
		return status.Errorf(status.TempFail, "later").WithReply(450, "4.2.0")
	}
	return nil
}

var finalRecipient = regexp.MustCompile(`(?m)^Final-Recipient: rfc822; (\S+)$`)

func (l *liar) Data(_ context.Context, f *smtp.Facts, m *message.Message) error {
	text, err := io.ReadAll(m.Reader())
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range f.Envelope.Recipients {
		l.taken[r.String()]++
	}
	for _, m := range finalRecipient.FindAllSubmatch(text, -1) {
		l.told[string(m[1])] = true
	}
	return nil
}

// start lets it answer on loopback.
func (l *liar) start(t *testing.T) (url string) {
	t.Helper()
	engine := &smtp.Engine{Name: "liar.example", Handler: l}
	port := mailtest.Serve(t, "127.0.0.1", 0, func(ctx context.Context, c net.Conn) {
		engine.Serve(ctx, c, envelope.Connection{RemoteIP: "127.0.0.1"})
	})
	return fmt.Sprintf("smtp+notls://127.0.0.1:%d", port)
}

// Runs of a queue are killed at random moments until it is empty. Every recipient was served, or refused and reported; twice
// only where a kill fell between a server's 250 and the record of it.
func TestQueueKill(t *testing.T) {
	n := *crashMessages
	l := &liar{taken: make(map[string]int), refused: make(map[string]bool), put: make(map[string]bool), told: make(map[string]bool)}
	url := l.start(t)
	dir := filepath.Join(t.TempDir(), "queue")
	q, err := queue.Open(dir, queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var all []string
	for i := range n {
		// Of many senders: each gets so many reports in an hour.
		from, to := fmt.Sprintf("sender%d@here.example", i%1000), []string{fmt.Sprintf("a%d@d%d.example", i, i%10)}
		if i%10 == 0 {
			to = append(to, fmt.Sprintf("b%d@d%d.example", i, (i+1)%10))
		}
		all = append(all, to...)
		e := new(envelope.Envelope)
		if err := e.FromArgs(&from, to); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Put(message.Bytes([]byte(fmt.Sprintf("Subject: %d\n\nbody\n", i))), e, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	kills := killRuns(t, q, dir, url)
	l.account(t, all, kills)
}

// killRuns starts runs and kills them, until nothing is left to do.
func killRuns(t *testing.T, q *queue.Queue, dir, url string) (kills int) {
	t.Helper()
	smtpsend := filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend")
	random := rand.New(rand.NewPCG(*crashSeed, 0))
	for range 100 + *crashMessages {
		ids, err := q.IDs()
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) == 0 {
			return kills
		}
		run := exec.Command(smtpsend, "--queue", dir, "run", "-q", "--server", url, "--retry", "1ms", "--max-retry", "20ms", "-j", "8", "--per-host", "4")
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- run.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("a run that was not killed: %v", err)
			}
		case <-time.After(20*time.Millisecond + time.Duration(random.Int64N(int64(*crashWithin)))):
			run.Process.Kill()
			<-ended
			kills++
		}
	}
	t.Fatal("the queue does not become empty")
	return kills
}

// account holds every recipient against what the server saw.
func (l *liar) account(t *testing.T, all []string, kills int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	twice := 0
	for _, a := range all {
		switch got := l.taken[a]; {
		case l.refused[a] && (got > 0 || !l.told[a]):
			t.Errorf("%s was refused, taken %d times, reported %v", a, got, l.told[a])
		case !l.refused[a] && (got == 0 || l.told[a]):
			t.Errorf("%s was taken %d times, reported %v", a, got, l.told[a])
		case got > 1:
			twice += got - 1
		}
	}
	t.Logf("%d recipients: %d put off, %d refused and reported, %d kills, %d sent twice", len(all), len(l.put), len(l.refused), kills, twice)
	if most := kills * 8; twice > most {
		t.Errorf("%d sent twice, and no more than %d were under way when runs were killed", twice, most)
	}
}
