package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

const (
	talkWait = 5 * time.Minute // for a reply, RFC 5321 section 4.5.3.2
	talkKept = 16 << 20        // bytes of the session that .save can write
	talkLine = 1 << 20         // bytes of a line of input
)

var errInjected = status.Errorf(status.Protocol, "STARTTLS: the server, or somebody between, sent more in clear behind its reply").
	WithReply(451, "4.7.5")

func newTalk() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "talk [FLAGS] URL | talk [FLAGS] --pipe COMMAND",
		Short: "Speak SMTP by hand",
		Long: "Talk connects and sends what is typed, line by line: CRLF, the dots of a message and the change to TLS are done for\n" +
			"you. Lines that begin with a dot are helpers; .help lists them. Standard input that is no terminal is sent in step:\n" +
			"each line when the one before was answered.",
		Example: "  smtpsend talk smtp+tls://mail.example.org:587 --user me\n" +
			"  printf 'EHLO me.example\\nQUIT\\n' | smtpsend talk smtp://localhost\n" +
			"  smtpsend talk --pipe 'smtpd --office /srv/mail'",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.target(cmd, args); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), r.o.timeout)
			defer cancel()
			return newTalker(&r, cmd.OutOrStdout()).run(ctx)
		},
	}
	r.flags(cmd)
	return cmd
}

// input is where lines come from. prompt says what is to come, hidden that it is a secret.
type input interface {
	line(prompt string, hidden bool) (string, error)
}

// heard is a reply, or the end of the connection.
type heard struct {
	reply smtp.Reply
	err   error
}

// talker is a session by hand. Lines of the server are printed when they come, by a goroutine that ends with the connection.
type talker struct {
	*reach
	in       input
	out      io.Writer
	terminal bool
	colour   bool
	kept     *keptText        // the session as a recording
	record   *smtp.Transcript // writes it, and what is seen of the session where there is no terminal
	plain    net.Conn
	conn     net.Conn // plain, with what goes over it noted
	replies  chan heard
	beginTLS chan bool // holds one value while STARTTLS awaits its reply
	offered  []string  // the lines of the last reply to EHLO
	last     smtp.Reply
	raw      bool
	quitting bool
	lmtp     bool
	taken    int // recipients
}

func newTalker(r *reach, out io.Writer) *talker {
	t := &talker{reach: r, out: out, kept: &keptText{}, beginTLS: make(chan bool, 1)}
	t.record = smtp.NewRecording(t.kept, smtp.ClientRole)
	return t
}

// run is the session. It is no failure when the server closes the connection after QUIT, or the input ends.
func (t *talker) run(ctx context.Context) error {
	c, err := t.dial(ctx)
	if err != nil {
		return err
	}
	t.lmtp = t.sender.smtp.LMTP
	defer t.useTerminal()()
	t.use(c)
	defer func() { t.conn.Close() }()
	if s, ok := c.(*tls.Conn); ok {
		t.record.TLS(s.ConnectionState())
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	if t.mode() == smtp.TLSRequired {
		if err := t.secure(ctx); err != nil {
			return err
		}
		if _, on := t.plain.(*tls.Conn); !on {
			return status.Errorf(status.TempFail, "TLS is demanded and not to be had").WithReply(451, "4.7.4")
		}
	}
	return t.loop(ctx)
}

// loop sends line by line until one of the sides ends the session.
func (t *talker) loop(ctx context.Context) error {
	for {
		text, err := t.next(ctx, t.prompt())
		switch {
		case err == io.EOF: // not a connection that was lost, which wraps it
			return nil
		case err != nil:
			return err
		}
		if err := t.typed(ctx, text); err != nil || t.quitting {
			return err
		}
	}
}

// next is a line of the input. The end of the connection ends the wait for it.
func (t *talker) next(ctx context.Context, prompt string) (string, error) {
	type read struct {
		text string
		err  error
	}
	got := make(chan read, 1)
	go func() { // it outlives the session when the server ends that, as the process does not
		text, err := t.in.line(prompt, t.last.Code == 334)
		got <- read{text, err}
	}()
	for {
		select {
		case r := <-got:
			return r.text, r.err
		case h := <-t.replies:
			if h.err != nil {
				return "", t.lost(h.err)
			}
			t.last = h.reply
		case <-ctx.Done():
			return "", status.Errorf(status.TempFail, "given up: %w", context.Cause(ctx))
		}
	}
}

func (t *talker) lost(err error) error {
	var known *status.Error
	if errors.As(err, &known) && !errors.Is(err, io.EOF) {
		return err
	}
	if errors.Is(err, io.EOF) && t.last.Code == 221 {
		return io.EOF
	}
	return status.Errorf(status.TempFail, "the server closed the connection: %w", err).WithReply(451, "4.4.2")
}

// typed carries out a line of the input.
func (t *talker) typed(ctx context.Context, text string) error {
	switch {
	case t.raw && text != ".raw":
		return t.sendRaw(ctx, text)
	case strings.HasPrefix(text, "."):
		return t.helper(ctx, text)
	}
	return t.command(ctx, text)
}

// command sends a line and awaits the reply. What follows from the reply is done, too: the handshake, the message.
func (t *talker) command(ctx context.Context, text string) error {
	verb, _, _ := strings.Cut(strings.ToUpper(text), " ")
	if err := t.send(text + "\r\n"); err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	switch {
	case verb == "EHLO" || verb == "LHLO":
		t.offered, t.taken = nil, 0
		if t.last.Positive() {
			t.offered, t.lmtp = t.last.Lines[1:], verb == "LHLO"
		}
	case verb == "MAIL" || verb == "RSET":
		t.taken = 0
	case verb == "RCPT" && t.last.Positive():
		t.taken++
	case verb == "STARTTLS" && t.last.Code == 220:
		return t.handshake(ctx)
	case verb == "DATA" && t.last.Code == 354:
		return t.data(ctx)
	case verb == "QUIT" && t.last.Code == 221:
		t.quitting = true
	}
	return nil
}

// data sends lines of the input as the message, up to a dot alone.
func (t *talker) data(ctx context.Context) error {
	for {
		text, err := t.next(ctx, "")
		if err != nil {
			if err == io.EOF {
				return status.Errorf(status.Data, "the input ended inside the message, which was not sent")
			}
			return err
		}
		if text == "." {
			return t.endData(ctx)
		}
		if strings.HasPrefix(text, ".") {
			text = "." + text
		}
		if err := t.send(text + "\r\n"); err != nil {
			return err
		}
	}
}

// endData sends the dot and awaits what it is answered with.
func (t *talker) endData(ctx context.Context) error {
	if err := t.send(".\r\n"); err != nil {
		return err
	}
	return t.replyToMessage(ctx)
}

// replyToMessage awaits the reply to the dot, or with LMTP those for all recipients.
func (t *talker) replyToMessage(ctx context.Context) error {
	replies := 1
	if t.lmtp {
		replies = max(1, t.taken)
	}
	for range replies {
		if err := t.await(ctx); err != nil {
			return err
		}
	}
	t.taken = 0
	return nil
}

// send writes to the server. What it said before is not the reply to this.
func (t *talker) send(text string) error {
	for {
		select {
		case h := <-t.replies:
			if h.err != nil {
				return t.lost(h.err)
			}
			continue
		default:
		}
		break
	}
	if strings.EqualFold(strings.TrimSpace(text), "STARTTLS") {
		t.beginTLS <- true
	}
	t.conn.SetWriteDeadline(time.Now().Add(talkWait))
	if _, err := io.WriteString(t.conn, text); err != nil {
		return t.lost(err)
	}
	return nil
}

// await waits for a reply, which the reading goroutine has printed.
func (t *talker) await(ctx context.Context) error {
	begin := time.Now()
	timer := time.NewTimer(talkWait)
	defer timer.Stop()
	select {
	case h := <-t.replies:
		if h.err != nil {
			return t.lost(h.err)
		}
		t.last = h.reply
		if t.terminal {
			t.aside(fmt.Sprintf("   %.1f ms", float64(time.Since(begin).Microseconds())/1000))
		}
		return nil
	case <-timer.C:
		return status.Errorf(status.TempFail, "no reply within %v", talkWait)
	case <-ctx.Done():
		return status.Errorf(status.TempFail, "given up: %w", context.Cause(ctx))
	}
}

// use begins to read from c.
func (t *talker) use(c net.Conn) {
	t.plain, t.conn = c, t.record.Conn(c)
	t.replies = make(chan heard, 1024)
	var from io.Reader = t.conn
	if t.terminal {
		from = io.TeeReader(t.conn, &linePrinter{t: t})
	}
	go t.listen(bufio.NewReader(from), t.replies)
}

// listen takes replies until the connection ends or changes to TLS.
func (t *talker) listen(r *bufio.Reader, replies chan<- heard) {
	for {
		reply, err := smtp.ReadReply(r)
		over := err != nil
		select {
		case <-t.beginTLS:
			over = over || reply.Code == 220
			if reply.Code == 220 && r.Buffered() > 0 {
				err = errInjected
			}
		default:
		}
		select {
		case replies <- heard{reply, err}:
		default: // nobody has asked for so many
			over = true
		}
		if over {
			return
		}
	}
}

// handshake changes to TLS; the offer of before does not count any more.
func (t *talker) handshake(ctx context.Context) error {
	c, err := t.startTLS(ctx, t.plain)
	if err != nil {
		return err
	}
	s := c.(*tls.Conn).ConnectionState()
	t.record.TLS(s)
	t.use(c)
	t.offered = nil
	t.aside("== " + tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite))
	return nil
}
