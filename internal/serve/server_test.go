package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/status"
)

// script is a listener that accepts what it is told to: an error or a connection at a time.
type script struct {
	next   chan any
	closed chan struct{}
}

func newScript() *script { return &script{make(chan any), make(chan struct{})} }

func (s *script) Accept() (net.Conn, error) {
	select {
	case x := <-s.next:
		if err, bad := x.(error); bad {
			return nil, err
		}
		return x.(net.Conn), nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *script) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func (s *script) Addr() net.Addr { return stdioAddr{} }

// running starts a server on a script.
func running(ctx context.Context, o Options, h func(context.Context, *Conn)) (*script, chan error) {
	l := newScript()
	ended := make(chan error, 1)
	s := newServer(o.withDefaults(), h)
	go func() { ended <- s.run(ctx, sources{listeners: []endpoint{{l, "script"}}}) }()
	return l, ended
}

func TestAcceptErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		l, ended := running(ctx, Options{}, func(context.Context, *Conn) { close(served) })
		start := time.Now()
		for range 10 {
			l.next <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		if took := time.Since(start); took < time.Second || took > 10*time.Second {
			t.Errorf("ten errors took %v, want growing pauses of at most a second", took)
		}
		_, b := net.Pipe()
		l.next <- b
		<-served
		l.next <- syscall.ENFILE
		synctest.Wait()
		cancel() // in the pause
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainLetsSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, ended := running(ctx, Options{Drain: time.Minute}, func(ctx context.Context, c *Conn) {
			line, _ := bufio.NewReader(c).ReadString('\n')
			<-c.Stopping
			if ctx.Err() != nil {
				t.Error("the handler's context ended with the drain's begin")
			}
			io.WriteString(c, line)
		})
		a, b := net.Pipe()
		l.next <- b
		synctest.Wait() // the session has begun
		cancel()
		synctest.Wait()
		select {
		case <-l.closed:
		default:
			t.Error("the listener is still open while draining")
		}
		time.Sleep(50 * time.Second)
		io.WriteString(a, "hello\n")
		if got, _ := io.ReadAll(a); string(got) != "hello\n" {
			t.Errorf("got %q", got)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		l, ended := running(ctx, Options{Drain: time.Minute}, func(ctx context.Context, c *Conn) {
			_, err := c.Read(make([]byte, 1))
			if err == nil || ctx.Err() == nil || time.Since(start) != time.Minute {
				t.Errorf("after %v: read %v, context %v", time.Since(start), err, ctx.Err())
			}
		})
		_, b := net.Pipe()
		l.next <- b
		synctest.Wait() // the session has begun
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestStubbornHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		l, ended := running(ctx, Options{}, func(context.Context, *Conn) { <-release })
		_, b := net.Pipe()
		l.next <- b
		synctest.Wait() // the session has begun
		cancel()
		if err := <-ended; status.ExitStatus(err) != 70 {
			t.Errorf("got %v, want exit 70", err)
		}
		close(release)
	})
}

func TestPanicStaysInItsSession(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelInfo}))
	addrs, stop := started(t, Options{Log: log, Drain: time.Minute}, func(_ context.Context, c *Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		if line == "panic\n" {
			panic("at the\ndisco")
		}
		io.WriteString(c, line)
	})
	steady := dial(t, addrs[0])
	if got := talk(t, dial(t, addrs[0]), "panic\n"); got != "" {
		t.Errorf("got %q from the session that failed", got)
	}
	if got := talk(t, steady, "hello\n"); got != "hello\n" {
		t.Errorf("got %q from the other session", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if s := logged.String(); !strings.Contains(s, "internal error") || strings.Contains(s, "goroutine") {
		t.Errorf("the log should have the failure and no stack: %q", s)
	}
}

func TestBusy(t *testing.T) {
	hold := make(chan struct{})
	var sessions atomic.Int32
	var counts Counts
	addrs, stop := started(t, Options{MaxConns: 2, Busy: []byte("421 busy\r\n"), Drain: time.Minute, Counts: &counts}, func(_ context.Context, c *Conn) {
		sessions.Add(1)
		io.WriteString(c, "220 ready\r\n")
		<-hold
	})
	greeting := func() (net.Conn, string) {
		c := dial(t, addrs[0])
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return c, line
	}
	for i, want := range []string{"220 ready\r\n", "220 ready\r\n", "421 busy\r\n", "421 busy\r\n"} {
		if _, got := greeting(); got != want {
			t.Errorf("connection %d: got %q, want %q", i+1, got, want)
		}
	}
	if open, refused := counts.Open(), counts.Refused(); open != 2 || refused != [len(Limits)]int64{2} {
		t.Errorf("counted %d open and %d refused", open, refused)
	}
	// A peer that talks before it listens still gets the line, and then the end.
	if got := talk(t, dial(t, addrs[0]), "EHLO x\r\n"); got != "421 busy\r\n" {
		t.Errorf("got %q", got)
	}
	hold <- struct{}{}
	for {
		if _, got := greeting(); got == "220 ready\r\n" { // the place is free once the first session is gone
			break
		}
	}
	close(hold)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := sessions.Load(); n != 3 || counts.Open() != 0 {
		t.Errorf("%d sessions ran, %d are open, want 3 and none", n, counts.Open())
	}
}

// TestRefusalsDoNotHoldUpTheServer has many refused peers that never read, on pipes where a write waits for them.
func TestRefusalsDoNotHoldUpTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, ended := running(ctx, Options{MaxConns: 1, Busy: []byte("421 busy\r\n")}, func(ctx context.Context, c *Conn) { <-c.Stopping })
		start := time.Now()
		var peers []net.Conn
		for range 2 * refuseAtOnce {
			a, b := net.Pipe()
			peers = append(peers, a)
			l.next <- b
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("accepting took %v", took)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for i, a := range peers {
			if _, err := io.ReadAll(a); err != nil {
				t.Errorf("peer %d: %v", i, err)
			}
		}
	})
}

func TestSeveralListeners(t *testing.T) {
	dir := t.TempDir()
	addrs, stop := started(t, Options{Listen: []string{"127.0.0.1:0", "unix:" + dir + "/s", "localhost:0"}}, tell)
	if len(addrs) != 3 {
		t.Fatalf("got %d addresses", len(addrs))
	}
	for i, want := range []string{"peer=127.0.0.1 ", "peer= ", "peer="} {
		if got := talk(t, dial(t, addrs[i]), "hello\n"); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\nhello\nbye\n") {
			t.Errorf("%v: got %q", addrs[i], got)
		}
	}
	if got := talk(t, dial(t, addrs[1]), ""); !strings.Contains(got, " name=unix:"+dir+"/s local=true ") {
		t.Errorf("on the unix socket: got %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", dir+"/s"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the socket file should be gone: %v", err)
	}
}

func TestGateForgets(t *testing.T) {
	g := gate{max: 2, perAddress: 1}
	peer := func(ip string) (func(), bool) {
		leave, why := g.enterPeer(ip, time.Now())
		return leave, why == ""
	}
	for range 1000 {
		in := g.enter()
		leave, ok := peer("192.0.2.1")
		_, twice := peer("192.0.2.1")
		other, otherOK := peer("192.0.2.2")
		if !in || !ok || twice || !otherOK || !g.enter() || g.enter() {
			t.Fatal("the gate counts wrong")
		}
		leave()
		other()
		g.leave()
		g.leave()
	}
	if len(g.per) != 0 || g.total != 0 {
		t.Errorf("the gate keeps %v, %d", g.per, g.total)
	}
	for key := range 3 {
		if _, ok := peer(""); !ok {
			t.Errorf("local peer %d is limited", key+1)
		}
	}
}
