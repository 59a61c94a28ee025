package smtp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"strings"

	"pennypost/internal/status"
)

const (
	// maxChallenges ends an exchange in which the server never comes to a decision.
	maxChallenges = 8
	// maxInitialLine is what a command line with an initial response may have, with CRLF (RFC 4954 section 4).
	maxInitialLine = 512
)

// Mechanism is a way to log in: its SASL name and the exchange, which is made anew for each attempt.
type Mechanism struct {
	Name  string
	Clear bool // it sends the secret itself
	// New begins an exchange on a connection, state nil = in clear, with a server that offers these mechanisms. Nil means that
	// it cannot be done there.
	New func(state *tls.ConnectionState, offered []string) Responder
}

// Responder is the client's side of a SASL mechanism. Start returns the initial response, nil when there is none. One with
// a method Proved() bool believes the server's word of success only when that is true.
type Responder interface {
	Start() ([]byte, error)
	Next(challenge []byte) ([]byte, error)
}

// login does AUTH (RFC 4954) by the first of our mechanisms that the server offers and the connection is good enough for. A
// refused password is our mistake and not the message's: temporary.
func (c *Client) login(ctx context.Context) error {
	if len(c.o.Auth) == 0 {
		return nil
	}
	offered := strings.Fields(strings.ToUpper(c.esmtp["AUTH"]))
	private, withheld := c.private(), ""
	for _, m := range c.o.Auth {
		if !slices.Contains(offered, m.Name) {
			continue
		}
		if m.Clear && !private {
			withheld = m.Name
			continue
		}
		if x := m.New(c.tls, offered); x != nil {
			return c.exchange(ctx, m.Name, x)
		}
	}
	if withheld == "" && c.o.AuthIf {
		return nil
	}
	if withheld != "" {
		return status.Errorf(status.Config, "log in: %s sends the secret, not without TLS that is demanded", withheld)
	}
	return status.Errorf(status.Config, "log in: the server offers none of our mechanisms, but %q", strings.Join(offered, " "))
}

// private says whether a secret may be sent as it is: TLS is demanded, nobody can be between, or the user does not mind.
func (c *Client) private() bool {
	return c.o.TLS == TLSRequired || c.o.TLS == TLSImplicit || c.o.ClearAuth || Local(c.raw.RemoteAddr())
}

// Local says whether an address is on this host.
func Local(a net.Addr) bool {
	if n := a.Network(); n == "unix" || n == "pipe" {
		return true
	}
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func (c *Client) exchange(ctx context.Context, name string, x Responder) error {
	first, err := x.Start()
	if err != nil {
		return status.Errorf(status.Config, "log in by %s: %w", name, err)
	}
	line, late := authLine(name, first)
	rep, err := c.command(ctx, waitHello, line)
	for range maxChallenges {
		if err != nil || rep.Code != 334 {
			break
		}
		answer, bad := next(x, rep.Text(), late)
		late = nil
		if bad != nil {
			c.command(ctx, waitHello, "*")
			return status.Errorf(status.Config, "log in by %s: %w", name, bad)
		}
		rep, err = c.command(ctx, waitHello, base64.StdEncoding.EncodeToString(answer))
	}
	switch p, proves := x.(interface{ Proved() bool }); {
	case err != nil:
		return err
	case rep.Code != 235:
		return status.Errorf(status.Config, "log in by %s: %s", name, rep)
	case proves && !p.Proved():
		return status.Errorf(status.Config, "log in by %s: the server says yes and has not shown that it knows the password", name)
	}
	return nil
}

// authLine is the command, with the initial response when there is one and it is short enough; otherwise that is late and
// waits for the first challenge.
func authLine(name string, first []byte) (line string, late []byte) {
	line = "AUTH " + name
	if first == nil {
		return line, nil
	}
	word := base64.StdEncoding.EncodeToString(first)
	if word == "" {
		word = "="
	}
	if len(line)+1+len(word)+2 > maxInitialLine {
		return line, first
	}
	return line + " " + word, nil
}

// next is the answer to a challenge in base64.
func next(x Responder, text string, late []byte) ([]byte, error) {
	challenge, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if late != nil && len(challenge) == 0 {
		return late, nil
	}
	return x.Next(challenge)
}
