// Smtpd speaks SMTP on one connection or on listening sockets and hands each message on; see smtpd(8).
package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/certificate"
	"pennypost/internal/cli/drop"
	"pennypost/internal/cli/listen"
	"pennypost/internal/cli/office"
	"pennypost/internal/cli/passwd"
	"pennypost/internal/cli/quota"
	"pennypost/internal/postoffice"
	"pennypost/internal/serve"
	"pennypost/internal/smtp"
)

func main() { os.Exit(cli.Main(newCommand())) }

// options are the flags.
type options struct {
	office      func() (*postoffice.Office, error)
	serve       *serve.Options
	drop        *drop.Options
	name        string
	pair        *certificate.Options
	plaintext   bool
	cramMD5     bool
	clientCA    string
	authProgram string
	tls         bool
	submit      bool
	lmtp        bool
	maxSize     int64
	maxRcpt     int
	maxHeader   int64
	maxLine     int
	minRate     int
	maxHops     int
	greet       time.Duration
	timeout     time.Duration
	total       time.Duration
	verbose     bool
	checks      checkFlags
	trust       trust
	full        quota.Flags
	offer       []string
	record      string
	metrics     string
	queue       string
	script      string
	promises    smtp.Promises
	binary      bool // BINARYMIME is offered
	command     []string
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "smtpd --office DIR [FLAGS] [-- COMMAND ARG...]",
		Short: "Receive mail by SMTP",
		Long: "Smtpd speaks SMTP on standard input and output, or listens, and puts each message into the mailboxes of a\n" +
			"post office, or hands it to COMMAND by the rules of mailpipe(7).",
		Example: "  smtpd --office /srv/mail --listen :25\n" +
			"  tcpserver -HR 0 25 smtpd --office /srv/mail -- mailauth verify -- deliver --office /srv/mail",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return cli.Usagef("unexpected argument %q; a command stands after --", args[0])
			}
			o.command = args
			return run(cmd, o)
		},
	}
	o.office = office.Flag(cmd)
	o.serve = listen.Flags(cmd)
	o.drop = drop.Flags(cmd, o.serve)
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "call this host `HOST` (default the system's host name)")
	f.BoolVar(&o.submit, "submission", false, "take mail only from users who have logged in")
	f.BoolVar(&o.lmtp, "lmtp", false, "speak LMTP: an answer, and a run of the command, for each recipient")
	f.BoolVar(&o.tls, "tls-wrap", false, "begin with TLS, as on port 465")
	o.pair = certificate.Flags(cmd)
	f.BoolVar(&o.cramMD5, "cram-md5", false, "offer CRAM-MD5 to users whose secret is {PLAIN}")
	f.StringVar(&o.authProgram, "auth-program", "", "offer OAUTHBEARER and XOAUTH2, tokens checked by `PROGRAM`")
	f.StringVar(&o.clientCA, "client-ca", "", "offer EXTERNAL to clients with a certificate of an authority in `FILE`")
	f.BoolVar(&o.plaintext, "allow-plaintext", false, "let users log in without TLS")
	f.Int64Var(&o.maxSize, "max-size", smtp.DefaultMaxSize, "largest message, `OCTETS`")
	f.Int64Var(&o.maxHeader, "max-header", smtp.DefaultMaxHeader, "largest header of a message, `OCTETS`")
	f.IntVar(&o.maxLine, "max-line", 0, "longest line of a message, `OCTETS` with its end (default any)")
	f.IntVar(&o.minRate, "min-rate", smtp.DefaultMinRate, "slowest message data, `OCTETS` a second, 0 for any")
	f.IntVar(&o.maxRcpt, "max-rcpt", smtp.DefaultMaxRecipients, "most recipients of a message, `N`")
	f.IntVar(&o.maxHops, "max-hops", 50, "refuse a message with `N` Received fields as looping")
	f.DurationVar(&o.greet, "greet-delay", 0, "wait for `TIME` before the banner, for clients that talk too early")
	f.DurationVar(&o.timeout, "timeout", smtp.DefaultCommandTimeout, "wait for a command for `TIME`")
	f.DurationVar(&o.total, "total-timeout", smtp.DefaultTotalTimeout, "end a session after `TIME`")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print the transcript of sessions on stderr")
	f.StringSliceVar(&o.offer, "offer", nil, "offer `EXTENSION`: binarymime; or to users what the command keeps: mt-priority, deliverby, futurerelease")
	f.StringVar(&o.record, "record", "", "append each session as a dialog to `FILE`, messages included")
	f.StringVar(&o.queue, "queue", "", "let clients send what waits for a domain in the queue `DIR` (ETRN), and put users' mail there")
	f.StringVar(&o.metrics, "metrics", "", "tell counts to HTTP clients of this host at `ADDRESS`")
	f.StringVar(&o.script, "script", "", "follow the script in `FILE` on each connection, in the place of receiving mail")
	o.checks.add(cmd)
	o.trust.add(cmd)
	o.full.Add(f)
	cmd.AddCommand(passwd.Command(o.office))
	return cmd
}

// run serves until there are no more connections.
func run(cmd *cobra.Command, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.script != "" {
		return runScript(cmd, o)
	}
	off, err := o.office()
	if err != nil {
		return err
	}
	defer off.Close()
	engine, err := newEngine(cmd, o, off)
	if err != nil {
		return err
	}
	if err := o.drop.Need(len(o.command) > 0 || o.queue != "" || o.checks.ask != "" || o.authProgram != "", []string{off.Root().Name()}, o.pair.Cert, o.pair.Key); err != nil {
		return err
	}
	if o.metrics != "" {
		m, err := newMetrics(cmd.Context(), o.metrics, o.serve)
		if err != nil {
			return err
		}
		defer m.listen.Close()
		go m.run()
		engine.Counts = m.counts
	}
	o.serve.Busy = []byte("421 4.3.2 " + o.name + " Error: too many connections\r\n")
	typed := terminal(os.Stdin)
	return serve.Run(cmd.Context(), *o.serve, func(ctx context.Context, c *serve.Conn) {
		e := *engine
		e.Service, e.TLSOnly = o.role(c.Name)
		e.BinaryMIME = o.binary
		if e.Service == smtp.Submission {
			e.Promises = o.promises
		}
		if e.Service == smtp.LMTP {
			e.Turn = nil
		}
		e.Stopping = c.Stopping
		var conn net.Conn = c
		if typed && c.Local && c.Name == "" {
			conn = &typedConn{Conn: c}
		}
		e.Serve(ctx, conn, c.Info)
	})
}

// check refuses values that make no sense and fills in the host's name.
func (o *options) check() error {
	switch {
	case o.maxSize <= 0 || o.maxRcpt <= 0 || o.maxHops <= 0:
		return cli.Usagef("--max-size, --max-rcpt and --max-hops must be above 0")
	case o.maxHeader <= 0 || o.maxLine < 0 || o.minRate < 0:
		return cli.Usagef("--max-header must be above 0, --max-line and --min-rate not below")
	case o.timeout <= 0 || o.total <= 0 || o.greet < 0:
		return cli.Usagef("--timeout and --total-timeout must be above 0, --greet-delay not below")
	case o.lmtp && o.submit:
		return cli.Usagef("--lmtp and --submission exclude each other")
	case o.lmtp && smtpPort(o.serve.Listen):
		return cli.Usagef("--lmtp is not for port 25 (RFC 2033 section 5)")
	}
	if err := o.pair.Check(); err != nil {
		return err
	}
	if err := o.trust.check(o.serve); err != nil {
		return err
	}
	var err error
	if o.promises, o.binary, err = promises(o.offer, len(o.command) > 0 || o.queue != ""); err != nil {
		return err
	}
	if o.name == "" {
		o.name, _ = os.Hostname()
	}
	if !validName(o.name) {
		return cli.Usagef("%q cannot be the name of a host", o.name)
	}
	return nil
}

func newEngine(cmd *cobra.Command, o options, off *postoffice.Office) (*smtp.Engine, error) {
	tlsConfig, err := o.pair.Config(off, o.name, "smtp")
	if err != nil {
		return nil, err
	}
	h := &handler{office: off, name: o.name, command: o.command, maxHops: o.maxHops, relay: o.trust.relay, relayLocal: o.trust.relayLocal}
	if err := o.full.Apply(&h.delivery); err != nil {
		return nil, err
	}
	checks, err := newChecks(o.checks, h, cli.Logger(cmd))
	if err != nil {
		return nil, err
	}
	users, err := newLogin(o, off)
	if err != nil {
		return nil, err
	}
	if users.clients != nil {
		tlsConfig.ClientAuth = tls.RequestClientCert // it is looked at when somebody wants to log in by it; a stranger's does no harm
	}
	e := &smtp.Engine{
		Name:           o.name,
		Handler:        checks,
		TLS:            tlsConfig,
		Auth:           users.authenticator(),
		MaxSize:        o.maxSize,
		MaxHeader:      o.maxHeader,
		MaxLine:        o.maxLine,
		MaxRecipients:  o.maxRcpt,
		MinRate:        o.minRate,
		GreetDelay:     o.greet,
		CommandTimeout: o.timeout,
		TotalTimeout:   o.total,
		Log:            cli.Logger(cmd),
	}
	o.trust.set(e, h)
	if err := o.useQueue(h, e); err != nil {
		return nil, err
	}
	if o.minRate == 0 {
		e.MinRate = -1
	}
	if o.record != "" {
		r, err := newRecorder(o.record, e.Log)
		if err != nil {
			return nil, err
		}
		e.Record = r.session
	}
	if o.verbose {
		e.Trace = cmd.ErrOrStderr()
	}
	return e, nil
}
