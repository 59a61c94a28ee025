package smtp

import (
	"context"
	"strings"

	"pennypost/internal/status"
)

// beginning is a part of how a session begins, and the stage it ends.
type beginning struct {
	do   func(context.Context) error
	then Stage
}

// header writes what goes before the session. It is no part of the dialogue.
func (c *Client) header(ctx context.Context) error {
	if c.o.Header == nil {
		return nil
	}
	b, err := c.o.Header(c.raw)
	if err != nil {
		return status.Errorf(status.Config, "make the header of the connection: %w", err)
	}
	c.until(ctx, waitHello)
	if _, err := c.raw.Write(b); err != nil {
		return c.fail(ctx, err)
	}
	c.o.Transcript.Remark("%d bytes before the session", len(b))
	return nil
}

// xclient says XCLIENT, which a server takes from those who may test it. The session begins anew after each.
func (c *Client) xclient(ctx context.Context) error {
	for _, attributes := range c.o.XClient {
		if _, offered := c.esmtp["XCLIENT"]; !offered {
			if c.o.XClientIf {
				return nil
			}
			return status.Errorf(status.Config, "XCLIENT is not offered to us")
		}
		if strings.ContainsFunc(attributes, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
			return status.Errorf(status.Config, "XCLIENT %q: want printable ASCII", attributes)
		}
		rep, err := c.command(ctx, waitHello, "XCLIENT "+attributes)
		if err != nil {
			return err
		}
		if err := expect(rep, 220, "XCLIENT"); err != nil {
			return err
		}
		if err := c.hello(ctx); err != nil {
			return err
		}
	}
	return nil
}

// verified says whether the other end of the connection has shown who it is.
func (c *Client) verified() bool {
	return c.tls != nil && (len(c.tls.VerifiedChains) > 0 || c.o.Verifies && c.o.TLS != TLSOffered)
}
