package smtp

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// readBuffer holds the longest command line, so that one line is one slice of it.
const readBuffer = 16 << 10

var errStopping = errors.New("the server is shutting down")

// session is one connection's dialogue. Its states are those of the verb table in verbs.go.
type session struct {
	srv      *Engine
	ctx      context.Context
	conn     net.Conn // the connection as it is now: in clear or in TLS, with the transcript on it
	raw      net.Conn // the connection below all that
	in       *bufio.Reader
	out      *bufio.Writer
	trace    *Transcript
	record   *Transcript
	recordTo io.WriteCloser
	facts    Facts

	state   state
	peerIP  string // who is at the other end, whatever XCLIENT says
	local   bool   // no peer on the network
	secure  bool   // TLS is on
	closing bool   // the next reply is the last
	started time.Time

	errors    int // commands refused since the last message
	junk      int // commands since the last message that led to none
	logins    int // failed logins
	penalised int // failed logins that were made to wait

	refused int           // recipients refused in this transaction
	names   int           // bytes of RECIPIENTS so far, or of what stands beside them
	began   time.Time     // of the transaction
	handled time.Duration // what the handler took for the message
	chunks  *receiver     // of a message that comes by BDAT

	inData   bool      // deadlines are those of message data
	patience patience  // for message data
	deadline time.Time // for the command that is awaited
	lost     error     // why nothing more can be read or written
	stop     func()
}

// newSession prepares a session; nothing is read or written yet.
func newSession(ctx context.Context, srv *Engine, c net.Conn, info envelope.Connection) *session {
	s := &session{srv: srv, ctx: ctx, raw: c, started: time.Now(), state: connected, peerIP: info.RemoteIP, local: info.RemoteIP == ""}
	if srv.Trace != nil {
		s.trace = NewTranscript(srv.Trace, ServerRole)
	}
	s.facts = Facts{Session: srv.NewID(), Envelope: &envelope.Envelope{Conn: info}, Service: srv.Service}
	s.secure = info.TLS != ""
	s.patience = newPatience(srv.DataTimeout, srv.MinRate)
	if srv.Record != nil {
		s.recordTo = srv.Record(&s.facts)
		s.record = NewRecording(s.recordTo, ServerRole)
	}
	s.use(s.record.Conn(s.trace.Conn(c)))
	s.stop = s.watch()
	return s
}

// use makes c the connection that is read and written. Reading flushes what is to be written first, so replies to
// pipelined commands leave together and never later than the session waits (RFC 2920 section 3.2).
func (s *session) use(c net.Conn) {
	s.conn = c
	s.in = bufio.NewReaderSize(sessionReader{s}, readBuffer)
	s.out = bufio.NewWriterSize(c, 4096)
}

// sessionReader is what the buffer reads from: it flushes, sets the deadline and reads.
type sessionReader struct{ s *session }

func (r sessionReader) Read(b []byte) (int, error) {
	s := r.s
	if err := s.flush(); err != nil {
		return 0, err
	}
	for {
		limit := s.deadline
		if s.inData {
			limit = time.Now().Add(s.patience.left)
		}
		limit = s.cap(limit)
		s.conn.SetReadDeadline(limit) // a pipe that has no deadlines is still ended by its writer
		if err := s.interrupted(); err != nil {
			return 0, err
		}
		asked := time.Now()
		n, err := s.conn.Read(b)
		if s.inData {
			s.patience.spend(time.Since(asked), n)
		}
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(limit) {
			continue // woken to look whether it is time to stop
		}
		return n, err
	}
}

// interrupted is errStopping when the session is to end here: at once when its context is done, between transactions when
// the server wants to stop.
func (s *session) interrupted() error {
	if s.ctx.Err() != nil {
		return errStopping
	}
	select {
	case <-s.srv.Stopping:
		if s.state < sending && !s.inData {
			return errStopping
		}
	default:
	}
	return nil
}

// watch wakes a read that waits when the session is to end; the read finds its deadline in the past. It returns what ends
// the watch.
func (s *session) watch() func() {
	wake := func() { s.raw.SetReadDeadline(time.Unix(1, 0)) }
	stop := context.AfterFunc(s.ctx, wake)
	if s.srv.Stopping == nil {
		return func() { stop() }
	}
	over := make(chan struct{})
	go func() {
		select {
		case <-s.srv.Stopping:
			wake()
		case <-over:
		}
	}()
	return func() { stop(); close(over) }
}

// cap returns the earlier of t and the end of the session's total time.
func (s *session) cap(t time.Time) time.Time {
	if end := s.started.Add(s.srv.TotalTimeout); end.Before(t) {
		return end
	}
	return t
}

func (s *session) flush() error {
	if s.out.Buffered() == 0 {
		return nil
	}
	s.conn.SetWriteDeadline(time.Now().Add(s.srv.DataTimeout))
	if err := s.out.Flush(); err != nil {
		s.lost = err
		return err
	}
	return nil
}

// reply puts a reply into the buffer. Outside of an SMTPUTF8 transaction it is ASCII (RFC 6531 section 3.7.4).
func (s *session) reply(r Reply) {
	if !s.facts.Envelope.SMTPUTF8 {
		r.Lines = slices.Clone(r.Lines)
		for i, l := range r.Lines {
			r.Lines[i] = strings.Map(asciiOnly, l)
		}
	}
	s.srv.Counts.reply(r.Code)
	r.WriteTo(s.out) // an error stays in the bufio.Writer until flush
}

func asciiOnly(r rune) rune {
	if r > '~' {
		return '?'
	}
	return r
}

// refuse replies and makes this reply the last.
func (s *session) refuse(r Reply) {
	s.reply(r)
	s.closing = true
}

// greet sends the banner (RFC 5321 section 4.3.1), unless the handler does not want the client or the client talks first.
func (s *session) greet() bool {
	if s.srv.TLSOnly && !s.secure {
		if err := s.handshake(); err != nil {
			s.tlsFailed(err)
			return false
		}
	}
	err := s.refusePort()
	if err == nil {
		err = s.srv.Handler.Connect(s.ctx, &s.facts)
	}
	if err != nil {
		s.logRefusal("connection refused", err)
		s.refuse(errorReply(err))
		return false
	}
	switch early := s.talksFirst(); {
	case s.closing || s.lost != nil:
		return false
	case early:
		s.refuse(s.tooEarly())
		return false
	}
	s.reply(s.banner())
	return true
}

func (s *session) banner() Reply {
	protocol := " ESMTP"
	if s.srv.Service == LMTP {
		protocol = " LMTP"
	}
	return Reply{220, "", []string{s.srv.Name + protocol}}
}

// talksFirst waits for GreetDelay and says whether something came in that time or was there already.
func (s *session) talksFirst() bool {
	if s.local || s.secure {
		return false
	}
	delay := s.srv.GreetDelay
	if delay == 0 && s.waiting() {
		delay = atHand
	}
	s.deadline = time.Now().Add(delay)
	_, err := s.in.Peek(1)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.inputLost(err)
	}
	return err == nil
}

// tooEarly is the reply to a client that talks before the banner, or in TLS where none is spoken.
func (s *session) tooEarly() Reply {
	if first, _ := s.in.Peek(1); len(first) == 1 && first[0] == tlsHello {
		return noTLSPort()
	}
	return Reply{554, "5.5.0", []string{"Error: talk only after the banner (RFC 5321 section 3.1)"}}
}

func noTLSPort() Reply {
	return Reply{554, "5.5.0", []string{"Error: this is not a TLS port; use STARTTLS"}}
}

// loop reads commands and answers them until the session ends.
func (s *session) loop() {
	for !s.closing && s.lost == nil {
		s.deadline = time.Now().Add(s.srv.CommandTimeout)
		line, err := s.readCommand()
		if err != nil {
			s.inputFailed(err)
			continue
		}
		r := s.execute(line)
		if r.Code != 0 {
			s.reply(r)
		}
		s.count(r)
	}
}

// count closes the session of a client that does nothing but make mistakes or noise. A recipient for which there is no room
// is no mistake: the client sends to those that were taken, and to the others later.
func (s *session) count(r Reply) {
	if r.Code >= 400 && r.Enhanced != noRoom {
		s.errors++
	}
	s.penalise()
	if r.Code == 421 { // RFC 5321 section 3.8
		s.closing = true
	}
	if s.closing || s.lost != nil {
		return
	}
	switch {
	case s.errors >= s.srv.MaxErrors:
		s.refuse(Reply{421, "4.7.0", []string{s.srv.Name + " Error: too many errors"}})
	case s.junk >= s.srv.MaxJunk:
		s.refuse(Reply{421, "4.7.0", []string{s.srv.Name + " Error: too many commands without mail"}})
	case s.logins >= s.srv.MaxLogins:
		s.refuse(Reply{421, "4.7.0", []string{s.srv.Name + " Error: too many failed logins"}})
	}
}

// inputFailed answers what readCommand reports. Only a line that is too long leaves the session open.
func (s *session) inputFailed(err error) {
	switch {
	case errors.Is(err, errLongLine):
		r := Reply{500, "5.5.2", []string{"Error: line too long"}}
		s.reply(r)
		s.count(r)
	case errors.Is(err, errBareLF):
		s.refuse(Reply{500, "5.5.2", []string{"Error: bare LF in a command (RFC 5321 section 2.3.8)"}})
	case errors.Is(err, errTLSHello):
		s.refuse(noTLSPort())
	default:
		s.inputLost(err)
	}
}

// inputLost ends the session after a failed read, with 421 where somebody may still be listening.
func (s *session) inputLost(err error) {
	switch {
	case errors.Is(err, errStopping):
		s.refuse(Reply{421, "4.3.2", []string{s.srv.Name + " Error: shutting down"}})
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.refuse(s.slow())
	default:
		s.lost = err
	}
}

// end flushes the last reply, lets the client read it and closes everything. A message that has begun to come by BDAT is
// lost, and that is its fate in the log.
func (s *session) end() {
	s.stop()
	if s.chunks != nil {
		s.logFate(errors.New("session ended inside the message"), s.chunks.size)
	}
	s.reset()
	if s.lost == nil {
		s.flush()
		s.linger()
	}
	s.trace.Flush()
	if s.record != nil {
		s.endRecord()
	}
	s.conn.Close()
	s.raw.Close()
}

// linger says that nothing more comes and reads away what the client still sends, for a second at most: a connection closed
// over unread input is reset, and the client never sees the last reply. What comes after a local session is for somebody else.
func (s *session) linger() {
	half, ok := s.raw.(interface{ CloseWrite() error })
	if !ok || s.local || s.lost != nil {
		return
	}
	if s.secure {
		if t, ok := s.conn.(interface{ CloseWrite() error }); ok {
			t.CloseWrite()
		}
	}
	if half.CloseWrite() != nil {
		return
	}
	s.raw.SetReadDeadline(time.Now().Add(time.Second))
	io.CopyN(io.Discard, s.raw, 1<<20)
}

// reset forgets the transaction, not the session (RFC 5321 section 4.1.1.5).
func (s *session) reset() {
	s.srv.Handler.Reset(&s.facts)
	if s.chunks != nil {
		s.chunks.discard()
		s.chunks = nil
	}
	s.facts.ID, s.facts.Attrs = "", nil
	s.facts.Envelope = &envelope.Envelope{Conn: s.facts.Envelope.Conn}
	s.refused, s.names = 0, 0
	s.state = min(s.state, greeted)
}

// accept puts the trace on top of the message, hands it to the handler and returns the reply to the end of data, unless that is
// several. It closes m.
func (s *session) accept(m *message.Message) Reply {
	defer m.Close()
	trace := s.traceField()
	top, err := s.examine(m.Prepend(trace))
	if err != nil {
		s.logFate(err, m.Size())
		return s.refuseMessage(err, true)
	}
	if s.srv.Service == LMTP {
		s.acceptEach(top, trace, m.Size())
		return Reply{}
	}
	r := s.handOn(top, m.Size())
	s.reset()
	return r
}

// traceField is our Received field for the envelope as it is now.
func (s *session) traceField() []byte {
	return []byte(receivedField(s.srv.Name, &s.facts, s.secure, s.srv.Now()))
}

// examine lets the handler look at a message that comes to all recipients. The result is nil for one that goes nowhere.
func (s *session) examine(top *message.Message) (*message.Message, error) {
	x, ok := s.srv.Handler.(Examiner)
	if !ok {
		return top, nil
	}
	end := s.srv.Counts.handle()
	defer func() { s.handled = end() }()
	return x.Examine(s.ctx, &s.facts, top)
}

// handOn gives the message with its trace, or nil, to the handler, for the envelope as it is now. size is the message's as it
// came.
func (s *session) handOn(top *message.Message, size int64) Reply {
	var err error
	if top != nil {
		end := s.srv.Counts.handle()
		err = s.srv.Handler.Data(s.ctx, &s.facts, top)
		s.handled += end()
	}
	s.logFate(err, size)
	if err != nil {
		return errorReply(err)
	}
	s.errors, s.junk = 0, 0
	return Reply{250, "2.0.0", []string{"Ok: queued as " + s.facts.ID}}
}

// errorReply is how an error is told to the client.
func errorReply(err error) Reply {
	e := status.Of(err)
	return Reply{e.Code, e.Enhanced, []string{e.Text}}
}

// logFate writes the one line that says what became of a message: handler is the time for which it was out of the engine's
// hands, took the time since MAIL.
func (s *session) logFate(err error, size int64) {
	env := s.facts.Envelope
	said := "250 2.0.0"
	if err != nil {
		said = status.Of(err).Line()
	}
	rcpt := make([]string, len(env.Recipients))
	for i, a := range env.Recipients {
		rcpt[i] = a.String()
	}
	s.srv.Counts.message(err, size)
	attrs := []any{"sid", s.facts.Session, "id", s.facts.ID, "peer", peerName(env.Conn), "tls", env.Conn.TLS,
		"auth", env.Conn.AuthUser, "from", env.Sender.String(), "rcpt", status.Escape(strings.Join(rcpt, ","), 1000),
		"size", size, "status", said, "handler", s.handled.Round(time.Microsecond), "took", time.Since(s.began).Round(time.Microsecond)}
	for _, a := range s.facts.Attrs {
		attrs = append(attrs, a)
	}
	s.srv.Log.Info("message", attrs...)
	s.handled = 0
}

// logRefusal writes what was refused before there was a message.
func (s *session) logRefusal(what string, err error, more ...any) {
	attrs := append([]any{"sid", s.facts.Session, "peer", peerName(s.facts.Envelope.Conn)}, more...)
	s.srv.Log.Info(what, append(attrs, "status", status.Of(err).Line())...)
}

// peerName is the peer as the log shows it.
func peerName(c envelope.Connection) string {
	if c.RemoteIP == "" {
		return "local"
	}
	return status.Escape(c.RemoteIP, 100)
}

// randomID is ten upper-case hexadecimal digits, such as C15F841DD5.
func randomID() string {
	var b [5]byte
	rand.Read(b[:])
	return strings.ToUpper(hex.EncodeToString(b[:]))
}
