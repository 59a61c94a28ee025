package smtp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// dataBuffer is how much message data is written at once; each such block has its own deadline.
const dataBuffer = 32 << 10

// smallWrite is what every connection takes at once though nobody reads, in bytes.
const smallWrite = 4096

// Outcome is what became of one recipient.
type Outcome struct {
	Err    *status.Error // nil = the server took responsibility
	Reply  Reply         // the server's last word about it; Code 0 when there was none
	Unsure bool          // the connection was lost after the final dot: it may have been taken all the same
}

// Send gives the message to the server for the recipients of e and returns one Outcome for each, in their order. It
// can be called again while Err is nil.
//
// A message with a bare CR or a NUL, or over the SIZE the server declared, is refused before anything is said, and so is one
// with lines of more than 998 bytes, unless they may be wrapped. For a server without 8BITMIME, 8-bit bodies are converted
// (RFC 6152 section 3); 8-bit header fields are sent as they are. With the body BINARYMIME of e the message is octets as they
// are sent, lines of its header with CRLF; see [Text] for what becomes of it at a server that does not offer that. Recipients
// beyond what the server takes in one transaction (LIMITS of RFC 9422, or 452 after others were accepted) get one of their own.
func (c *Client) Send(ctx context.Context, m *message.Message, e *envelope.Envelope) []Outcome {
	stop := c.watch(ctx)
	defer func() { stop() }()
	out := make([]Outcome, len(e.Recipients))
	if c.stopped {
		return failAll(out, c.broken)
	}
	m, what, err := c.fit(m, e.Body)
	if err != nil {
		return failAll(out, err)
	}
	defer m.Close()
	mail, err := c.mailCommand(what, e)
	if err != nil {
		return failAll(out, err)
	}
	var todo []rcpt
	for i, a := range e.Recipients {
		line, err := c.rcptCommand(e, i)
		if err != nil {
			out[i].Err = status.Of(err)
			continue
		}
		todo = append(todo, rcpt{line: line, domain: a.Domain, out: &out[i]})
	}
	for len(todo) > 0 {
		now, later := c.batch(todo)
		if err := c.anew(ctx); err != nil {
			failRest(todo, err)
			break
		}
		stop()
		stop = c.watch(ctx) // it may be another connection
		t := transaction{c: c, message: m, what: what, mail: mail, rcpts: now}
		t.run(ctx)
		if c.broken != nil {
			failRest(later, c.broken)
			break
		}
		if len(t.again) < len(now) {
			later = append(t.again, later...)
		}
		todo = later
	}
	return out
}

// failRest is for recipients that were not tried.
func failRest(list []rcpt, err error) {
	for _, r := range list {
		r.out.Err = status.Of(err)
	}
}

func failAll(out []Outcome, err error) []Outcome {
	for i := range out {
		out[i].Err = status.Of(err)
	}
	return out
}

type rcpt struct {
	line   string
	domain string
	out    *Outcome
}

// transaction is MAIL, RCPT, DATA and the message (RFC 5321 section 3.3).
type transaction struct {
	c        *Client
	message  *message.Message
	what     content
	mail     string // the command
	rcpts    []rcpt
	accepted []rcpt // RCPT was answered by 2xx; their fate is that of the data
	again    []rcpt // too many for one transaction
	refused  *Reply // to MAIL
	sender   Reply  // to MAIL, when it is not refused
	data     Reply  // to DATA; Code 0 = not asked
}

// step is a command and what its reply means. got says whether the next command still makes sense.
type step struct {
	line string
	wait time.Duration
	got  func(Reply) (more bool)
}

func (t *transaction) run(ctx context.Context) {
	chunks := t.what.binary || t.c.chunks(t.what.size) && t.c.o.Stop != StageData
	err := t.c.play(ctx, t.steps(!chunks))
	t.c.open = true
	t.c.begun++
	switch {
	case err == nil && t.refused == nil && t.c.broken == nil && (t.c.stopAt(StageMail) || t.c.stopAt(StageRcpt)):
		t.stop(ctx, t.rcpts, t.mailReply())
		return
	case err == nil && t.refused == nil && t.inData() && t.c.stopAt(StageData):
		t.stop(ctx, t.accepted, &t.data)
		return
	case chunks && err == nil && t.refused == nil && len(t.accepted) > 0 && t.c.broken == nil:
		t.send(ctx, t.c.chunked)
		return
	case t.refused == nil && t.inData() && !t.c.o.LMTP && t.c.extra.Code >= 400:
		t.early()
	case t.refused != nil && t.data.Code == 354 && (len(t.accepted) > 0 || t.c.o.LMTP):
		err = t.c.desync(ctx, "DATA was accepted after MAIL was refused")
	case t.data.Code == 354 && len(t.accepted) == 0:
		err = t.nothing(ctx)
	case t.data.Code == 354 && err == nil:
		t.send(ctx, t.c.data)
		return
	}
	t.settle(t.rcpts, err)
}

// early settles recipients whose message was refused when the server had just asked for it: that is no way to do it (RFC 5321
// section 4.3.1), but nothing else can be meant, and whoever means it says it again to each attempt.
func (t *transaction) early() {
	for _, r := range t.accepted {
		r.out.Reply, r.out.Err = t.c.extra, t.c.extra.Err()
	}
}

// settle gives every recipient without a verdict of its own that of the transaction.
func (t *transaction) settle(list []rcpt, err error) {
	for _, r := range list {
		switch o := r.out; {
		case o.Err != nil:
		case t.refused != nil:
			o.Reply, o.Err = *t.refused, verdict(*t.refused, "MAIL")
		case err != nil:
			o.Reply, o.Err = Reply{}, status.Of(err)
		case t.data.Code == 0: // not asked: the server said 421 before
			o.Reply, o.Err = Reply{}, status.Of(t.c.broken)
		default:
			o.Reply, o.Err = t.data, verdict(t.data, "DATA")
		}
	}
}

func (t *transaction) steps(data bool) []step {
	var steps []step
	if t.c.open {
		steps = append(steps, step{"RSET", waitMail, func(Reply) bool { return true }})
	}
	mail := len(steps)
	steps = append(steps, step{t.mail, waitMail, func(r Reply) bool {
		if t.sender = r; !r.Positive() {
			t.refused = &r
		}
		return r.Positive()
	}})
	for i, rc := range t.rcpts {
		steps = append(steps, step{rc.line, waitRcpt, func(r Reply) bool {
			t.answered(rc, r)
			return i < len(t.rcpts)-1 || len(t.accepted) > 0
		}})
	}
	if !data {
		return t.c.cut(steps, mail)
	}
	steps = append(steps, step{"DATA", waitData, func(r Reply) bool { t.data = r; return true }})
	return t.c.cut(steps, mail)
}

// answered takes the reply to a RCPT. 552 without a reason of its own means too many recipients, which is temporary (RFC
// 5321 section 4.5.3.1.10).
func (t *transaction) answered(rc rcpt, r Reply) {
	if t.refused != nil && !r.Positive() {
		return // a consequence of the refused MAIL: its reply says more
	}
	rc.out.Reply, rc.out.Err = r, nil
	if r.Positive() {
		t.accepted = append(t.accepted, rc)
		return
	}
	full := r.Code == 452 || r.Code == 552 && (r.Enhanced == "" || r.Enhanced == "5.5.3")
	rc.out.Err = verdict(r, "RCPT")
	if full {
		rc.out.Err = rc.out.Err.WithReply(452, "4.5.3")
	}
	if full && len(t.accepted) > 0 {
		t.again = append(t.again, rc)
	}
}

// verdict is the error of a reply that is not 2xx.
func verdict(r Reply, command string) *status.Error {
	if e := r.Err(); e != nil {
		return e
	}
	return status.Errorf(status.Protocol, "unexpected reply to %s: %s", command, r)
}

// play sends the commands, all in one write where the server offers PIPELINING (RFC 2920), and hands each its reply.
func (c *Client) play(ctx context.Context, steps []step) error {
	if _, ok := c.esmtp["PIPELINING"]; ok && !c.o.NoPipeline {
		return c.pipeline(ctx, steps)
	}
	for _, s := range steps {
		rep, err := c.command(ctx, s.wait, s.line)
		if err != nil {
			return err
		}
		if !s.got(rep) || rep.Code == 421 {
			return nil
		}
	}
	return c.quiet(ctx)
}

// pipeline writes beside reading, so that neither side can fill the other's buffers and stop both.
func (c *Client) pipeline(ctx context.Context, steps []step) error {
	if err := c.quiet(ctx); err != nil {
		return err
	}
	var all strings.Builder
	for _, s := range steps {
		all.WriteString(s.line + "\r\n")
	}
	c.until(ctx, waitMail)
	written := make(chan error, 1)
	write := func() {
		_, err := io.WriteString(c.conn, all.String())
		written <- err
	}
	if all.Len() <= smallWrite && c.raw.RemoteAddr().Network() != "pipe" { // a net.Pipe holds nothing
		write()
	} else {
		go write()
	}
	var failed error
	for _, s := range steps {
		rep, err := c.reply(ctx, s.wait)
		if err != nil {
			failed = err
			break
		}
		s.got(rep)
	}
	if failed != nil {
		c.conn.Close() // ends the write, too
	}
	if err := <-written; err != nil && failed == nil {
		failed = c.fail(ctx, err)
	}
	if failed != nil {
		return failed
	}
	return c.quiet(ctx)
}

// desync ends a session in which the two sides no longer agree.
func (c *Client) desync(ctx context.Context, what string) error {
	if c.broken == nil {
		c.broken = status.Errorf(status.Protocol, "%s: session given up", what)
		c.conn.Close()
	}
	return c.broken
}

// nothing answers a 354 that came though no recipient was accepted: the message is a lone dot, which the server has to
// refuse (RFC 2920 section 3.1). Under LMTP nobody can say how many replies that has.
func (t *transaction) nothing(ctx context.Context) error {
	if t.c.o.LMTP {
		return t.c.desync(ctx, "DATA was accepted without a recipient")
	}
	_, err := t.c.command(ctx, waitDot, ".")
	return err
}

// send writes the message and takes the replies to its end: one, or under LMTP one for each accepted recipient in order,
// the same address twice too (RFC 2033 section 4.2).
func (t *transaction) send(ctx context.Context, write func(context.Context, *message.Message, content) (bool, error)) {
	var refused *chunkError
	unsure, err := write(ctx, t.message, t.what)
	if errors.As(err, &refused) {
		for _, r := range t.accepted {
			r.out.Reply, r.out.Err = refused.reply, verdict(refused.reply, "BDAT")
		}
		return
	}
	if err != nil {
		t.lost(ctx, t.accepted, err, unsure)
		return
	}
	t.c.open = false
	if t.c.stopAt(StageDot) {
		t.stop(ctx, t.accepted, &Reply{})
		return
	}
	for i := range t.accepted {
		rep, err := t.c.reply(ctx, waitDot)
		if err != nil {
			t.lost(ctx, t.accepted[i:], err, true)
			return
		}
		of := t.accepted[i : i+1]
		if !t.c.o.LMTP {
			of = t.accepted
		}
		for _, r := range of {
			r.out.Reply, r.out.Err = rep, nil
			if !rep.Positive() {
				r.out.Err = verdict(rep, "the end of the message")
			}
		}
		if !t.c.o.LMTP {
			return
		}
	}
}

// lost settles recipients whose message did not get through. A reply the server gave before it closed the connection is
// the reason, when the message was not complete yet.
func (t *transaction) lost(ctx context.Context, list []rcpt, err error, unsure bool) {
	e := status.Of(err)
	var last Reply
	if unsure {
		e = status.Errorf(status.TempFail, "connection lost after the end of the message, which may have been taken: %w", err).WithReply(451, "4.4.2")
	} else if rep, ok := t.c.lastWord(ctx, err); ok {
		last, e = rep, rep.Err()
	}
	t.c.fail(ctx, err)
	for _, r := range list {
		r.out.Reply, r.out.Err, r.out.Unsure = last, e, unsure
	}
}

// lastWord reads a refusal that is waiting on a connection on which nothing can be written any more.
func (c *Client) lastWord(ctx context.Context, err error) (Reply, bool) {
	var broken *writeError
	if c.broken != nil || ctx.Err() != nil || !errors.As(err, &broken) {
		return Reply{}, false
	}
	c.until(ctx, waitLastWord)
	rep, err := ReadReply(c.r)
	return rep, err == nil && rep.Err() != nil
}

// data writes the message and its end, which leaves last: unsure says that it has left. A message that cannot be read is
// never ended.
func (c *Client) data(ctx context.Context, m *message.Message, _ content) (unsure bool, err error) {
	w := c.writer(ctx)
	d := NewDotWriter(w)
	buf := blocks.Get().(*[dataBuffer]byte)
	defer blocks.Put(buf)
	if _, err := io.CopyBuffer(d, m.Reader(), buf[:]); err != nil {
		return false, err
	}
	if err := d.Close(); err != nil {
		return false, err
	}
	err = w.Flush()
	return err == nil, err // what could not be written whole has no end
}

// blocks are buffers for reading messages.
var blocks = sync.Pool{New: func() any { return new([dataBuffer]byte) }}

// writer is an empty buffer for message data; there is one for the session.
func (c *Client) writer(ctx context.Context) *bufio.Writer {
	if c.out == nil {
		c.out = bufio.NewWriterSize(nil, dataBuffer)
	}
	c.out.Reset(blockWriter{c, ctx})
	return c.out
}

// blockWriter gives every write of message data its own deadline (RFC 5321 section 4.5.3.2.5).
type blockWriter struct {
	c   *Client
	ctx context.Context
}

func (b blockWriter) Write(p []byte) (int, error) {
	b.c.until(b.ctx, waitBlock)
	n, err := b.c.conn.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// writeError tells trouble with the connection from trouble with the message.
type writeError struct{ err error }

func (w *writeError) Error() string { return "send the message: " + w.err.Error() }
func (w *writeError) Unwrap() error { return w.err }
