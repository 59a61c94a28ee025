package relay

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/queue"
	"pennypost/internal/status"
)

// silent accepts connections and says nothing, until it is told to hang up on everybody.
type silent struct {
	mu    sync.Mutex
	conns []net.Conn
	over  bool
	came  chan struct{} // one for each connection
}

func (s *silent) start(t *testing.T, ip string, port int) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
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
	port := deaf.start(t, "127.0.0.2", 0)
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

// crowdOf are so many silent hosts, s0.example to be reached as d0.example and so on, and one that answers. delivered is told
// when that is connected to, and names are what the silent ones are called in a memory of hosts.
func crowdOf(t *testing.T, silents int) (deaf *silent, well *host, p *post, delivered chan struct{}, names []string) {
	deaf, well = &silent{came: make(chan struct{}, 10*silents)}, &host{}
	port := well.start(t, "127.0.0.3", 0, nil)
	zone := "well.example. A 127.0.0.3\ngood.example. MX 10 well.example.\n"
	for n := range silents {
		ip := fmt.Sprintf("127.0.1.%d", n+1)
		deaf.start(t, ip, port)
		names = append(names, fmt.Sprintf("s%d.example[%s]:%d", n, ip, port))
		zone += fmt.Sprintf("d%d.example. MX 10 s%d.example.\ns%d.example. A %s\n", n, n, n, ip)
	}
	delivered = make(chan struct{}, 1)
	p = newPost(t)
	p.r.Relay = New(Options{Router: byMX(t, zone, port), Reuse: true, Tried: func(a Attempt) {
		if a.Destination == "good.example" {
			delivered <- struct{}{}
		}
	}})
	t.Cleanup(p.r.Relay.Close)
	return deaf, well, p, delivered, names
}

// untilGood runs until the one that answers has its mail, with silent ones waited for, and then hangs up on everybody.
func (p *post) untilGood(deaf *silent, well *host, delivered <-chan struct{}) {
	p.t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := p.r.Run(context.Background())
		ended <- err
	}()
	wait(p.t, delivered, "the good domain is not served")
	deaf.hangUp()
	if err := <-ended; err != nil {
		p.t.Fatal(err)
	}
	if well.got() != "a@good.example" {
		p.t.Errorf("the other one got %q", well.got())
	}
}

// More silent hosts than there are workers hold nobody else's mail: whoever waits for one long is replaced.
func TestManySilentHosts(t *testing.T) {
	const silents = 12
	deaf, well, p, delivered, _ := crowdOf(t, silents)
	p.r.Parallel, p.r.patience = 3, time.Millisecond
	for n := range silents {
		p.put("SENDER=s@here.example", "RECIPIENTS=a@d"+strconv.Itoa(n)+".example")
	}
	p.now = p.now.Add(time.Second) // so that it comes last
	p.put("SENDER=s@here.example", "RECIPIENTS=a@good.example")
	p.untilGood(deaf, well, delivered)
	p.eachTriedOnce(silents)
}

// It is the same for the destinations of one message.
func TestManySilentHostsOfOneMessage(t *testing.T) {
	const silents = 12
	deaf, well, p, delivered, _ := crowdOf(t, silents)
	p.r.Relay.slots, p.r.Relay.slow = make(chan struct{}, 3), newSlow(3, time.Millisecond)
	var to []string
	for n := range silents {
		to = append(to, "a@d"+strconv.Itoa(n)+".example")
	}
	p.put("SENDER=s@here.example", "RECIPIENTS="+strings.Join(append(to, "a@good.example"), "\n"))
	p.untilGood(deaf, well, delivered)
}

// Of hosts that are known to be silent more than there may ever be workers are not tried all at once.
func TestManyHostsKnownToBeSilent(t *testing.T) {
	const silents = 2 * slowFactor
	deaf, well, p, delivered, names := crowdOf(t, silents)
	hosts, err := OpenHosts(p.q.Root(), "hosts")
	if err != nil {
		t.Fatal(err)
	}
	defer hosts.Close()
	p.r.Relay.o.Hosts = hosts
	p.r.Parallel, p.r.patience = 1, time.Millisecond
	for n, host := range names {
		hosts.note(host, status.Errorf(status.TempFail, "silence").WithReply(451, "4.4.2"), false)
		if !hosts.Silent(host) {
			t.Fatalf("%s is not remembered", host)
		}
		p.put("SENDER=s@here.example", "RECIPIENTS=a@d"+strconv.Itoa(n)+".example")
	}
	hosts.now = func() time.Time { return time.Now().Add(10 * time.Minute) }
	p.now = p.now.Add(time.Second) // so that it comes last
	p.put("SENDER=s@here.example", "RECIPIENTS=a@good.example")
	p.untilGood(deaf, well, delivered)
	p.eachTriedOnce(silents)
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
