package resolver

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxSockets is how many UDP sockets are open to one server for new
	// questions, and perSocket how many questions a socket should have under way
	// before another one is opened.
	maxSockets = 8
	perSocket  = 64
)

// upstream is one server and the sockets to it. Datagrams share a few sockets,
// whose ports the kernel draws at random and which are replaced all the time;
// what does not fit goes over one connection that is kept for a while.
type upstream struct {
	addr string // host:port

	mu        sync.Mutex
	datagrams []*socket

	opening    turn // to add to datagrams
	connecting turn // to use stream
	stream     *socket
}

// turn is a lock that can be waited for with a context.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

func newUpstream(addr string) *upstream {
	return &upstream{addr: addr, opening: make(turn, 1), connecting: make(turn, 1)}
}

// ask puts q to the server by UDP, and by TCP if the answer does not fit. The
// timeout is for each of the two.
func (u *upstream) ask(ctx context.Context, q *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	m, err := u.byDatagram(ctx, q, timeout)
	if err == nil && m.Truncated {
		m, err = u.byStream(ctx, q, timeout)
	}
	return m, err
}

func (u *upstream) byDatagram(ctx context.Context, q *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	for {
		s, err := u.datagramSocket(ctx)
		if err != nil {
			return nil, err
		}
		m, err := s.ask(ctx, q, timeout)
		if !errors.Is(err, errRetired) {
			return m, err
		}
	}
}

// datagramSocket picks the socket with the least to do, or opens one if all that
// there are have enough.
func (u *upstream) datagramSocket(ctx context.Context) (*socket, error) {
	if s := u.leastBusy(); s != nil {
		return s, nil
	}
	if err := u.opening.take(ctx); err != nil {
		return nil, err
	}
	defer u.opening.give()
	if s := u.leastBusy(); s != nil { // another one's
		return s, nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", u.addr)
	if err != nil {
		return nil, err
	}
	s := newSocket(conn, false)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.datagrams = append(u.datagrams, s)
	return s, nil
}

func (u *upstream) leastBusy() *socket {
	u.mu.Lock()
	defer u.mu.Unlock()
	var best *socket
	least := 0
	kept := u.datagrams[:0]
	for _, s := range u.datagrams {
		live, ok := s.load()
		if !ok {
			continue
		}
		kept = append(kept, s)
		if best == nil || live < least {
			best, least = s, live
		}
	}
	clear(u.datagrams[len(kept):])
	u.datagrams = kept
	if least >= perSocket && len(kept) < maxSockets {
		return nil
	}
	return best
}

// byStream asks over the connection that is there, or a new one. A connection
// that was there may have been closed meanwhile, which says nothing about the
// question (RFC 7766 section 6.2.4).
func (u *upstream) byStream(ctx context.Context, q *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	for again := true; ; {
		s, fresh, err := u.streamSocket(ctx, timeout)
		if err != nil {
			return nil, err
		}
		m, err := s.ask(ctx, q, timeout)
		switch {
		case errors.Is(err, errRetired): // nothing was asked
		case err == nil || fresh || !again || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
			return m, err
		default:
			again = false
		}
	}
}

func (u *upstream) streamSocket(ctx context.Context, timeout time.Duration) (s *socket, fresh bool, err error) {
	if err := u.connecting.take(ctx); err != nil {
		return nil, false, err
	}
	defer u.connecting.give()
	if u.stream != nil {
		if _, ok := u.stream.load(); ok {
			return u.stream, false, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.addr)
	if err != nil {
		return nil, false, err
	}
	u.stream = newSocket(conn, true)
	return u.stream, true, nil
}
