package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"pennypost/internal/smtp"
)

const (
	maxIdle = 20 * time.Second // servers wait five minutes for a command (RFC 5321 section 4.5.3.2), but many do not
	maxUses = 100              // messages over one connection
)

func versionName(v uint16) string { return tls.VersionName(v) }
func cipherName(c uint16) string  { return tls.CipherSuiteName(c) }

// kept is a connection in use, or waiting for its next one.
type kept struct {
	*smtp.Client
	used  int // messages
	since time.Time
}

// pool has the connections that are idle, and bounds those that there are to one host, and, when somebody is told of them,
// those that wait for one.
type pool struct {
	mu      sync.Mutex
	idle    map[string][]*kept
	perHost int
	slots   map[string]chan struct{}
	waiting map[string]int
	left    func(host string) // one that waited does so no more; nil = any number may wait
	silent  int               // connections under way to hosts that did not answer the last time
	most    int               // that there may be of those
}

func newPool(perHost int) pool {
	return pool{idle: make(map[string][]*kept), perHost: perHost, slots: make(map[string]chan struct{}), waiting: make(map[string]int)}
}

// crowd bounds those that wait for a host, and those that wait for hosts that said nothing the last time: they would keep
// everybody from working on other mail.
func (p *pool) crowd(left func(host string), silent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.most = left, silent
}

// silentHosts stands for all hosts that did not answer the last time, among the names of hosts.
const silentHosts = "/silent"

// crowded tells whether as many wait for the host as may have a connection.
func (p *pool) crowded(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if host == silentHosts {
		return p.silent >= p.most
	}
	return p.waiting[host] >= p.perHost
}

// crowdedError says that others wait already for the host that it names.
type crowdedError string

func (e crowdedError) Error() string { return "others wait for " + string(e) + " already" }

// enterSilent is before an attempt to connect to a host that did not answer the last time.
func (p *pool) enterSilent() (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.left
	if left == nil {
		return func() {}, nil
	}
	if p.silent >= p.most {
		return nil, crowdedError(silentHosts)
	}
	p.silent++
	return func() {
		p.mu.Lock()
		p.silent--
		p.mu.Unlock()
		left(silentHosts)
	}, nil
}

// enter takes a slot, and waits for it unless a crowd does: then that is the error, if it is of matter.
func (p *pool) enter(ctx context.Context, host string, matters bool) error {
	s := p.slot(host)
	select {
	case s <- struct{}{}:
		return nil
	default:
	}
	p.mu.Lock()
	left := p.left
	if left != nil && matters && p.waiting[host] >= p.perHost {
		p.mu.Unlock()
		return crowdedError(host)
	}
	p.waiting[host]++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting[host]--
		p.mu.Unlock()
		if left != nil {
			left(host)
		}
	}()
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return stopped(ctx)
	}
}

// slot is what bounds connections to the host.
func (p *pool) slot(host string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[host]
	if s == nil {
		s = make(chan struct{}, p.perHost)
		p.slots[host] = s
	}
	return s
}

// take is an idle connection that is not too old, or nil.
func (p *pool) take(key string) *kept {
	p.mu.Lock()
	var old []*kept
	defer func() {
		p.mu.Unlock()
		for _, k := range old {
			k.Close()
		}
	}()
	list := p.idle[key]
	for len(list) > 0 {
		k := list[len(list)-1]
		list = list[:len(list)-1]
		p.idle[key] = list
		if time.Since(k.since) < maxIdle {
			return k
		}
		old = append(old, k)
	}
	return nil
}

func (p *pool) put(key string, k *kept) {
	k.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle[key] = append(p.idle[key], k)
}

func (p *pool) close() {
	p.mu.Lock()
	all := p.idle
	p.idle = make(map[string][]*kept)
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, list := range all {
		for _, k := range list {
			k.Quit(ctx)
		}
	}
}

// connect is a connection to the hop: one that was kept, or a new one. It waits while there are too many to the host.
// Every connection is given back by release or drop. The error is a crowdedError when it would wait behind too many.
func (r *Relay) connect(ctx context.Context, d *destination, h Hop) (*kept, error) {
	if err := r.pool.enter(ctx, h.Name, true); err != nil {
		return nil, err
	}
	if k := r.pool.take(h.key()); k != nil {
		return k, nil
	}
	// Others may have waited for the host in vain, while this one waited for them.
	err := r.o.Hosts.Down(h.Name)
	if err == nil && r.o.Hosts.Silent(h.Name) {
		var leave func()
		if leave, err = r.pool.enterSilent(); err == nil {
			defer leave()
		}
	}
	if err != nil {
		<-r.pool.slot(h.Name)
		return nil, err
	}
	return r.dial(ctx, d, h)
}

// fresh is connect without those that were kept.
func (r *Relay) fresh(ctx context.Context, d *destination, h Hop) (*kept, error) {
	if err := r.pool.enter(ctx, h.Name, false); err != nil {
		return nil, err
	}
	return r.dial(ctx, d, h)
}

// dial makes a connection in the slot that was taken.
func (r *Relay) dial(ctx context.Context, d *destination, h Hop) (*kept, error) {
	begun := time.Now()
	c, err := smtp.Connect(ctx, h.Dial, h.Options)
	if r.o.Tried != nil {
		r.o.Tried(Attempt{Destination: d.name, Hop: h, Client: c, Err: err})
	}
	// Of an attempt that came to its end the host had the most, or it says nothing.
	ended := errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(begun) > r.o.Attempt/2
	r.o.Hosts.note(h.Name, err, ctx.Err() != nil && !ended)
	if err != nil {
		<-r.pool.slot(h.Name)
		return nil, err
	}
	return &kept{Client: c}, nil
}

// release keeps a connection that is still good, and ends it otherwise.
func (r *Relay) release(ctx context.Context, h Hop, k *kept) {
	defer func() { <-r.pool.slot(h.Name) }()
	k.used++
	if r.o.Reuse && k.Err() == nil && k.used < maxUses {
		r.pool.put(h.key(), k)
		return
	}
	k.Quit(ctx)
}

// drop gives up a connection that turned out to be dead.
func (r *Relay) drop(h Hop, k *kept) {
	k.Close()
	<-r.pool.slot(h.Name)
}
