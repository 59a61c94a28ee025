package relay

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"pennypost/internal/queue"
)

// fatesOf has the runner tell what became of each recipient: "recipient delivered", and so on.
func (p *post) fatesOf(n int) <-chan string {
	fates := make(chan string, n)
	p.r.Log = slog.New(slog.NewTextHandler(lineFunc(func(line string) {
		_, rest, _ := strings.Cut(line, `msg="`)
		fate, _, _ := strings.Cut(rest, `"`)
		fates <- fate
	}), nil))
	return fates
}

type lineFunc func(string)

func (f lineFunc) Write(b []byte) (int, error) { f(string(b)); return len(b), nil }

// followed follows the queue until the end of the test.
func (p *post) followed() chan<- queue.ID {
	ctx, cancel := context.WithCancel(context.Background())
	arrivals, ended := make(chan queue.ID), make(chan error, 1)
	go func() { ended <- p.r.Follow(ctx, arrivals) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			p.t.Errorf("it ended with %v", err)
		}
	})
	return arrivals
}

// expectFate wants a fate, perhaps after having been put off some more times.
func expectFate(t *testing.T, fates <-chan string, want string) {
	t.Helper()
	giveUp := time.After(30 * time.Second)
	for {
		select {
		case got := <-fates:
			if got == want {
				return
			}
			if got != "recipient delayed" {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-giveUp:
			t.Fatalf("no %q", want)
		}
	}
}

// What comes is sent while hosts are waited for that say nothing.
func TestFollowWithSilentHosts(t *testing.T) {
	const silents = 3
	deaf, well, p, _, _ := crowdOf(t, silents)
	fates := p.fatesOf(2 * silents)
	for n := range silents {
		p.put("SENDER=s@here.example", "RECIPIENTS=a@d"+strconv.Itoa(n)+".example")
	}
	arrivals := p.followed()
	for range silents {
		wait(t, deaf.came, "the silent hosts are not tried")
	}
	arrivals <- p.put("SENDER=s@here.example", "RECIPIENTS=a@good.example")
	expectFate(t, fates, "recipient delivered")
	if well.got() != "a@good.example" {
		t.Errorf("the other one got %q", well.got())
	}
}

// What was put off is tried again when it is due, and what was not told of is found.
func TestFollowTime(t *testing.T) {
	p := newPost(t)
	p.r.Now, p.now = time.Now, time.Now()
	p.r.Retry.First = time.Millisecond
	fates := p.fatesOf(10)
	p.fate["busy@b.example"] = "450 4.2.0 busy"
	arrivals := p.followed()
	arrivals <- p.put("SENDER=s@here.example", "RECIPIENTS=busy@b.example")
	expectFate(t, fates, "recipient delayed")
	p.mu.Lock()
	p.fate["busy@b.example"] = ""
	p.mu.Unlock()
	expectFate(t, fates, "recipient delivered")
	p.put("SENDER=s@here.example", "RECIPIENTS=a@b.example")
	arrivals <- ""
	expectFate(t, fates, "recipient delivered")
}
