package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	resolvConf     = "/etc/resolv.conf"
	defaultTimeout = 5 * time.Second
	// ednsSize is the size of UDP answer that passes everywhere without being
	// cut into fragments, as agreed on DNS flag day 2020.
	ednsSize = 1232

	maxServers  = 8
	maxAttempts = 5
	maxTimeout  = 30 * time.Second
)

// network asks DNS servers.
type network struct {
	servers  []server
	attempts int
	timeout  time.Duration // for one try at one server

	mu        sync.Mutex
	upstreams map[string]*upstream // by address; made at the first question
}

type server struct {
	addr    string // host:port
	trusted bool
}

func newNetwork(o Options) (*network, error) {
	if o.Server == "" {
		return fromConf(resolvConf, o.Timeout)
	}
	addr, err := serverAddr(o.Server)
	if err != nil {
		return nil, err
	}
	n := &network{servers: []server{{addr, true}}, attempts: 2, timeout: defaultTimeout}
	if o.Timeout > 0 {
		n.timeout = o.Timeout
	}
	return n, nil
}

// serverAddr completes a server given by hand with port 53.
func serverAddr(s string) (string, error) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return net.JoinHostPort(a.String(), "53"), nil
	}
	if !strings.Contains(s, ":") && s != "" {
		return net.JoinHostPort(s, "53"), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", fmt.Errorf("resolver %q is not HOST:PORT", s)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return "", fmt.Errorf("resolver %q: bad port", s)
	}
	return net.JoinHostPort(host, port), nil
}

// fromConf reads resolv.conf(5). Without the file, or without a server in it,
// the one on this machine is asked, as the C library does.
func fromConf(path string, timeout time.Duration) (*network, error) {
	conf, err := dns.ClientConfigFromFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		conf = &dns.ClientConfig{Port: "53", Attempts: 2, Timeout: 5}
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(conf.Servers) == 0 {
		conf.Servers = []string{"127.0.0.1"}
	}
	n := &network{
		attempts: min(max(conf.Attempts, 1), maxAttempts),
		timeout:  min(max(time.Duration(conf.Timeout)*time.Second, time.Second), maxTimeout),
	}
	if timeout > 0 {
		n.timeout = timeout
	}
	for _, s := range conf.Servers[:min(len(conf.Servers), maxServers)] {
		a, err := netip.ParseAddr(s)
		n.servers = append(n.servers, server{net.JoinHostPort(s, conf.Port), err == nil && a.Unmap().IsLoopback()})
	}
	return n, nil
}

// exchange asks each server in turn until one answers. A server that said it
// cannot or will not is not asked again; one that was silent is, as often as
// configured. What a server said counts for more than another's silence.
func (n *network) exchange(ctx context.Context, name string, qtype uint16) (reply, error) {
	var failure *Error
	servers := n.servers
	for range n.attempts {
		var silent []server
		for _, s := range servers {
			m, err := n.ask(ctx, s.addr, name, qtype)
			if err == nil {
				return reply{m, s.addr, s.trusted}, nil
			}
			e := failed(err, s.addr, name, qtype)
			mute := e.Kind == Timeout || e.Kind == Network
			if failure == nil || !mute {
				failure = e
			}
			if ctx.Err() != nil {
				return reply{}, failure
			}
			if mute {
				silent = append(silent, s)
			}
		}
		servers = silent
	}
	return reply{}, failure
}

// failed makes an *Error of what went wrong with one server.
func failed(err error, addr, name string, qtype uint16) *Error {
	e := &Error{Name: name, Type: dns.TypeToString[qtype], Server: addr, Err: err}
	var timeout net.Error
	var code rcodeError
	switch {
	case errors.As(err, &code):
		e.Kind = code.kind()
		if code == dns.RcodeServerFailure || code == dns.RcodeRefused {
			e.Err = nil // the kind says it all
		}
	case errors.Is(err, errMalformed):
		e.Kind = Malformed
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Err = Timeout, context.DeadlineExceeded
	default:
		e.Kind = Network
	}
	return e
}

// rcodeError is an answer whose code is neither NOERROR nor NXDOMAIN.
type rcodeError int

func (c rcodeError) Error() string {
	if s, ok := dns.RcodeToString[int(c)]; ok {
		return "answer code " + s
	}
	return fmt.Sprintf("answer code %d", int(c))
}

func (c rcodeError) kind() Kind {
	if c == dns.RcodeRefused {
		return Refused
	}
	return ServFail
}

// ask puts the question to one server: by UDP, by TCP if the answer does not
// fit, and once more without EDNS0 to a server that knows nothing of it (RFC
// 6891 section 7).
func (n *network) ask(ctx context.Context, addr, name string, qtype uint16) (*dns.Msg, error) {
	u := n.upstream(addr)
	m, err := u.ask(ctx, question(name, qtype, true), n.timeout)
	if err == nil && m.IsEdns0() == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		m, err = u.ask(ctx, question(name, qtype, false), n.timeout)
	}
	if err != nil {
		return nil, err
	}
	return m, verdict(m)
}

func (n *network) upstream(addr string) *upstream {
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.upstreams[addr]
	if u == nil {
		u = newUpstream(addr)
		if n.upstreams == nil {
			n.upstreams = make(map[string]*upstream)
		}
		n.upstreams[addr] = u
	}
	return u
}

// verdict tells whether the answer is one. A referral is none: we want the
// server to do the walking (RFC 1034 section 5.3.1).
func verdict(m *dns.Msg) error {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return rcodeError(m.Rcode)
	case m.Rcode == dns.RcodeSuccess && !m.RecursionAvailable && !m.Authoritative && len(m.Answer) == 0:
		return fmt.Errorf("the server does not recurse: %w", rcodeError(dns.RcodeServerFailure))
	}
	return nil
}

// question makes a query. AD and DO ask the server to tell whether it has
// verified the answer.
func question(name string, qtype uint16, edns bool) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.AuthenticatedData = true
	if edns {
		q.SetEdns0(ednsSize, true)
	}
	return q
}

var (
	errStray     = errors.New("answer to another question")
	errMalformed = errors.New("cannot be read")
)

// fitting reads an answer and checks that it belongs to q: same id, same
// question (RFC 5452 section 9.1). It returns errStray for what may be anyone's
// and errMalformed for what carries our id but cannot be read.
func fitting(b []byte, q *dns.Msg) (*dns.Msg, error) {
	if len(b) < 12 || binary.BigEndian.Uint16(b) != q.Id || b[2]&0x80 == 0 {
		return nil, errStray
	}
	m := new(dns.Msg)
	err := m.Unpack(b)
	if len(m.Question) == 0 && m.Rcode == dns.RcodeFormatError {
		return m, nil // it could not even read the question
	}
	if len(m.Question) != 1 || m.Opcode != dns.OpcodeQuery {
		return nil, errStray
	}
	got, want := m.Question[0], q.Question[0]
	if !strings.EqualFold(got.Name, want.Name) || got.Qtype != want.Qtype || got.Qclass != want.Qclass {
		return nil, errStray
	}
	if err != nil && !m.Truncated {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return m, nil
}
