package resolver

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// datagram is a question as it came to a server.
type datagram struct {
	q    *dns.Msg
	from string
}

// slowServer passes on the questions that come and answers what it is told to,
// by say, whenever.
func slowServer(t *testing.T) (addr string, questions chan datagram, say func(d datagram, m *dns.Msg)) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	questions = make(chan datagram, 2000)
	go func() {
		buf := make([]byte, dns.MaxMsgSize)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) == nil {
				questions <- datagram{q, from.String()}
			}
		}
	}()
	return conn.LocalAddr().String(), questions, func(d datagram, m *dns.Msg) {
		to, err := net.ResolveUDPAddr("udp", d.from)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.WriteTo(packed(m), to)
	}
}

// numbered is an answer that carries the number in the question's name.
func numbered(q *dns.Msg) *dns.Msg {
	var n uint32
	_, _ = fmt.Sscanf(q.Question[0].Name, "n%d.", &n)
	m := answerA(q)
	m.Answer[0].(*dns.A).A = binary.BigEndian.AppendUint32(nil, 10<<24|n)
	return m
}

// TestManyUnderWay: questions share a few ports, under an id each, and all get
// their own answer though these come in the opposite order.
func TestManyUnderWay(t *testing.T) {
	const many = 300
	addr, questions, say := slowServer(t)
	r := &Resolver{source: &network{servers: []server{{addr, true}}, attempts: 1, timeout: time.Minute}}
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			a, err := r.Addresses(t.Context(), fmt.Sprintf("n%d.example", i), true, false)
			if want := fmt.Sprintf("10.0.%d.%d", i>>8, i&255); err != nil || len(a.Records) != 1 || a.Records[0].String() != want {
				t.Errorf("question %d: got %v, %v, want %s", i, a.Records, err, want)
			}
		})
	}
	ports, ids := map[string]bool{}, map[string]bool{}
	var all []datagram
	for len(ids) < many { // some may come twice
		d := <-questions
		all = append(all, d)
		ports[d.from] = true
		ids[fmt.Sprint(d.from, d.q.Id)] = true
	}
	slices.Reverse(all)
	for _, d := range all {
		say(d, numbered(d.q))
	}
	wg.Wait()
	if len(ports) < 2 || len(ports) > 2*maxSockets { // a slow machine replaces some meanwhile
		t.Errorf("%d questions came from %d ports", many, len(ports))
	}
}

// TestPortsChange: one question after the other does not come from one port for
// long.
func TestPortsChange(t *testing.T) {
	var mu sync.Mutex
	addr, questions, say := slowServer(t)
	ports := map[string]int{}
	go func() {
		for d := range questions {
			mu.Lock()
			ports[d.from]++
			mu.Unlock()
			say(d, answerA(d.q))
		}
	}()
	defer close(questions)
	r := &Resolver{source: &network{servers: []server{{addr, true}}, attempts: 1, timeout: time.Minute}}
	for range 2*datagramQuestions + 1 {
		if _, err := r.Addresses(t.Context(), "host.example", true, false); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for port, n := range ports {
		if n > datagramQuestions {
			t.Errorf("%d questions came from %s", n, port)
		}
	}
	if len(ports) < 3 {
		t.Errorf("only %d ports", len(ports))
	}
}

// TestRepeated: a lost datagram is sent once more, from the same port under the
// same id; that both are answered harms nobody.
func TestRepeated(t *testing.T) {
	addr, questions, say := slowServer(t)
	r := &Resolver{source: &network{servers: []server{{addr, true}}, attempts: 1, timeout: time.Minute}}
	done := make(chan error)
	go func() {
		_, err := r.Addresses(t.Context(), "host.example", true, false)
		done <- err
	}()
	first, second := <-questions, <-questions
	if first.from != second.from || first.q.Id != second.q.Id {
		t.Errorf("first from %s under %d, then from %s under %d", first.from, first.q.Id, second.from, second.q.Id)
	}
	for range maxStrays {
		say(second, answerA(second.q))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestLateAnswers: answers to questions nobody waits for any more are no strays,
// however many.
func TestLateAnswers(t *testing.T) {
	addr, questions, say := slowServer(t)
	n := &network{servers: []server{{addr, true}}, attempts: 1, timeout: time.Minute}
	r := &Resolver{source: n}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var late []datagram
	for i := range maxStrays {
		wg.Go(func() {
			if _, err := r.Addresses(ctx, fmt.Sprintf("n%d.example", i), true, false); err == nil {
				t.Error("answered after all")
			}
		})
		late = append(late, <-questions)
	}
	cancel()
	wg.Wait()
	done := make(chan error)
	go func() {
		_, err := r.Addresses(t.Context(), "host.example", true, false)
		done <- err
	}()
	last := <-questions
	for _, d := range late {
		say(d, answerA(d.q))
	}
	say(last, answerA(last.q))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// truncating is a server that has too much to say for datagrams; over TCP it
// answers as many questions as each connection is good for.
func truncating(t *testing.T, perConn int) (addr string, connections, asked *atomic.Int32) {
	t.Helper()
	addr, _ = fakeServer(t, func(q *dns.Msg) [][]byte {
		return [][]byte{changed(new(dns.Msg).SetReply(q), func(m *dns.Msg) { m.Truncated = true })}
	})
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the port is taken for TCP: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	connections, asked = new(atomic.Int32), new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go answerStream(c, perConn, asked)
		}
	}()
	return addr, connections, asked
}

func answerStream(c net.Conn, perConn int, asked *atomic.Int32) {
	defer c.Close()
	in := &frames{conn: c}
	for range perConn {
		b, err := in.next()
		q := new(dns.Msg)
		if err != nil || q.Unpack(b) != nil {
			return
		}
		asked.Add(1)
		raw := packed(numbered(q))
		raw = append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
		for _, b := range raw { // in the smallest pieces
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	}
	_, _ = io.Copy(io.Discard, c)
}

// TestKeptConnection: large answers come over one connection.
func TestKeptConnection(t *testing.T) {
	addr, connections, asked := truncating(t, 1000)
	r := &Resolver{source: &network{servers: []server{{addr, true}}, attempts: 1, timeout: time.Minute}}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			a, err := r.Addresses(t.Context(), fmt.Sprintf("n%d.example", i), true, false)
			if want := fmt.Sprintf("10.0.0.%d", i); err != nil || a.Records[0].String() != want {
				t.Errorf("question %d: got %v, %v, want %s", i, a.Records, err, want)
			}
		})
	}
	wg.Wait()
	if connections.Load() != 1 || asked.Load() != 50 {
		t.Errorf("%d questions over %d connections, want 50 over 1", asked.Load(), connections.Load())
	}
}

// TestConnectionEnds: that a kept connection is closed meanwhile is no trouble,
// and who closes each new one is not asked for ever.
func TestConnectionEnds(t *testing.T) {
	addr, connections, _ := truncating(t, 1)
	n := &network{servers: []server{{addr, true}}, attempts: 1, timeout: time.Minute}
	r := &Resolver{source: n}
	for range 3 {
		if _, err := r.Addresses(t.Context(), "n1.example", true, false); err != nil {
			t.Fatal(err)
		}
		closeStream(n.upstream(addr))
	}
	if connections.Load() != 3 {
		t.Errorf("%d connections, want 3", connections.Load())
	}
	addr, _, _ = truncating(t, 0)
	r = &Resolver{source: &network{servers: []server{{addr, true}}, attempts: 1, timeout: 50 * time.Millisecond}}
	if _, err := r.Addresses(t.Context(), "n1.example", true, false); kind(err) != Timeout {
		t.Errorf("a server that is silent over TCP: got %v", err)
	}
}

// closeStream ends the connection as the other side would, before anybody knows.
func closeStream(u *upstream) {
	_ = u.connecting.take(context.Background())
	defer u.connecting.give()
	u.stream.conn.Close()
}
