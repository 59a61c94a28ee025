package relay

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"pennypost/internal/queue"
)

// silent accepts connections and says nothing, until it is told to hang up on everybody.
type silent struct {
	mu    sync.Mutex
	conns []net.Conn
	over  bool
	came  chan struct{} // one for each connection
}

func (s *silent) start(t *testing.T, ip string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	t.Cleanup(func() { l.Close(); s.hangUp(); served.Wait() })
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.take(c)
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

func (s *silent) take(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		c.Close()
		return
	}
	s.conns = append(s.conns, c)
	s.came <- struct{}{}
}

func (s *silent) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, c := range s.conns {
		c.Close()
	}
}

// A host that says nothing, to which the mail of many domains goes, keeps nobody else from his: with the first messages
// still waiting for it, the last domain has been served. When the host hangs up, each message has had one attempt.
func TestSilentHostOfManyDomains(t *testing.T) {
	const domains = 50
	deaf, well := &silent{came: make(chan struct{}, domains+1)}, &host{}
	port := deaf.start(t, "127.0.0.2")
	well.start(t, "127.0.0.3", port, nil)
	zone := "deaf.example. A 127.0.0.2\nwell.example. A 127.0.0.3\ngood.example. MX 10 well.example.\n"
	for n := range domains {
		zone += fmt.Sprintf("d%d.example. MX 10 deaf.example.\n", n)
	}
	delivered := make(chan struct{}, 1)
	p := newPost(t)
	p.r.Relay = New(Options{Router: byMX(t, zone, port), Reuse: true, Tried: func(a Attempt) {
		if a.Destination == "good.example" {
			delivered <- struct{}{}
		}
	}})
	defer p.r.Relay.Close()
	p.r.Parallel = 5
	for n := range domains {
		p.put("SENDER=s@here.example", "RECIPIENTS=a@d"+strconv.Itoa(n)+".example")
	}
	p.put("SENDER=s@here.example", "RECIPIENTS=a@good.example")

	ended := make(chan error, 1)
	go func() {
		_, err := p.r.Run(context.Background())
		ended <- err
	}()
	wait(t, delivered, "the good domain is not served")
	wait(t, deaf.came, "nobody connects to the silent host")
	deaf.hangUp()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := len(deaf.came); n > 1 {
		t.Errorf("%d connections to the silent host, when two are allowed", n+1)
	}
	if well.got() != "a@good.example" {
		t.Errorf("the other one got %q", well.got())
	}
	p.eachTriedOnce(domains)
}

// eachTriedOnce wants n entries that had one attempt.
func (p *post) eachTriedOnce(n int) {
	p.t.Helper()
	ids, err := p.q.IDs()
	if err != nil || len(ids) != n {
		p.t.Errorf("%d entries are left, %v, want %d", len(ids), err, n)
	}
	for e, err := range p.q.ReadAll(ids) {
		if err != nil {
			p.t.Fatal(err)
		}
		if r := e.Recipients[0]; r.Attempts != 1 || r.State != queue.Waiting {
			p.t.Errorf("%s: %d attempts, %s: %s", r.Address, r.Attempts, r.State, r.Reply)
		}
	}
}

func wait(t *testing.T, c <-chan struct{}, why string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal(why)
	}
}
