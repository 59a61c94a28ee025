package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"pennypost/internal/status"
)

// How long the client waits (RFC 5321 section 4.5.3.2). The context's deadline goes before all of them.
const (
	waitGreeting  = 5 * time.Minute
	waitHello     = 5 * time.Minute
	waitHandshake = 2 * time.Minute
	waitMail      = 5 * time.Minute
	waitRcpt      = 5 * time.Minute
	waitData      = 2 * time.Minute
	waitBlock     = 3 * time.Minute
	waitDot       = 10 * time.Minute
	waitQuit      = 30 * time.Second // the fate of the message is known: nobody needs this reply
	waitLastWord  = time.Second      // for the reason of a server that closed the connection on us
)

// Dialer makes a connection. It is called again when a handshake that was not demanded failed.
type Dialer func(ctx context.Context) (net.Conn, error)

// Options say how to begin a session.
type Options struct {
	Helo string  // our name; empty = the address literal of our end of the connection (RFC 5321 section 4.1.4)
	LMTP bool    // RFC 2033 instead of SMTP
	TLS  TLSMode // what is demanded

	// TLSConfig is that of TLSRequired and TLSImplicit. TLSOffered checks nothing and takes ServerName, Certificates, MaxVersion
	// and sessions of it.
	TLSConfig *tls.Config
	Verifies  bool                      // TLSConfig verifies by means of its own, such as a pin: no chain is needed for REQUIRETLS
	Strict    bool                      // TLSOffered: a handshake that fails ends the attempt
	Shook     func(tls.ConnectionState) // told of each handshake, or nil

	Auth      []Mechanism // log in by the first of these that the server offers; empty = do not
	AuthIf    bool        // go on without logging in where the server offers none of them
	ClearAuth bool        // a mechanism may send the secret where TLS is not demanded, to another host too

	Network Network  // for those who dial; Connect does not use it
	Header  Header   // what is written before anything else, or nil
	XClient []string // attributes of XCLIENT commands, after TLS: who we pretend to be

	XClientIf    bool // go on without XCLIENT where the server does not offer it
	XClientEarly bool // say it before STARTTLS

	NoEhlo     bool         // say HELO, and use no extension
	NoPipeline bool         // wait for each reply, whatever is offered
	Chunking   Chunking     // when to use BDAT
	WrapLines  bool         // re-encode lines of more than 998 bytes instead of refusing the message
	Warn       func(string) // told what became of a message on its way that its author should know, or nil

	Stop       Stage       // end the session there, by QUIT where it may stand
	Drop       bool        // end it by closing the connection
	Transcript *Transcript // or nil
}

// Header makes what goes before the session, such as that of the PROXY protocol.
type Header func(net.Conn) ([]byte, error)

// Client is one session with a server, past the greeting. It is not safe for concurrent use.
type Client struct {
	o     Options
	raw   net.Conn // the connection, or the tls.Conn over it
	conn  net.Conn // raw with the transcript
	r     *bufio.Reader
	tls   *tls.ConnectionState // nil = in clear
	esmtp map[string]string    // EHLO keywords in upper case, and their parameters
	open  bool                 // a transaction may be open: RSET before the next
	begun int                  // transactions
	out   *bufio.Writer        // of message data
	dial  Dialer
	// of Options.Stop
	stopped, dropped bool
	broken           error // why no further command can be sent
	extra            Reply // that answers nothing, and broke the session
}

// handshakeError is a TLS handshake that failed after the server agreed to one.
type handshakeError struct{ err error }

func (h *handshakeError) Error() string { return "TLS handshake: " + h.err.Error() }
func (h *handshakeError) Unwrap() error { return h.err }

// Connect dials, reads the greeting, says EHLO (or HELO to a server that knows no EHLO, or LHLO), changes to TLS
// and logs in, as the options demand. Errors are *status.Error and of the server as a whole, so the next host may still
// take the message: they are permanent only when the server refused with a 5xx.
//
// When TLS is demanded there is no way back to clear text. When it is not, a failed handshake is followed by
// one more connection without TLS (RFC 7435), and a refused STARTTLS by going on in clear. Bytes that came in clear after
// the reply to STARTTLS end the attempt in any case: somebody put them there (RFC 3207 section 6).
func Connect(ctx context.Context, dial Dialer, o Options) (*Client, error) {
	c, err := connect(ctx, dial, o)
	var h *handshakeError
	if o.TLS == TLSOffered && !o.Strict && errors.As(err, &h) && ctx.Err() == nil {
		o.Transcript.Remark("%v; once more, in clear", h)
		o.TLS = TLSNone
		return connect(ctx, dial, o)
	}
	return c, err
}

func connect(ctx context.Context, dial Dialer, o Options) (*Client, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, status.Errorf(status.TempFail, "%w", err).WithReply(451, "4.4.1")
	}
	c := &Client{o: o, dial: dial}
	c.use(conn)
	defer c.watch(ctx)()
	if err := c.begin(ctx); err != nil {
		c.conn.Close()
		return nil, err
	}
	if c.stopped {
		c.halt(ctx)
	}
	return c, nil
}

func (c *Client) use(conn net.Conn) {
	c.raw, c.conn = conn, c.o.Transcript.Conn(conn)
	c.r = bufio.NewReader(c.conn)
}

// begin is everything before the first transaction.
func (c *Client) begin(ctx context.Context) error {
	if err := c.header(ctx); err != nil || c.stopAt(StageConnect) {
		return err
	}
	if c.o.TLS == TLSImplicit {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	if err := c.greeting(ctx); err != nil || c.stopAt(StageBanner) {
		return err
	}
	steps := []beginning{{c.hello, StageEhlo}, {c.startTLS, StageTLS}, {c.xclient, NoStage}, {c.login, StageAuth}}
	if c.o.XClientEarly {
		steps[1], steps[2] = steps[2], steps[1]
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil || c.stopAt(step.then) {
			return err
		}
	}
	return nil
}

func (c *Client) greeting(ctx context.Context) error {
	rep, err := c.reply(ctx, waitGreeting)
	if err != nil {
		return err
	}
	return expect(rep, 220, "greeting")
}

// hello says EHLO or LHLO and notes what is offered. A 5xx to EHLO is answered by HELO.
func (c *Client) hello(ctx context.Context) error {
	verb, name := "EHLO ", c.o.Helo
	if name == "" {
		name = Literal(c.raw.LocalAddr())
	}
	if !ValidName(name) {
		return status.Errorf(status.Config, "our own name %q cannot be said in EHLO", name)
	}
	if c.o.LMTP {
		verb = "LHLO "
	}
	c.esmtp = nil
	if c.o.NoEhlo && !c.o.LMTP {
		return c.helo(ctx, name)
	}
	rep, err := c.command(ctx, waitHello, verb+name)
	if err != nil {
		return err
	}
	if rep.Permanent() && !c.o.LMTP {
		return c.helo(ctx, name)
	}
	if err := expect(rep, 250, strings.TrimSpace(verb)); err != nil {
		return err
	}
	c.esmtp = make(map[string]string)
	for _, l := range rep.Lines[1:] {
		word, params, _ := strings.Cut(strings.TrimSpace(l), " ")
		c.esmtp[strings.ToUpper(word)] = strings.TrimSpace(params)
	}
	return nil
}

// helo is the greeting that offers nothing (RFC 5321 section 3.2).
func (c *Client) helo(ctx context.Context, name string) error {
	rep, err := c.command(ctx, waitHello, "HELO "+name)
	if err != nil {
		return err
	}
	return expect(rep, 250, "HELO")
}

// startTLS changes to TLS where it is demanded, or wanted and offered, and says EHLO again: nothing said before counts
// (RFC 3207 section 4.2).
func (c *Client) startTLS(ctx context.Context) error {
	if c.o.TLS == TLSNone || c.o.TLS == TLSImplicit {
		return nil
	}
	must := c.o.TLS == TLSRequired
	if _, offered := c.esmtp["STARTTLS"]; !offered {
		if must {
			return status.Errorf(status.TempFail, "TLS is required and not offered").WithReply(451, "4.7.4")
		}
		return nil
	}
	rep, err := c.command(ctx, waitHello, "STARTTLS")
	if err != nil {
		return err
	}
	if rep.Code != 220 {
		if must {
			return status.Errorf(status.TempFail, "TLS is required and was refused: %s", rep).WithReply(451, "4.7.4")
		}
		return nil
	}
	if c.r.Buffered() > 0 {
		return status.Errorf(status.Protocol, "STARTTLS: the server, or somebody between, sent more in clear behind its reply").WithReply(451, "4.7.5")
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	return c.hello(ctx)
}

func (c *Client) handshake(ctx context.Context) error {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10} // any TLS is better than none
	if c.o.TLS != TLSOffered {
		config = c.o.TLSConfig.Clone()
	} else if c.o.TLSConfig != nil {
		given := c.o.TLSConfig
		config.ServerName, config.Certificates, config.ClientSessionCache = given.ServerName, given.Certificates, given.ClientSessionCache
		config.MaxVersion = given.MaxVersion
	}
	conn := tls.Client(c.raw, config)
	c.until(ctx, waitHandshake)
	if err := conn.HandshakeContext(ctx); err != nil {
		return status.Errorf(status.TempFail, "%w", &handshakeError{err}).WithReply(451, "4.7.5")
	}
	state := conn.ConnectionState()
	c.tls = &state
	c.use(conn)
	c.o.Transcript.TLS(state)
	if c.o.Shook != nil {
		c.o.Shook(state)
	}
	return nil
}

// TLS is the state of the connection, or nil in clear.
func (c *Client) TLS() *tls.ConnectionState { return c.tls }

// Extension says whether the server offered an EHLO keyword (upper case), and with which parameters.
func (c *Client) Extension(keyword string) (params string, ok bool) {
	params, ok = c.esmtp[keyword]
	return params, ok
}

// Err says why the session can take no further message, or nil.
func (c *Client) Err() error { return c.broken }

// Quit ends the session politely, and the connection. Its outcome changes nothing for the messages sent.
func (c *Client) Quit(ctx context.Context) {
	defer c.watch(ctx)()
	if c.broken == nil {
		c.command(ctx, waitQuit, "QUIT")
	}
	c.conn.Close()
}

// Close drops the connection.
func (c *Client) Close() { c.conn.Close() }

// command sends one line and reads its reply.
func (c *Client) command(ctx context.Context, wait time.Duration, line string) (Reply, error) {
	if err := c.quiet(ctx); err != nil {
		return Reply{}, err
	}
	c.until(ctx, wait)
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return Reply{}, c.fail(ctx, err)
	}
	return c.reply(ctx, wait)
}

// reply reads one reply. A 421 means that the server is about to close (RFC 5321 section 3.8): it is returned, and no
// further command is sent.
func (c *Client) reply(ctx context.Context, wait time.Duration) (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	c.until(ctx, wait)
	rep, err := ReadReply(c.r)
	if err != nil {
		return Reply{}, c.fail(ctx, err)
	}
	if rep.Code == 421 {
		c.broken = rep.Err()
	}
	return rep, nil
}

// quiet makes sure that the server has said nothing that was not asked for: the next reply would be taken for another's.
func (c *Client) quiet(ctx context.Context) error {
	if c.broken != nil || c.r.Buffered() == 0 {
		return c.broken
	}
	rep, err := c.reply(ctx, waitLastWord)
	if err == nil && rep.Code != 421 {
		c.extra = rep
		c.broken = status.Errorf(status.Protocol, "the server sent a reply too many: %s", rep)
	}
	return c.broken
}

// fail ends the use of the connection for err, in words that say what happened.
func (c *Client) fail(ctx context.Context, err error) error {
	if c.broken != nil {
		return c.broken
	}
	var timeout net.Error
	end, limited := ctx.Deadline()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("given up: %w", context.Cause(ctx))
	case limited && !time.Now().Before(end): // the connection may notice before ctx does
		err = fmt.Errorf("given up: %w", context.DeadlineExceeded)
	case errors.As(err, &timeout) && timeout.Timeout():
		err = fmt.Errorf("the server does not answer: %w", err)
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the server closed the connection: %w", err)
	}
	var known *status.Error // a reply that is none, from ReadReply
	if !errors.As(err, &known) {
		err = status.Errorf(status.TempFail, "%w", err).WithReply(451, "4.4.2")
	}
	c.broken = status.Of(err)
	c.conn.Close()
	return c.broken
}

// watch makes the end of ctx end every wait on the connection. The function it returns must be called in the end.
func (c *Client) watch(ctx context.Context) (stop func()) {
	raw := c.raw
	stopped := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	return func() { stopped() }
}

// until sets the deadline for the next reads and writes.
func (c *Client) until(ctx context.Context, wait time.Duration) {
	t := time.Now().Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		t = d
	}
	c.raw.SetDeadline(t)
	if ctx.Err() != nil { // watch may have come before
		c.raw.SetDeadline(time.Unix(1, 0))
	}
}

// expect makes an error of a reply that is not the one code that means yes.
func expect(rep Reply, code int, what string) error {
	if rep.Code == code {
		return nil
	}
	if e := rep.Err(); e != nil {
		return e
	}
	return status.Errorf(status.Protocol, "%s: unexpected reply %s", what, rep)
}

// Literal is the name of a host that has none: its address (RFC 5321 section 4.1.3).
func Literal(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	switch ip := ap.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "localhost"
	case ip.Is4():
		return "[" + ip.String() + "]"
	default:
		return "[IPv6:" + ip.String() + "]"
	}
}

// ValidName says whether s can be said in EHLO: one word of the characters a domain or an address literal has.
func ValidName(s string) bool {
	return s != "" && len(s) <= 255 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-._:[]") == ""
}
