// Package reading is what the servers that people read mail with have in common: their flags, whose mailbox a connection is
// for, and TLS. What is left to popd and imapd is to speak their protocol.
package reading

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/certificate"
	"pennypost/internal/cli/drop"
	"pennypost/internal/cli/listen"
	"pennypost/internal/cli/office"
	"pennypost/internal/cli/passwd"
	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/postoffice"
	"pennypost/internal/postoffice/crypt"
	"pennypost/internal/serve"
	"pennypost/internal/status"
)

// Protocol is what differs before a session begins.
type Protocol struct {
	ALPN string // name in application-layer protocol negotiation (RFC 7301)
	Port int    // of its form with TLS from the first byte
	Busy string // line for a connection that is one too many
}

// Server is a program's flags and what all its sessions share. Office is nil with --maildir, TLS nil when there is neither an
// office nor --cert.
type Server struct {
	Plaintext bool // --allow-plaintext
	Verbose   bool
	Office    *postoffice.Office
	TLS       *tls.Config
	Log       *slog.Logger

	protocol Protocol
	open     func() (*postoffice.Office, error)
	serve    *serve.Options
	drop     *drop.Options
	user     string
	maildir  string
	pair     *certificate.Options
	wrap     bool

	mu    sync.Mutex
	trace io.Writer
}

// Session is one connection. When Dir is not nil the mailbox is known without a login; the session closes it.
type Session struct {
	*serve.Conn
	Secure  bool // TLS is on
	Trusted bool // the peer is this host: nobody listens in
	User    string
	Dir     *maildir.Dir
}

// Flags adds the flags and the passwd command to cmd.
func Flags(cmd *cobra.Command, p Protocol) *Server {
	s := &Server{protocol: p, open: office.Flag(cmd), serve: listen.Flags(cmd)}
	s.drop = drop.Flags(cmd, s.serve)
	f := cmd.Flags()
	f.StringVar(&s.user, "user", "", "serve the mailbox of `USER@DOMAIN` without a login; not over the network")
	f.StringVar(&s.maildir, "maildir", "", "serve the Maildir `PATH` without a login; not over the network")
	s.pair = certificate.Flags(cmd)
	f.BoolVar(&s.wrap, "tls-wrap", false, fmt.Sprintf("start with TLS at once, as on port %d", p.Port))
	f.BoolVar(&s.Plaintext, "allow-plaintext", false, "let users log in without TLS from anywhere")
	f.BoolVarP(&s.Verbose, "verbose", "v", false, "print the transcript of sessions on stderr")
	cmd.AddCommand(passwd.Command(s.open))
	return s
}

// check refuses flags that contradict each other.
func (s *Server) check() error {
	switch {
	case s.user != "" && s.maildir != "":
		return cli.Usagef("--user and --maildir exclude each other")
	case s.known() && (len(s.serve.Listen) > 0 || s.wrap):
		return cli.Usagef("--user and --maildir need no login, so they do not go with --listen or --tls-wrap")
	}
	return s.pair.Check()
}

// known reports whether the user is known without a login.
func (s *Server) known() bool { return s.user != "" || s.maildir != "" }

// Run serves until there are no more connections. prepare is called once when all fields are set. An error of session, if it
// was the only one, is the program's; of one among many it is logged.
func (s *Server) Run(cmd *cobra.Command, prepare func(), session func(context.Context, *Session) error) error {
	if err := s.check(); err != nil {
		return err
	}
	s.Log, s.trace = cli.Logger(cmd), cmd.ErrOrStderr()
	if s.maildir == "" {
		var err error
		if s.Office, err = s.open(); err != nil {
			return err
		}
		defer s.Office.Close()
		s.Office.Hashes = crypt.Hashes{}
	}
	var err error
	host, _ := os.Hostname() // without one the office's pair has another name
	if s.TLS, err = s.pair.Config(s.Office, host, s.protocol.ALPN); err != nil {
		return err
	}
	dirs := []string{s.maildir}
	if s.Office != nil {
		dirs[0] = s.Office.Root().Name()
	}
	if err := s.drop.Need(false, dirs, s.pair.Cert, s.pair.Key); err != nil {
		return err
	}
	prepare()
	s.serve.Busy = []byte(s.protocol.Busy + "\r\n")
	var failed error
	err = serve.Run(cmd.Context(), *s.serve, func(ctx context.Context, c *serve.Conn) {
		err := s.session(ctx, c, session)
		if err != nil && c.Name == "" {
			failed = err // the only session: it decides the exit status
		} else if err != nil {
			s.Log.Warn("session failed", "peer", c.Info.RemoteIP, "err", err)
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// session finds the mailbox of a known user, starts TLS where it is to be first, and hands over.
func (s *Server) session(ctx context.Context, c *serve.Conn, session func(context.Context, *Session) error) error {
	x := &Session{Conn: c, Secure: c.Info.TLS != "", Trusted: c.Local || loopback(c.Info.RemoteIP), User: s.user}
	if s.known() {
		if !c.Local {
			return status.Errorf(status.NoPerm, "%q may not read a mailbox without a login: it is not local", c.Info.RemoteIP)
		}
		d, err := s.mailbox()
		if err != nil {
			return err
		}
		x.Dir = d
	}
	if s.wrap {
		t, err := certificate.Handshake(ctx, c.Conn, s.TLS)
		if err != nil {
			return err
		}
		defer t.Close()
		c.Conn, x.Secure = t, true
	}
	return session(ctx, x)
}

// mailbox opens the mailbox of --maildir or --user.
func (s *Server) mailbox() (*maildir.Dir, error) {
	if s.maildir != "" {
		d, err := maildir.OpenPath(s.maildir)
		if err != nil {
			return nil, status.Errorf(status.NoInput, "%w", err)
		}
		return d, nil
	}
	a, err := envelope.Parse(s.user)
	if err != nil {
		return nil, err
	}
	box, err := s.Office.Lookup(a)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	return box.Maildir()
}

// Login asks the post office and returns the user's own address and mailbox.
func (s *Server) Login(user, password string) (string, *maildir.Dir, error) {
	box, err := s.Office.Authenticate(user, password)
	if err != nil {
		return "", nil, err
	}
	defer box.Close()
	d, err := box.Maildir()
	return box.Address.String(), d, err
}

// Print writes a line of a transcript.
func (s *Server) Print(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.trace, status.Escape(line, 600))
}

func loopback(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsLoopback()
}
