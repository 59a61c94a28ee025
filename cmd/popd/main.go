// Popd serves the Maildirs of a post office by POP3; see popd(8).
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/reading"
	"pennypost/internal/maildir"
	"pennypost/internal/pop3"
)

func main() { os.Exit(cli.Main(newCommand())) }

func newCommand() *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:   "popd --office DIR [FLAGS]",
		Short: "Serve Maildirs by POP3",
		Long: "Popd speaks POP3 on standard input and output, or listens, and serves the mailboxes of a post office.\n" +
			"With --user or --maildir it serves one mailbox to whoever started it, without a login.",
		Example: "  popd --office /srv/mail --listen :110\n" +
			"  printf 'STAT\\r\\nQUIT\\r\\n' | popd --maildir ~/Maildir",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.Run(cmd, func() {}, s.session) },
	}
	s.Server = reading.Flags(cmd, reading.Protocol{ALPN: "pop3", Port: 995, Busy: "-ERR [SYS/TEMP] too many connections"})
	return cmd
}

type server struct{ *reading.Server }

// session speaks POP3 on one connection.
func (s *server) session(ctx context.Context, c *reading.Session) error {
	o := pop3.Options{
		Maildir:   c.Dir,
		Login:     s.login,
		TLS:       s.TLS,
		Secure:    c.Secure,
		Plaintext: s.Plaintext || c.Trusted,
		Log:       s.Log.With("peer", c.Info.RemoteIP),
	}
	if s.Verbose {
		o.Trace = s.Print
	}
	sum, err := pop3.Serve(ctx, c, o)
	if s.Verbose && sum.User != "" {
		s.Log.Info("session", "user", sum.User, "peer", c.Info.RemoteIP, "retrieved", sum.Retrieved, "removed", sum.Removed, "quit", sum.Quit)
	}
	return err
}

func (s *server) login(user, password string) (*maildir.Dir, error) {
	_, dir, err := s.Login(user, password)
	return dir, err
}
