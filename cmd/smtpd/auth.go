package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/postoffice"
	"pennypost/internal/postoffice/crypt"
	"pennypost/internal/sasl"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

const (
	tokenDeadline = 30 * time.Second // for --auth-program
	maxTokenUser  = 512              // bytes it may say
)

// login is how users of the office log in.
type login struct {
	office  *postoffice.Office
	host    string
	plain   bool                            // AUTH without TLS
	cramMD5 bool                            // --cram-md5
	program string                          // --auth-program, "" = none
	clients *x509.CertPool                  // --client-ca, nil = none
	pair    func() (tls.Certificate, error) // our certificate
}

// newLogin reads what the flags name.
func newLogin(o options, off *postoffice.Office) (*login, error) {
	off.Hashes = crypt.Hashes{}
	l := &login{office: off, host: o.name, plain: o.plaintext, cramMD5: o.cramMD5, program: o.authProgram, pair: o.pair.Pair(off, o.name)}
	if o.authProgram != "" {
		if _, err := exec.LookPath(o.authProgram); err != nil {
			return nil, status.Errorf(status.Config, "find the program of --auth-program: %w", err)
		}
	}
	if o.clientCA != "" {
		pem, err := os.ReadFile(o.clientCA)
		if err != nil {
			return nil, status.Errorf(status.Config, "read --client-ca: %w", err)
		}
		if l.clients = x509.NewCertPool(); !l.clients.AppendCertsFromPEM(pem) {
			return nil, status.Errorf(status.Config, "read --client-ca: no certificate in %q", o.clientCA)
		}
	}
	return l, nil
}

// authenticator offers in each session what secrets and flags allow.
func (l *login) authenticator() *smtp.Authenticator {
	return &smtp.Authenticator{
		Plaintext: l.plain,
		Session: func(f *smtp.Facts) *smtp.Authenticator {
			return &smtp.Authenticator{
				Mechanisms: l.accounts(f, nil).Mechanisms(),
				Start: func(mechanism string, accepted func(string)) smtp.AuthExchange {
					x, _ := l.accounts(f, accepted).Start(mechanism)
					return x
				},
			}
		},
	}
}

// accounts are the office's users as they may log in in the session. The name that counts is that of the mailbox.
func (l *login) accounts(f *smtp.Facts, accepted func(string)) sasl.Accounts {
	enter := func(box *postoffice.Mailbox, err error) error {
		if err != nil {
			return err
		}
		accepted(box.Address.String())
		return box.Close()
	}
	a := sasl.Accounts{
		Host:     l.host,
		Password: func(user, password string) error { return enter(l.office.Authenticate(user, password)) },
		Accept:   func(user string) error { return enter(l.office.Account(user)) },
	}
	if all, err := l.office.AllScram(); err == nil && all {
		a.Keys = l.office.ScramKeys
		if f.TLS != nil && canBind(f.TLS) {
			a.Binding = func(kind string) ([]byte, error) { return l.binding(f.TLS, kind) }
		}
	}
	if l.cramMD5 {
		a.Cleartext = l.office.Cleartext
	}
	if l.program != "" {
		a.Token = func(mechanism, user, token string) error {
			return enter(l.askProgram(f.Envelope.Conn, mechanism, user, token))
		}
	}
	if l.identify(f.TLS, "") != nil {
		a.External = func(user string) error {
			box := l.identify(f.TLS, user)
			if box == nil {
				return sasl.ErrIdentity
			}
			return enter(l.office.Account(box.String()))
		}
	}
	return a
}

// canBind tells whether the connection has keying material to export: TLS 1.3, or 1.2 with the extended master secret (RFC
// 9266 section 3).
func canBind(state *tls.ConnectionState) bool {
	_, err := sasl.Exporter(state)
	return err == nil
}

// binding is the channel binding of RFC 9266, or that of RFC 5929 section 4.
func (l *login) binding(state *tls.ConnectionState, kind string) ([]byte, error) {
	switch kind {
	case sasl.TLSExporter:
		return sasl.Exporter(state)
	case sasl.TLSServerEndPoint:
		pair, err := l.pair()
		if err != nil {
			return nil, err
		}
		return endPoint(pair.Certificate)
	}
	return nil, fmt.Errorf("no channel binding of type %q", kind)
}

// endPoint is the binding to a chain's first certificate.
func endPoint(chain [][]byte) ([]byte, error) {
	if len(chain) == 0 {
		return nil, errors.New("no certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	return sasl.EndPoint(leaf)
}

// identify finds the mailbox that the client's certificate speaks for: of its e-mail addresses, or its common name when it
// has none, the first that is one, and is that of user where user is given. Nil means none, or no certificate to trust.
func (l *login) identify(state *tls.ConnectionState, user string) *envelope.Address {
	if l.clients == nil || state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf, between := state.PeerCertificates[0], x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	use := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: l.clients, Intermediates: between, KeyUsages: use}); err != nil {
		return nil
	}
	names := leaf.EmailAddresses
	if len(names) == 0 {
		names = []string{leaf.Subject.CommonName}
	}
	asked := l.mailbox(user)
	for _, name := range names[:min(len(names), 10)] {
		if found := l.mailbox(name); found != nil && (user == "" || asked != nil && *asked == *found) {
			return found
		}
	}
	return nil
}

// mailbox is the address of the mailbox of a login name, nil when there is none.
func (l *login) mailbox(name string) *envelope.Address {
	if name == "" {
		return nil
	}
	box, err := l.office.Account(name)
	if err != nil {
		return nil
	}
	defer box.Close()
	return &box.Address
}

// askProgram runs --auth-program: the token is its standard input, who logs in its output. See smtpd(8).
func (l *login) askProgram(c envelope.Connection, mechanism, user, token string) (*postoffice.Mailbox, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenDeadline)
	defer cancel()
	var said, complaint limited
	cmd := exec.CommandContext(ctx, l.program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(token), &said, &complaint
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "AUTH_MECHANISM="+mechanism, "AUTH_USER="+user,
		"PROTO="+c.Proto, "TCPREMOTEIP="+c.RemoteIP, "TLS="+c.TLS)
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &ended) && ctx.Err() == nil && refuses(ended.ExitCode()):
		return nil, status.Errorf(status.NoPerm, "token refused: %s", complaint.String()).WithReply(535, "5.7.8")
	default:
		return nil, status.Errorf(status.TempFail, "run %q: %w: %s", l.program, err, complaint.String())
	}
	name, rest, _ := strings.Cut(said.String(), "\n")
	if name = strings.TrimSuffix(name, "\r"); name == "" || rest != "" || len(said.b) > maxTokenUser {
		return nil, status.Errorf(status.Config, "%q says %q: want one line with a user", l.program, said.String())
	}
	box, err := l.office.Account(name)
	if err != nil || user == "" {
		return box, err
	}
	if asked := l.mailbox(user); asked == nil || *asked != box.Address {
		box.Close()
		return nil, sasl.ErrIdentity
	}
	return box, nil
}

// refuses tells the exit statuses that mean no: that of checkpassword, and those of mailpipe(7).
func refuses(code int) bool {
	return code == 1 || code == 65 || code == 67 || code == 68 || code == 77 || code == 100
}

// limited keeps the beginning of what is written to it.
type limited struct{ b []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), maxTokenUser+2-len(l.b))]...)
	return len(p), nil
}

func (l *limited) String() string { return string(bytes.TrimRight(l.b, "\n")) }
