// Package relay sends messages on: it finds out where each recipient's mail goes, talks to the servers there, and tells
// what became of each.
//
// It hides grouping (recipients that go one way share a transaction), the order of hosts and addresses, the reuse of
// connections, limits on how many there are at a time, and how a destination's demand for TLS becomes the way a connection
// is made. It guarantees that a recipient that was taken, refused for good, or may have been taken although the connection
// was lost is not given to another host; that one host that hangs delays no other destination; and that a demand for TLS,
// by DANE (RFC 7672), MTA-STS (RFC 8461) or REQUIRETLS (RFC 8689), is never given up, but for a message whose author
// says so (TLS-Required: No, RFC 8689 section 3).
package relay

import (
	"context"
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
	Router   Router
	Parallel int           // destinations at a time, for all Sends together, without slow ones; 0 = 20
	PerHost  int           // connections to a host at a time; 0 = 2
	Attempt  time.Duration // for one destination, 0 = 10 min
	Reuse    bool          // keep connections for the next Send
	Hosts    *Hosts        // hosts that did not answer are left alone for a while; nil = no memory
	// Tried, if set, is told of each connection that was made or tried.
	Tried func(Attempt)
}

// Attempt is what came of one connection.
type Attempt struct {
	Destination string
	Hop         Hop
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
	// Local says that it is in the recipient's mailbox, or in a program's hands, and not with a server.
	Local bool

	crowded string // the host, or silentHosts, for which so many wait that nothing was tried; "" = something was
}

// Relay sends messages. Its methods may be used by several goroutines.
type Relay struct {
	o     Options
	slots chan struct{}
	slow  *slow // destinations that have no slot any more
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
	return &Relay{o: o, slots: make(chan struct{}, o.Parallel), slow: newSlow(o.Parallel, patience), pool: newPool(o.PerHost)}
}

// Close ends the connections that were kept.
func (r *Relay) Close() { r.pool.close() }

// Send gives m to the servers of e's recipients and returns one Outcome for each, in their order. Destinations are served
// side by side, and each within the time for an attempt.
func (r *Relay) Send(ctx context.Context, m *message.Message, e *envelope.Envelope) []Outcome {
	return r.SendEach(ctx, m, e, func([]int, []Outcome) {})
}

// SendEach is Send that tells of each destination as soon as it is done with: the places of its recipients, and all
// outcomes as far as they are known. One call is made at a time.
func (r *Relay) SendEach(ctx context.Context, m *message.Message, e *envelope.Envelope, done func(places []int, out []Outcome)) []Outcome {
	l := &letter{relay: r, m: m, e: e, out: make([]Outcome, len(e.Recipients)), lax: !e.RequireTLS && tlsOptional(m)}
	var wg sync.WaitGroup
	var one sync.Mutex
	for _, d := range l.destinations() {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			one.Lock()
			l.fail(d.recipients, "", stopped(ctx))
			done(d.recipients, l.out)
			one.Unlock()
			continue
		}
		wg.Go(func() {
			leave := func() { <-r.slots }
			end := r.slow.watch(leave)
			defer func() {
				if wasSlow := end(); !wasSlow {
					leave()
				}
			}()
			ctx, cancel := context.WithTimeout(ctx, r.o.Attempt)
			defer cancel()
			l.send(ctx, d)
			one.Lock()
			defer one.Unlock()
			done(d.recipients, l.out)
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
	lax   bool // its sender prefers delivery to TLS
}

// destination is recipients that go one way. Their indices are disjoint, so destinations share out without a lock.
type destination struct {
	name       string
	recipients []int
	bad        bool // addresses that go nowhere: their outcomes are there already
}

// destinations groups the recipients, in the order in which they come first.
func (l *letter) destinations() []*destination {
	var all []*destination
	known := make(map[string]*destination)
	var bad []int
	for i, a := range l.e.Recipients {
		name, err := l.relay.o.Router.Destination(a)
		if err != nil {
			l.fail([]int{i}, "", status.Of(err))
			bad = append(bad, i)
			continue
		}
		d := known[name]
		if d == nil {
			d = &destination{name: name}
			known[name], all = d, append(all, d)
		}
		d.recipients = append(d.recipients, i)
	}
	if len(bad) > 0 {
		all = append(all, &destination{recipients: bad, bad: true})
	}
	return all
}

// send tries the hops of a destination in order, until no recipient is left that another might still take (RFC 5321
// section 5.1).
func (l *letter) send(ctx context.Context, d *destination) {
	if d.bad {
		return
	}
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
		refuse := h.Refuse
		if refuse == nil {
			refuse = l.relay.o.Hosts.Down(h.Name)
		}
		if refuse != nil {
			l.fail(todo, h.Name, status.Of(refuse))
			continue
		}
		todo = l.attempt(ctx, d, h, todo)
	}
}

// attempt gives the message to one hop and returns those recipients that may be tried elsewhere.
func (l *letter) attempt(ctx context.Context, d *destination, h Hop, todo []int) (again []int) {
	e := l.e.For(todo...)
	if h.Deliver != nil {
		again = l.took(ctx, h, todo, h.Deliver(ctx, l.m, e), "", false)
		for _, i := range todo {
			l.out[i].Local = true
		}
		return again
	}
	switch {
	case e.RequireTLS:
		h = h.verified()
	case l.lax:
		h = h.relaxed()
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
	if crowd, ok := err.(crowdedError); ok {
		return l.crowded(h.Name, string(crowd), todo)
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

// crowded leaves recipients to whoever comes to the host when fewer are in the crowd for which it was not tried. Those to whom
// a better host said something have had their attempt.
func (l *letter) crowded(host, crowd string, todo []int) (again []int) {
	for _, i := range todo {
		if l.out[i].Reply.Code != 0 {
			again = append(again, i)
			continue
		}
		l.out[i] = Outcome{Outcome: smtp.Outcome{Err: status.Errorf(status.TempFail, "%w", crowdedError(crowd))}, Host: host, crowded: crowd}
	}
	return again
}

// version is the TLS of a connection as the environment of mailpipe(7) has it.
func version(c *smtp.Client) string {
	if cs := c.TLS(); cs != nil {
		return strings.Join([]string{versionName(cs.Version), cipherName(cs.CipherSuite)}, " ")
	}
	return ""
}
