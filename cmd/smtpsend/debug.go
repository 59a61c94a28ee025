package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// debugOptions are the flags by which nothing is sent, or not all of it.
type debugOptions struct {
	stop, drop string
	dump       bool
}

func (d *debugOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&d.stop, "stop-after", "", "end the session after `STAGE`: connect, banner, ehlo, tls, auth, mail, rcpt or data")
	f.StringVar(&d.drop, "drop-after", "", "drop the connection after `STAGE`, which may be dot too: the reply to the message is not read")
	f.BoolVar(&d.dump, "dump", false, "print what would be done, and do nothing of it")
}

func (d *debugOptions) apply(o *smtp.Options) error {
	if d.stop == "" && d.drop == "" {
		return nil
	}
	if d.stop != "" && d.drop != "" {
		return cli.Usagef("--stop-after and --drop-after do not go together")
	}
	stage, ok := smtp.ParseStage(d.stop + d.drop)
	if !ok || d.stop == smtp.StageDot.String() {
		return cli.Usagef("after %q: want connect, banner, ehlo, tls, auth, mail, rcpt, data, or --drop-after dot", d.stop+d.drop)
	}
	o.Stop, o.Drop = stage, d.drop != ""
	return nil
}

// show prints what would be done with m: a line for each fact, its name and its value. Nobody is asked, not even a DNS
// server, and no secret is read.
func (o *options) show(w io.Writer, s *sender, m *message.Message, e *envelope.Envelope) {
	line := func(name, format string, a ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, status.Escape(fmt.Sprintf(format, a...), maxAddress))
	}
	o.showWay(line, s)
	line("sender", "%s", e.Sender.Path())
	for i, r := range e.Recipients {
		line("recipient", "%s", r.Path())
		if i < len(e.Notify) && e.Notify[i] != "" {
			line("notify", "%s", e.Notify[i])
		}
	}
	for _, p := range []struct{ name, value string }{{"ret", e.Ret}, {"envid", e.EnvID}, {"priority", e.Priority}, {"by", e.By}, {"hold-for", e.HoldFor}, {"hold-until", e.HoldUntil}} {
		if p.value != "" {
			line(p.name, "%s", p.value)
		}
	}
	if e.RequireTLS {
		line("require-tls", "yes")
	}
	facts, err := smtp.Describe(m, e.Body)
	if err != nil {
		facts = "cannot be sent: " + err.Error()
	}
	line("message", "%s", facts)
}

// showWay prints how the server would be reached.
func (o *options) showWay(line func(string, string, ...any), s *sender) {
	switch {
	case s.endpoint != nil:
		line("server", "%s", o.server)
		line("address", "%s", s.endpoint.Address)
	case o.pipe != "":
		line("command", "%s", o.pipe)
	case o.routes != "":
		line("routes", "%s", o.routes)
	default:
		line("server", "mail exchangers, port %d", o.port)
	}
	tls := []string{"if offered, any certificate", "never", "STARTTLS or nothing", "from the first byte"}[s.smtp.TLS]
	line("tls", "%s", tls)
	name := s.smtp.Helo
	if name == "" {
		name = "address of our end"
	}
	line("helo", "%s", name)
	if o.login.wanted() {
		line("login", "%s by %s", o.login.user, strings.Join(o.login.names(), ", "))
	}
	if n := s.smtp.Network; n.Socks != "" {
		line("socks", "%s", n.Socks)
	}
	if o.network.bind != "" {
		line("bind", "%s", o.network.bind)
	}
	if s.smtp.Stop != smtp.NoStage {
		line("stop", "after %s", s.smtp.Stop)
	}
	line("time", "%v", o.timeout)
}
