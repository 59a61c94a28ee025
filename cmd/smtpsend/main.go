// Command smtpsend sends the message on stdin by SMTP or LMTP. See smtpsend(1).
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

func main() {
	if name := filepath.Base(os.Args[0]); slices.Contains(sendmailNames, name) {
		os.Exit(sendmailMain(name, os.Args[1:]))
	}
	if filepath.Base(os.Args[0]) == "qmail-remote" {
		os.Args = append([]string{os.Args[0], "--report", "qmail", "--"}, os.Args[1:]...)
	}
	os.Exit(cli.Main(newCommand()))
}

// options are the flags.
type options struct {
	from, server, pipe            string
	helo, routes                  string
	message, messages             string
	queue                         string
	sign                          []string
	stsCache, record              string
	port                          int
	timeout                       time.Duration
	verbose                       bool
	login                         loginOptions
	tls                           tlsOptions
	network                       networkOptions
	wire                          wireOptions
	debug                         debugOptions
	test                          testOptions
	reportForm, host, via         string // host is where --report qmail sends all
	resolver                      func() (*resolver.Resolver, error)
	fromSet, portSet, resolverSet bool
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "smtpsend [FLAGS] [-f SENDER] [--server URL | --pipe COMMAND | --routes FILE] [RECIPIENT...]",
		Short: "Send the message on stdin by SMTP",
		Long: "Smtpsend sends the message on standard input to a server, to a command that speaks SMTP on its standard\n" +
			"input and output, or to the mail exchangers of the recipients' domains. It prints a line for each recipient\n" +
			"and exits 0 when all were taken (mailpipe(7)).",
		Example: "  smtpsend -f me@example.org you@example.net <message\n" +
			"  smtpsend -v --server smtp+tls://mail.example.net:587 --user me --password-file ~/.pass you@example.com <message\n" +
			"  smtpsend --pipe 'smtpd --office /srv/mail' you@example.net <message\n" +
			"  mx --routes example.net | grep -v backup | smtpsend --routes - --message letter you@example.net\n" +
			"  find old/cur -type f | smtpsend --messages - --server lmtp+unix:///run/lmtp you@example.net",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.note(cmd)
			err := run(cmd, o, args)
			if err != nil && o.reportForm == "qmail" { // its caller would take an exit status for a reason to bounce
				fmt.Fprintf(cmd.OutOrStdout(), "Z%s\n\x00", status.Of(err).Line())
				return nil
			}
			return err
		},
	}
	o.sendingFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.from, "from", "f", "", "envelope sender, `SENDER`; '' and '<>' are the null sender (default $SENDER)")
	f.StringVar(&o.message, "message", "", "send the message in `FILE` instead of standard input; test is one made here")
	f.StringVar(&o.messages, "messages", "", "send each message whose file is named on a line of `FILE`, - for standard input")
	f.StringArrayVar(&o.sign, "sign", nil, "with --queue, sign by DKIM with `DOMAIN:SELECTOR:KEYFILE` (repeatable)")
	o.wire.messageFlags(f)
	o.debug.flags(f)
	o.test.flags(f)
	f.StringVar(&o.via, "via", "", "send all to the mail exchangers of `DOMAIN`")
	f.StringVar(&o.reportForm, "report", "lines", "report in the `FORM` lines, json, or qmail: that of qmail-remote")
	cmd.PersistentFlags().StringVar(&o.queue, "queue", "", "put the message into the queue `DIR`, or work on that (default $MAIL_QUEUE for verbs)")
	addVerbs(cmd, &o)
	cli.Verbs(cmd, cli.Verb{Name: "play", New: newPlay}, cli.Verb{Name: "talk", New: newTalk}, cli.Verb{Name: "load", New: newLoad})
	return cli.Mailpipe(cmd)
}

// sendingFlags are those about how to send, which a run of the queue has too.
func (o *options) sendingFlags(cmd *cobra.Command) {
	o.resolver = dnsflags.Flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "send to `URL`: smtp, smtp+tls, smtp+notls, smtps or lmtp://HOST[:PORT], lmtp+unix:///PATH")
	f.StringVar(&o.pipe, "pipe", "", "speak SMTP with `COMMAND`, run by /bin/sh")
	f.StringVar(&o.routes, "routes", "", "go by the table of mx --routes in `FILE`, - for standard input (then with --message)")
	f.StringVar(&o.stsCache, "sts-cache", "", "keep MTA-STS policies in the directory `DIR`")
	f.IntVar(&o.port, "port", 25, "connect to `PORT` of the mail exchangers")
	f.StringVar(&o.helo, "helo", "", "our `NAME` in EHLO (default the host's name, or its address)")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "give up after `TIME` in all")
	o.tls.flags(f)
	o.network.flags(f)
	o.network.pretendFlags(f)
	o.wire.flags(f)
	o.login.flags(f)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print the dialogue on stderr")
	f.StringVar(&o.record, "record", "", "append the dialogue to `FILE`, the message included, for smtpsend play")
}

// note notes which flags were given.
func (o *options) note(cmd *cobra.Command) {
	changed := cmd.Flags().Changed
	o.fromSet, o.portSet = changed("from"), changed("port")
	o.resolverSet = changed("resolver") || changed("zone") || os.Getenv("MAIL_RESOLVER") != ""
}

// run takes message and envelope, and sends and reports, or puts them into the queue.
func run(cmd *cobra.Command, o options, recipients []string) error {
	if o.queue != "" {
		return o.queued(cmd, recipients)
	}
	if len(o.sign) > 0 {
		return cli.Usagef("--sign needs --queue; before sending at once, mailauth sign signs")
	}
	var err error
	if o.reportForm == "qmail" {
		if recipients, err = o.qmailArgs(recipients); err != nil {
			return err
		}
	}
	s, err := newSender(cmd.Context(), cmd, o)
	if err != nil {
		return err
	}
	defer s.done()
	if o.messages != "" {
		return o.sendAll(cmd, s, recipients)
	}
	m, e, err := o.receive(recipients)
	if err != nil {
		return err
	}
	defer m.Close()
	s.envelope = e
	if o.debug.dump {
		o.show(cmd.OutOrStdout(), s, m, e)
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	s.send(ctx, m)
	// The exit status is the contract; a report that nobody reads changes no fate.
	s.report(cmd.OutOrStdout(), o.reportForm)
	if o.reportForm == "qmail" {
		return nil
	}
	return s.verdict()
}

// queued is run with --queue.
func (o *options) queued(cmd *cobra.Command, recipients []string) error {
	if o.server != "" || o.pipe != "" || o.routes != "" {
		return cli.Usagef("how to send is said to 'smtpsend --queue DIR run', not when a message is put into the queue")
	}
	if o.debug != (debugOptions{}) || o.reportForm != "lines" || o.messages != "" {
		return cli.Usagef("--stop-after, --drop-after, --dump, --report and --messages are for sending at once")
	}
	if err := o.wire.check(); err != nil {
		return err
	}
	if err := o.test.check(o.message == testMessage); err != nil {
		return err
	}
	m, e, err := o.receive(recipients)
	if err != nil {
		return err
	}
	defer m.Close()
	if e.Body == smtp.BinaryMIME { // an entry of a queue is lines
		if m, err = smtp.Text(m); err != nil {
			return err
		}
		defer m.Close()
		e.Body = "8BITMIME"
	}
	return o.enqueue(cmd, m, e)
}

// receive takes message and envelope, as mailpipe(7) says.
func (o *options) receive(recipients []string) (*message.Message, *envelope.Envelope, error) {
	in := handoff.Input{Recipients: recipients}
	if o.message != "" {
		name := o.message
		if name == testMessage {
			name = os.DevNull
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, status.Errorf(status.NoInput, "read the message: %w", err)
		}
		in.Stdin = f // the message is read from it until the end
	}
	m, e, err := o.take(in)
	if err == nil && o.message == testMessage {
		m.Close()
		m, err = o.test.make(e, time.Now())
	}
	return m, e, err
}

// take takes message and envelope with what the flags say of the envelope.
func (o *options) take(in handoff.Input) (*message.Message, *envelope.Envelope, error) {
	if o.fromSet {
		in.Sender = &o.from
	}
	m, e, err := handoff.Receive(in)
	if err == nil && len(e.Recipients) == 0 {
		m.Close()
		err = cli.Usagef("no recipient: name one, or set RECIPIENT or RECIPIENTS")
	}
	if err == nil {
		o.wire.ask(e)
	}
	return m, e, err
}
