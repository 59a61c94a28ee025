package main

import (
	"context"
	"strings"
	"sync"

	"pennypost/internal/resolver"
	"pennypost/internal/spf"
)

// maxShared is how many answers a batch remembers.
const maxShared = 20_000

// sharedDNS asks each question about keys and policies once in a run, whoever wants to know and whatever came of it: a server
// that does not answer is not waited for again with every message.
type sharedDNS struct {
	spf.DNS
	run context.Context // of the whole run: that one message waits no longer is no answer

	mu    sync.Mutex
	known map[string]*sharedTXT
}

type sharedTXT struct {
	done   chan struct{}
	answer resolver.Answer[string]
	err    error
}

func newSharedDNS(run context.Context, dns spf.DNS) *sharedDNS {
	return &sharedDNS{DNS: dns, run: run, known: map[string]*sharedTXT{}}
}

// TXT asks, or waits for the one who asks already.
func (s *sharedDNS) TXT(ctx context.Context, name string) (resolver.Answer[string], error) {
	t := s.find(name)
	select {
	case <-t.done:
		return t.answer, t.err
	case <-ctx.Done():
		return resolver.Answer[string]{}, ctx.Err()
	}
}

// find is the question, begun if nobody has asked it.
func (s *sharedDNS) find(name string) *sharedTXT {
	key := strings.ToLower(strings.TrimSuffix(name, "."))
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.known[key]; t != nil {
		return t
	}
	if len(s.known) >= maxShared {
		clear(s.known)
	}
	t := &sharedTXT{done: make(chan struct{})}
	s.known[key] = t
	go func() {
		defer close(t.done)
		t.answer, t.err = s.DNS.TXT(s.run, name)
	}()
	return t
}
