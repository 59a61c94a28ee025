// Package relay sends messages on: it finds out where each recipient's mail goes, talks to the servers there, and tells
// what became of each.
//
// It hides grouping (recipients that go one way share a transaction), the order of hosts and addresses, the reuse of
// connections, limits on how many there are at a time, and how a destination's demand for TLS becomes the way a connection
// is made. It guarantees that a recipient that was taken, refused for good, or may have been taken although the connection
// was lost is not given to another host; that one host that hangs delays no other destination; and that a demand for TLS,
// by DANE (RFC 7672), MTA-STS (RFC 8461) or REQUIRETLS (RFC 8689), is never given up.
package relay

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// Options say how to send. Only Router is needed.
type Options struct {
	Router Router
	// Client is how to talk: our name, our certificate, the transcript. Routers add what a hop demands.
	Parallel int           // destinations at a time, for all Sends together; 0 = 20
	PerHost  int           // connections to a host at a time; 0 = 2
	Attempt  time.Duration // for one destination, 0 = 10 min
	Reuse    bool          // keep connections for the next Send
	// Tried, if set, is told of each connection that was made or tried.
	Tried func(Attempt)
}

// Attempt is what came of one connection.
type Attempt struct {
	Destination string
	Hop         Hop
	Local       net.Addr     // our end, nil when there was no connection
	Client      *smtp.Client // nil when there was none
	Err         error        // why there is none
}

const (
	defaultParallel = 20
	defaultPerHost  = 2
	defaultAttempt  = 10 * time.Minute
)

// Outcome is what became of one recipient.
type Outcome struct {
	smtp.Outcome
	Host string // the last place that was tried, for people; "" = none
	TLS  string // version and cipher of the connection, "" = in clear
	DSN  bool   // taken by a server that sends reports of success itself (RFC 3461 section 5.2.2)
}

// Relay sends messages. Its methods may be used by several goroutines.
type Relay struct {
	o     Options
	slots chan struct{}
	pool  pool
}

// New makes a Relay. Close it.
func New(o Options) *Relay {
	if o.Parallel == 0 {
		o.Parallel = defaultParallel
	}
	if o.PerHost == 0 {
		o.PerHost = defaultPerHost
	}
	if o.Attempt == 0 {
		o.Attempt = defaultAttempt
	}
	return &Relay{o: o, slots: make(chan struct{}, o.Parallel), pool: newPool(o.PerHost)}
}

// Close ends the connections that were kept.
func (r *Relay) Close() { r.pool.close() }

// Send gives m to the servers of e's recipients and returns one Outcome for each, in their order. Destinations are served
// side by side, and each within the time for an attempt.
func (r *Relay) Send(ctx context.Context, m *message.Message, e *envelope.Envelope) []Outcome {
	l := &letter{relay: r, m: m, e: e, out: make([]Outcome, len(e.Recipients))}
	var wg sync.WaitGroup
	for _, d := range l.destinations() {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			l.fail(d.recipients, "", stopped(ctx))
			continue
		}
		wg.Go(func() {
			defer func() { <-r.slots }()
			ctx, cancel := context.WithTimeout(ctx, r.o.Attempt)
			defer cancel()
			l.send(ctx, d)
		})
	}
	wg.Wait()
	return l.out
}

func stopped(ctx context.Context) *status.Error {
	return status.Errorf(status.TempFail, "not sent: %w", context.Cause(ctx))
}

// letter is a message on its way.
type letter struct {
	relay *Relay
	m     *message.Message
	e     *envelope.Envelope
	out   []Outcome
}

// destination is recipients that go one way. Their indices are disjoint, so destinations share out without a lock.
type destination struct {
	name       string
	recipients []int
}

// destinations groups the recipients, in the order in which they come first.
func (l *letter) destinations() []*destination {
	var all []*destination
	known := make(map[string]*destination)
	for i, a := range l.e.Recipients {
		name, err := l.relay.o.Router.Destination(a)
		if err != nil {
			l.fail([]int{i}, "", status.Of(err))
			continue
		}
		d := known[name]
		if d == nil {
			d = &destination{name: name}
			known[name], all = d, append(all, d)
		}
		d.recipients = append(d.recipients, i)
	}
	return all
}

// send tries the hops of a destination in order, until no recipient is left that another might still take (RFC 5321
// section 5.1).
func (l *letter) send(ctx context.Context, d *destination) {
	hops, err := l.relay.o.Router.Hops(ctx, d.name)
	if err != nil {
		l.fail(d.recipients, "", status.Of(err))
		return
	}
	todo := d.recipients
	for _, h := range hops {
		if len(todo) == 0 {
			return
		}
		if h.Refuse != nil {
			l.fail(todo, h.Name, status.Of(h.Refuse))
			continue
		}
		todo = l.attempt(ctx, d, h, todo)
	}
}

// attempt gives the message to one hop and returns those recipients that may be tried elsewhere.
func (l *letter) attempt(ctx context.Context, d *destination, h Hop, todo []int) (again []int) {
	e := l.e.For(todo...)
	if h.Deliver != nil {
		return l.took(ctx, h, todo, h.Deliver(ctx, l.m, e), "", false)
	}
	if e.RequireTLS {
		h = h.verified()
	}
	h.Options.Transcript.Remark("%s", h.Name)
	c, err := l.relay.connect(ctx, d, h)
	if err == nil && c.used > 0 {
		if got := c.Send(ctx, l.m, e); !died(c.Client, got) {
			again = l.took(ctx, h, todo, got, version(c.Client), l.offersDSN(c.Client))
			l.relay.release(ctx, h, c)
			return again
		}
		l.relay.drop(h, c)
		c, err = l.relay.fresh(ctx, d, h) // the server had closed the connection that was kept
	}
	if err != nil {
		l.fail(todo, h.Name, status.Of(err))
		if ctx.Err() != nil {
			return nil
		}
		return todo
	}
	got := c.Send(ctx, l.m, e)
	again = l.took(ctx, h, todo, got, version(c.Client), l.offersDSN(c.Client))
	l.relay.release(ctx, h, c)
	return again
}

// died tells that a connection that was kept turned out to be dead before the server said anything.
func died(c *smtp.Client, got []smtp.Outcome) bool {
	if c.Err() == nil {
		return false
	}
	for _, o := range got {
		if o.Err == nil || o.Unsure || o.Reply.Code != 0 && o.Reply.Code != 421 {
			return false
		}
	}
	return true
}

func (l *letter) offersDSN(c *smtp.Client) bool {
	_, ok := c.Extension("DSN")
	return ok
}

// took notes what a hop said and returns the recipients that another may still take: not those that were refused for good,
// and not those whose message may have been taken though the connection was lost.
func (l *letter) took(ctx context.Context, h Hop, todo []int, got []smtp.Outcome, tls string, dsn bool) (again []int) {
	for i, o := range got {
		l.out[todo[i]] = Outcome{Outcome: o, Host: h.Name, TLS: tls, DSN: dsn && o.Err == nil}
		if o.Err != nil && o.Err.Class == status.Temporary && !o.Unsure && ctx.Err() == nil {
			again = append(again, todo[i])
		}
	}
	return again
}

// fail notes a failure that is not of one recipient. What a server said to a recipient before says more than that the
// next server could not be reached.
func (l *letter) fail(list []int, host string, e *status.Error) {
	for _, i := range list {
		if l.out[i].Reply.Code/100 != 4 || e.Class != status.Temporary {
			l.out[i] = Outcome{Outcome: smtp.Outcome{Err: e}, Host: host}
		}
	}
}

// version is the TLS of a connection as the environment of mailpipe(7) has it.
func version(c *smtp.Client) string {
	if cs := c.TLS(); cs != nil {
		return strings.Join([]string{versionName(cs.Version), cipherName(cs.CipherSuite)}, " ")
	}
	return ""
}
