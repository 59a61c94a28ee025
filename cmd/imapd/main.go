// Imapd serves the Maildirs of a post office by IMAP; see imapd(8).
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/reading"
	"pennypost/internal/imap"
	"pennypost/internal/sasl"
)

func main() { os.Exit(cli.Main(newCommand())) }

func newCommand() *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:   "imapd --office DIR [FLAGS]",
		Short: "Serve Maildirs by IMAP",
		Long: "Imapd speaks IMAP4rev1 on standard input and output, or listens, and serves the mailboxes of a post office.\n" +
			"With --user or --maildir it serves one mailbox to whoever started it, without a login.",
		Example: "  imapd --office /srv/mail --listen :143\n" +
			"  imapd --office /srv/mail --listen :993 --tls-wrap\n" +
			"  mutt -e 'set tunnel=\"imapd --maildir ~/Maildir\"' -f imap://localhost/",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.Run(cmd, s.prepare, s.session) },
	}
	s.Server = reading.Flags(cmd, reading.Protocol{ALPN: "imap", Port: 993, Busy: "* BYE [LIMIT] too many connections"})
	return cmd
}

type server struct {
	*reading.Server
	config imap.Config
}

// prepare fills what all sessions have in common.
func (s *server) prepare() {
	s.config = imap.Config{
		TLS:        s.TLS,
		Plaintext:  s.Plaintext,
		Log:        s.Log,
		Mechanisms: sasl.Mechanisms(),
		SASL: func(mechanism string, check func(user, password string) error) (imap.Exchange, bool) {
			return sasl.NewServer(mechanism, check)
		},
	}
	if s.Office != nil {
		s.config.Login = s.login
	}
	if s.Verbose {
		s.config.Trace = s.Print
	}
}

// session speaks IMAP on one connection.
func (s *server) session(ctx context.Context, c *reading.Session) error {
	p := imap.Peer{Address: c.Info.RemoteIP, Secure: c.Secure, Trusted: c.Trusted, Stopping: c.Stopping}
	if c.Dir != nil {
		p.Account = &imap.Account{User: c.User, Dir: c.Dir}
	}
	return s.config.Serve(ctx, c, p)
}

func (s *server) login(user, password string) (*imap.Account, error) {
	name, dir, err := s.Login(user, password)
	if err != nil {
		return nil, err
	}
	return &imap.Account{User: name, Dir: dir}, nil
}
