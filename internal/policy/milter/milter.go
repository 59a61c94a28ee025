// Package milter asks mail filters of the Sendmail kind (rspamd, OpenDKIM) about a transaction and applies what they change.
//
// It hides the protocol, versions 2 to 6, behind three questions: about the sender, a recipient and the message. A filter has
// one connection for each transaction, on which it is told of the client first, so that nothing of a session before STARTTLS or
// XCLIENT stays with it. Filters are asked in their order, and each sees the message as the one before left it.
//
// It guarantees that a filter that cannot be reached, stays silent or says what cannot be understood makes the answer a
// temporary one, or is passed over where that was asked for; that what it says takes a bounded time and memory; and that a
// header field it makes is one field.
package milter

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/d--j/go-milter"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// Limits of a filter.
const (
	dialTime  = 10 * time.Second
	replyTime = time.Minute     // for one answer
	totalTime = 8 * time.Minute // for a message; a client waits ten minutes for the reply to it (RFC 5321 section 4.5.3.2.6)
	maxSaid   = 256 << 20       // bytes that a filter may say in a transaction, a whole new body included
)

// Filters are those that are asked, in their order.
type Filters struct {
	Host   string // this host's name
	Accept bool   // pass over a filter that fails, rather than answer 451
	Log    *slog.Logger

	addrs []address
}

// address is where a filter listens.
type address struct{ network, where string }

func (a address) String() string { return a.network + ":" + a.where }

// Add adds the filter at HOST:PORT, inet:HOST:PORT or unix:PATH. Nothing is opened yet.
func (f *Filters) Add(addr string) error {
	network, where := "tcp", strings.TrimPrefix(addr, "inet:")
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, where = "unix", path
	}
	host, port, err := net.SplitHostPort(where)
	if where == "" || network == "tcp" && (err != nil || host == "" || port == "") {
		return fmt.Errorf("%q is no address of a milter: want HOST:PORT or unix:PATH", addr)
	}
	f.addrs = append(f.addrs, address{network, where})
	return nil
}

// open connects to a filter; it asks for the macros that Postfix sends by default.
func open(a address, macros *milter.MacroBag) (s *session, err error) {
	d := new(dialer)
	defer func() {
		if err != nil && d.conn != nil {
			d.conn.Close()
		}
	}()
	defer unreadable(&err)
	c, err := milter.NewClient(a.network, a.where,
		milter.WithDialer(d), milter.WithReadTimeout(replyTime), milter.WithWriteTimeout(replyTime),
		milter.WithMacroRequest(milter.StageConnect, []string{"j", "v", "{daemon_name}", "{daemon_addr}", "{daemon_port}",
			"{client_addr}", "{client_port}", "{client_name}"}),
		milter.WithMacroRequest(milter.StageHelo, []string{"{tls_version}", "{cipher}", "{cipher_bits}"}),
		milter.WithMacroRequest(milter.StageMail, []string{"i", "{auth_type}", "{auth_authen}", "{mail_addr}", "{mail_host}", "{mail_mailer}"}),
		milter.WithMacroRequest(milter.StageRcpt, []string{"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"}),
		milter.WithMacroRequest(milter.StageData, []string{"i"}),
		milter.WithMacroRequest(milter.StageEOH, []string{"i"}),
		milter.WithMacroRequest(milter.StageEOM, []string{"i"}),
	).Session(macros)
	if err != nil {
		return nil, err
	}
	return &session{c, macros, d.conn, a.String()}, nil
}

// Session is who sends.
type Session struct {
	Conn      envelope.Connection
	Mechanism string // by which Conn.AuthUser has logged in
}

// Transaction is one message on its way through the filters. It is to be closed.
type Transaction struct {
	filters *Filters
	live    []*session
	discard bool
	spools  []*message.Message
}

// session is a connection to one filter.
type session struct {
	*milter.ClientSession
	macros *milter.MacroBag
	conn   *bounded
	name   string
}

// Begin tells the filters of a client and its sender. An error is their refusal, a *status.Error; there is no transaction then.
func (f *Filters) Begin(c Session, sender envelope.Address) (*Transaction, error) {
	t := &Transaction{filters: f}
	for _, a := range f.addrs {
		macros := clientMacros(f.Host, c)
		setAddress(macros, "mail", sender)
		s, err := open(a, macros)
		if err == nil {
			t.live = append(t.live, s)
			continue
		}
		if err := t.failed(a.String(), err); err != nil {
			t.Close()
			return nil, err
		}
	}
	steps := []func(*session) (*milter.Action, error){
		func(s *session) (*milter.Action, error) { return connect(s, c.Conn) },
		func(s *session) (*milter.Action, error) { return s.Helo(c.Conn.Helo) },
		func(s *session) (*milter.Action, error) { return s.Mail(sender.String(), "") },
	}
	for _, step := range steps {
		if err := t.each(step); err != nil {
			t.Close()
			return nil, err
		}
	}
	return t, nil
}

// Rcpt tells the filters of a recipient that would be taken. An error refuses this one. id names the transaction.
func (t *Transaction) Rcpt(id string, to envelope.Address) error {
	return t.each(func(s *session) (*milter.Action, error) {
		s.macros.Set("i", id)
		setAddress(s.macros, "rcpt", to)
		return s.Rcpt(to.String(), "")
	})
}

// Message shows the message to the filters and returns what they made of it: a view of m, which is as good as long as m is and
// the transaction is not closed. It may change e: its sender, and Quarantine. An error refuses the message, and with neither it
// is to be dropped. The first Received field is ours and not shown.
func (t *Transaction) Message(m *message.Message, e *envelope.Envelope) (*message.Message, error) {
	if err := t.each(func(s *session) (*milter.Action, error) { return s.DataStart() }); err != nil {
		return nil, err
	}
	for len(t.live) > 0 {
		s := t.live[0]
		s.conn.end = time.Now().Add(totalTime)
		var changes []milter.ModifyAction
		act, err := guard(s, func(s *session) (act *milter.Action, err error) {
			changes, act, err = show(s, m)
			return act, err
		})
		if err == nil && (act.Type == milter.ActionContinue || act.Type == milter.ActionAccept) {
			m, err = t.apply(m, e, changes, s.ProtocolOption(milter.OptHeaderLeadingSpace))
		}
		if err == nil && act.Type == milter.ActionContinue {
			act = &milter.Action{Type: milter.ActionAccept} // it has said all
		}
		if err := t.judge(s, act, err); err != nil {
			return nil, err
		}
	}
	if t.discard {
		return nil, nil
	}
	return m, nil
}

// Close ends the transaction, wherever it stands.
func (t *Transaction) Close() {
	for _, s := range t.live {
		s.Close()
	}
	for _, m := range t.spools {
		m.Close()
	}
	t.live, t.spools = nil, nil
}

// each asks all filters that are still asked.
func (t *Transaction) each(ask func(*session) (*milter.Action, error)) error {
	for _, s := range append([]*session(nil), t.live...) {
		if t.discard {
			break
		}
		act, err := guard(s, ask)
		if err := t.judge(s, act, err); err != nil {
			return err
		}
	}
	return nil
}

// guard asks one filter. The library reads a byte of an empty packet that is not there.
func guard(s *session, ask func(*session) (*milter.Action, error)) (act *milter.Action, err error) {
	defer unreadable(&err)
	return ask(s)
}

// unreadable makes an error of a panic.
func unreadable(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("a packet that cannot be read: %v", p)
	}
}

// judge is what an answer means: a refusal, or nil. A filter that has accepted, or failed and is passed over, is asked no more.
func (t *Transaction) judge(s *session, act *milter.Action, err error) error {
	var refusal *status.Error
	switch {
	case errors.As(err, &refusal):
		return refusal
	case err != nil:
		if err := t.failed(s.name, err); err != nil {
			return err
		}
		t.drop(s)
	case act.Type == milter.ActionAccept:
		t.drop(s)
	case act.Type == milter.ActionDiscard:
		t.filters.Log.Info("milter discards the message", "milter", s.name)
		t.discard = true
		for len(t.live) > 0 {
			t.drop(t.live[0])
		}
	case act.StopProcessing():
		return refused(act)
	}
	return nil
}

func (t *Transaction) drop(s *session) {
	s.Close()
	for i, l := range t.live {
		if l == s {
			t.live = append(t.live[:i:i], t.live[i+1:]...)
			return
		}
	}
}

// failed is what a filter's failure means: nil where filters that fail are passed over.
func (t *Transaction) failed(name string, err error) error {
	t.filters.Log.Warn("milter failed", "milter", name, "err", status.Escape(err.Error(), 300))
	if t.filters.Accept {
		return nil
	}
	return status.Errorf(status.TempFail, "Service unavailable - try again later").WithReply(451, "4.7.1")
}

// refused is a filter's refusal as the client gets it.
func refused(act *milter.Action) error {
	r, err := smtp.ReadReply(bufio.NewReader(strings.NewReader(act.SMTPReply + "\r\n")))
	if err != nil || r.Code < 400 || r.Code > 599 {
		return status.Errorf(status.TempFail, "Service unavailable - try again later").WithReply(451, "4.7.1")
	}
	if r.Enhanced == "" {
		r.Enhanced = fmt.Sprintf("%d.7.1", r.Code/100)
	}
	return r.Err()
}

// connect tells of the client, in the way of Postfix: the verified name, or the address in brackets.
func connect(s *session, c envelope.Connection) (*milter.Action, error) {
	name := c.RemoteHost
	var port uint16
	fmt.Sscanf(c.RemotePort, "%d", &port)
	switch {
	case c.RemoteIP == "":
		return s.Conn("localhost", milter.FamilyInet, 0, "127.0.0.1")
	case name == "":
		name = "[" + c.RemoteIP + "]"
	}
	if strings.Contains(c.RemoteIP, ":") {
		return s.Conn(name, milter.FamilyInet6, port, c.RemoteIP)
	}
	return s.Conn(name, milter.FamilyInet, port, c.RemoteIP)
}

// clientMacros are what Postfix tells of a client in macros, as far as it is known.
func clientMacros(host string, c Session) *milter.MacroBag {
	m := milter.NewMacroBag()
	set := func(name, value string) {
		if value != "" {
			m.Set(name, value)
		}
	}
	version, cipher, _ := strings.Cut(c.Conn.TLS, " ")
	set("j", host)
	set("v", "pennypost")
	set("{daemon_name}", "smtpd")
	set("{daemon_addr}", c.Conn.LocalIP)
	set("{daemon_port}", c.Conn.LocalPort)
	set("{client_addr}", c.Conn.RemoteIP)
	set("{client_port}", c.Conn.RemotePort)
	set("{client_name}", c.Conn.RemoteHost)
	set("{tls_version}", version)
	set("{cipher}", cipher)
	set("{cipher_bits}", cipherBits(cipher))
	set("{auth_authen}", c.Conn.AuthUser)
	set("{auth_type}", c.Mechanism)
	return m
}

// cipherBits is the length of the key of a cipher, by its name.
func cipherBits(cipher string) string {
	switch {
	case strings.Contains(cipher, "AES_128"):
		return "128"
	case strings.Contains(cipher, "AES_256"), strings.Contains(cipher, "CHACHA20"):
		return "256"
	}
	return ""
}

// setAddress sets {KIND_addr}, {KIND_host} and {KIND_mailer}.
func setAddress(m *milter.MacroBag, kind string, a envelope.Address) {
	m.Set("{"+kind+"_addr}", a.String())
	m.Set("{"+kind+"_host}", a.Domain)
	m.Set("{"+kind+"_mailer}", "esmtp")
}

// dialer opens one connection and keeps it.
type dialer struct{ conn *bounded }

func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	c, err := net.DialTimeout(network, addr, dialTime)
	if err != nil {
		return nil, err
	}
	d.conn = &bounded{Conn: c, left: maxSaid}
	return d.conn, nil
}

// bounded is a connection that reads no more than left, and whose deadlines are never beyond end when it is set.
type bounded struct {
	net.Conn
	end  time.Time
	left int64
}

func (b *bounded) cap(t time.Time) time.Time {
	if !b.end.IsZero() && (t.IsZero() || t.After(b.end)) {
		return b.end
	}
	return t
}

func (b *bounded) SetReadDeadline(t time.Time) error  { return b.Conn.SetReadDeadline(b.cap(t)) }
func (b *bounded) SetWriteDeadline(t time.Time) error { return b.Conn.SetWriteDeadline(b.cap(t)) }

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the milter says too much")
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
