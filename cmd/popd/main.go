// Popd serves the Maildirs of a post office by POP3; see popd(8).
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/listen"
	"pennypost/internal/cli/office"
	"pennypost/internal/cli/passwd"
	"pennypost/internal/postoffice"
	"pennypost/internal/serve"
)

func main() { os.Exit(cli.Main(newCommand())) }

// options are the flags.
type options struct {
	office    func() (*postoffice.Office, error)
	serve     *serve.Options
	user      string
	maildir   string
	cert, key string
	tls       bool
	plaintext bool
	verbose   bool
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "popd --office DIR [FLAGS]",
		Short: "Serve Maildirs by POP3",
		Long: "Popd speaks POP3 on standard input and output, or listens, and serves the mailboxes of a post office.\n" +
			"With --user or --maildir it serves one mailbox to whoever started it, without a login.",
		Example: "  popd --office /srv/mail --listen :110\n" +
			"  printf 'STAT\\r\\nQUIT\\r\\n' | popd --maildir ~/Maildir",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, o) },
	}
	o.office = office.Flag(cmd)
	o.serve = listen.Flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.user, "user", "", "serve the mailbox of `USER@DOMAIN` without a login; not over the network")
	f.StringVar(&o.maildir, "maildir", "", "serve the Maildir `PATH` without a login; not over the network")
	f.StringVar(&o.cert, "cert", "", "certificate chain for TLS in `FILE` (default the office's own pair)")
	f.StringVar(&o.key, "key", "", "its private key in `FILE`")
	f.BoolVar(&o.tls, "tls-wrap", false, "start with TLS at once, as on port 995")
	f.BoolVar(&o.plaintext, "allow-plaintext", false, "let users log in without TLS from anywhere")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print the transcript of sessions on stderr")
	cmd.AddCommand(passwd.Command(o.office))
	return cmd
}

// check refuses flags that contradict each other.
func (o *options) check() error {
	switch {
	case (o.cert == "") != (o.key == ""):
		return cli.Usagef("--cert and --key go together")
	case o.user != "" && o.maildir != "":
		return cli.Usagef("--user and --maildir exclude each other")
	case o.known() && (len(o.serve.Listen) > 0 || o.tls):
		return cli.Usagef("--user and --maildir need no login, so they do not go with --listen or --tls-wrap")
	}
	return nil
}

// known reports whether the user is known without a login.
func (o *options) known() bool { return o.user != "" || o.maildir != "" }

// run serves until there are no more connections.
func run(cmd *cobra.Command, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	s := &server{o: o, log: cli.Logger(cmd), trace: cmd.ErrOrStderr()}
	if o.maildir == "" {
		var err error
		if s.office, err = o.office(); err != nil {
			return err
		}
		defer s.office.Close()
	}
	if err := s.prepareTLS(); err != nil {
		return err
	}
	o.serve.Busy = []byte("-ERR [SYS/TEMP] too many connections\r\n")
	var failed error
	err := serve.Run(cmd.Context(), *o.serve, func(ctx context.Context, c *serve.Conn) {
		err := s.session(ctx, c)
		if err != nil && c.Name == "" {
			failed = err // the only session: it decides the exit status
		} else if err != nil {
			s.log.Warn("session failed", "peer", c.Info.RemoteIP, "error", err)
		}
	})
	if err == nil {
		err = failed
	}
	return err
}
