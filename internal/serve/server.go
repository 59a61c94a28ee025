package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

const (
	refuseTime   = 2 * time.Second // for the Busy line to go out
	refuseAtOnce = 32              // beyond, connections are closed without it
	afterDrain   = 5 * time.Second // for handlers to return once their connections are closed
	backoffMin   = 5 * time.Millisecond
	backoffMax   = time.Second
)

// server runs sessions. Every goroutine it starts is counted in wg, and one that starts others is itself still counted,
// so that wg.Wait cannot return early.
type server struct {
	o        Options
	handle   func(context.Context, *Conn)
	notify   func(state string)
	gate     gate
	refusals chan struct{}
	wg       sync.WaitGroup

	stopping context.Context // ends when the drain begins
	stop     context.CancelFunc
	handlers context.Context // what handlers get; ends when the drain ends
	cancel   context.CancelFunc

	mu   sync.Mutex
	open map[net.Conn]bool
	cut  bool  // no connection may be open any more
	err  error // of the first session that failed as a whole
}

func newServer(o Options, h func(context.Context, *Conn)) *server {
	s := &server{
		o:        o,
		handle:   h,
		notify:   func(string) {},
		refusals: make(chan struct{}, refuseAtOnce),
		open:     make(map[net.Conn]bool),
	}
	s.gate = gate{max: o.MaxConns, perAddress: o.MaxPerAddress, perNetwork: o.MaxPerNetwork, rate: o.RatePerAddress, counts: o.Counts}
	s.gate.failed = func(err error) { o.Log.Warn("limits are not shared", "err", err) }
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

// run serves ends until ctx is cancelled or, without listeners, until all connections are done.
func (s *server) run(ctx context.Context, ends sources) error {
	s.handlers, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer s.cancel()
	defer s.stop()
	s.announce(ends.listeners)
	drain := s.o.Drain
	for _, l := range ends.listeners {
		s.wg.Go(func() { s.accept(ctx, l) })
	}
	for _, a := range ends.conns {
		if a.terminal {
			drain = 0 // the key that interrupts is meant for this session
		}
		if !s.gate.enter() {
			s.refuse(a.conn, tooMany, "")
			continue
		}
		s.wg.Go(func() { s.session(a) })
	}
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		if err := s.drain(ends.listeners, done, drain); err != nil {
			return err
		}
	}
	if len(ends.listeners) > 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *server) announce(listeners []endpoint) {
	addrs := make([]net.Addr, len(listeners))
	for i, l := range listeners {
		addrs[i] = l.Addr()
		s.o.Log.Info("listening", "addr", l.Addr().String(), "name", l.name)
	}
	if s.o.Listening != nil {
		s.o.Listening(addrs)
	}
	s.notify("READY=1")
}

// drain lets sessions end by themselves for a while and then ends them.
func (s *server) drain(listeners []endpoint, done <-chan struct{}, wait time.Duration) error {
	s.notify("STOPPING=1")
	for _, l := range listeners {
		l.Close()
	}
	s.stop()
	if ended(done, wait) {
		return nil
	}
	s.cancel()
	s.mu.Lock()
	s.cut = true
	for c := range s.open {
		c.Close()
	}
	n := len(s.open)
	s.mu.Unlock()
	s.o.Log.Info("sessions cut off", "count", n)
	if !ended(done, afterDrain) {
		return status.Errorf(status.Software, "stop serving: a session did not end within %v", afterDrain)
	}
	return nil
}

func ended(done <-chan struct{}, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// accept takes connections until the listener is closed. Trouble such as a full table of descriptors passes, so it
// waits and tries again.
func (s *server) accept(ctx context.Context, l endpoint) {
	defer l.Close()
	pause := backoffMin
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			if err == nil {
				c.Close()
			}
			return
		case err != nil:
			s.o.Log.Warn("cannot accept", "name", l.name, "err", err, "pause", pause)
			if ended(ctx.Done(), pause) {
				return
			}
			pause = min(2*pause, backoffMax)
			continue
		}
		pause = backoffMin
		if !s.gate.enter() {
			s.refuse(c, tooMany, "")
			continue
		}
		s.wg.Go(func() { s.session(arrival{conn: c, name: l.name}) })
	}
}

// session serves one connection that has entered the gate.
func (s *server) session(a arrival) {
	leave := sync.OnceFunc(s.gate.leave)
	defer leave()
	s.track(a.conn, true)
	defer s.track(a.conn, false)
	c := &Conn{Conn: a.conn, Name: a.name, Info: describe(a.conn, a.environ), Stopping: s.stopping.Done()}
	if trusted(c.Info.RemoteIP, s.o.ProxyFrom) {
		if err := readProxyHeader(c); err != nil {
			a.conn.Close()
			if err != io.EOF { // that is a connection opened just to see whether we are there
				s.o.Log.Warn("bad PROXY header", "peer", c.Info.RemoteIP, "err", err)
				s.fail(status.Errorf(status.Protocol, "read the PROXY header from %s: %w", c.Info.RemoteIP, err))
			}
			return
		}
	}
	// A network socket that was reset has no peer any more, but it is no local one for that.
	c.Local = c.Info.RemoteIP == "" && c.Info.LocalIP == ""
	leavePeer, why := s.gate.enterPeer(c.Info.RemoteIP, time.Now())
	if why != "" {
		leave()
		s.refuse(a.conn, why, ": "+c.Info.RemoteIP)
		return
	}
	defer leavePeer()
	defer a.conn.Close()
	s.call(c)
}

// call runs the handler; a panic ends only this session.
func (s *server) call(c *Conn) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Log.Error("session failed: internal error", "peer", peerName(c.Info), "panic", p)
			s.o.Log.Debug("stack of the failed session", "stack", string(debug.Stack()))
			s.fail(status.Errorf(status.Software, "serve a session: internal error: %v", p))
		}
	}()
	s.handle(s.handlers, c)
}

// refuse says Busy and closes c, without making the caller wait for the peer. It reads on for a moment, since closing a
// socket with unread bytes would reset it and take the line away from the peer.
func (s *server) refuse(c net.Conn, why, whose string) {
	s.gate.counts.refuse(why)
	s.o.Log.Warn("connection refused", "peer", peerName(describe(c, nil)), "why", why+whose)
	select {
	case s.refusals <- struct{}{}:
	default:
		c.Close()
		return
	}
	s.wg.Go(func() {
		defer func() { <-s.refusals }()
		defer c.Close()
		c.SetDeadline(time.Now().Add(refuseTime))
		defer context.AfterFunc(s.stopping, func() { c.SetDeadline(time.Now()) })()
		if _, err := c.Write(s.o.Busy); err != nil {
			return
		}
		if closeWrite(c) == nil {
			io.CopyN(io.Discard, c, 4096)
		}
	})
}

func (s *server) track(c net.Conn, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !open {
		delete(s.open, c)
		return
	}
	s.open[c] = true
	if s.cut {
		c.Close()
	}
}

func (s *server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func peerName(i envelope.Connection) string {
	if i.RemoteIP == "" {
		return "local"
	}
	return i.RemoteIP
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
