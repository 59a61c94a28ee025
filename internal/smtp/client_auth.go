package smtp

import (
	"context"
	"encoding/base64"
	"strings"

	"pennypost/internal/status"
)

// maxChallenges ends an exchange in which the server never comes to a decision.
const maxChallenges = 8

// Mechanism is a way to log in: its SASL name and the exchange, which is made anew for each attempt.
type Mechanism struct {
	Name string
	New  func() Responder
}

// Responder is the client's side of a SASL mechanism. Start returns the initial response, nil when there is none.
type Responder interface {
	Start() ([]byte, error)
	Next(challenge []byte) ([]byte, error)
}

// login does AUTH (RFC 4954), only under TLS. A refused password is our mistake and not the message's: temporary.
func (c *Client) login(ctx context.Context) error {
	if len(c.o.Auth) == 0 {
		return nil
	}
	if c.tls == nil {
		return status.Errorf(status.Config, "log in: not without TLS")
	}
	offered := strings.Fields(strings.ToUpper(c.esmtp["AUTH"]))
	for _, m := range c.o.Auth {
		for _, name := range offered {
			if name == m.Name {
				return c.exchange(ctx, m)
			}
		}
	}
	return status.Errorf(status.Config, "log in: the server offers none of our mechanisms, but %q", strings.Join(offered, " "))
}

func (c *Client) exchange(ctx context.Context, m Mechanism) error {
	x := m.New()
	first, err := x.Start()
	if err != nil {
		return status.Errorf(status.Config, "log in by %s: %w", m.Name, err)
	}
	line := "AUTH " + m.Name
	switch {
	case first != nil && len(first) == 0:
		line += " ="
	case first != nil:
		line += " " + base64.StdEncoding.EncodeToString(first)
	}
	rep, err := c.command(ctx, waitHello, line)
	for range maxChallenges {
		if err != nil || rep.Code != 334 {
			break
		}
		var answer []byte
		challenge, bad := base64.StdEncoding.DecodeString(rep.Text())
		if bad == nil {
			answer, bad = x.Next(challenge)
		}
		if bad != nil {
			c.command(ctx, waitHello, "*")
			return status.Errorf(status.Config, "log in by %s: %w", m.Name, bad)
		}
		rep, err = c.command(ctx, waitHello, base64.StdEncoding.EncodeToString(answer))
	}
	switch {
	case err != nil:
		return err
	case rep.Code != 235:
		return status.Errorf(status.Config, "log in by %s: %s", m.Name, rep)
	}
	return nil
}
