package relay

import (
	"context"
	"crypto/tls"
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

// pool has the connections that are idle, and bounds those that there are to one host.
type pool struct {
	mu      sync.Mutex
	idle    map[string][]*kept
	perHost int
	slots   map[string]chan struct{}
}

func newPool(perHost int) pool {
	return pool{idle: make(map[string][]*kept), perHost: perHost, slots: make(map[string]chan struct{})}
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
// Every connection is given back by release or drop.
func (r *Relay) connect(ctx context.Context, d *destination, h Hop) (*kept, error) {
	select {
	case r.pool.slot(h.Name) <- struct{}{}:
	case <-ctx.Done():
		return nil, stopped(ctx)
	}
	if k := r.pool.take(h.key()); k != nil {
		return k, nil
	}
	// Others may have waited for the host in vain, while this one waited for them.
	if err := r.o.Hosts.Down(h.Name); err != nil {
		<-r.pool.slot(h.Name)
		return nil, err
	}
	return r.dial(ctx, d, h)
}

// fresh is connect without those that were kept.
func (r *Relay) fresh(ctx context.Context, d *destination, h Hop) (*kept, error) {
	select {
	case r.pool.slot(h.Name) <- struct{}{}:
	case <-ctx.Done():
		return nil, stopped(ctx)
	}
	return r.dial(ctx, d, h)
}

// dial makes a connection in the slot that was taken.
func (r *Relay) dial(ctx context.Context, d *destination, h Hop) (*kept, error) {
	c, err := smtp.Connect(ctx, h.Dial, h.Options)
	if r.o.Tried != nil {
		r.o.Tried(Attempt{Destination: d.name, Hop: h, Client: c, Err: err})
	}
	r.o.Hosts.note(h.Name, err, ctx.Err() != nil)
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
