package smtp

import (
	"context"
	"strconv"
	"strings"

	"pennypost/internal/status"
)

// limit is a number of LIMITS (RFC 9422), or 0 when the server names none.
func (c *Client) limit(name string) int {
	for _, word := range strings.Fields(c.esmtp["LIMITS"]) {
		key, value, _ := strings.Cut(word, "=")
		if n, err := strconv.Atoi(value); strings.EqualFold(key, name) && err == nil && n > 0 && len(value) <= 6 {
			return n
		}
	}
	return 0
}

// batch takes from the recipients as many as the server allows in one transaction: RCPTMAX in all, and of RCPTDOMAINMAX
// domains.
func (c *Client) batch(todo []rcpt) (now, later []rcpt) {
	most, domains := c.limit("RCPTMAX"), c.limit("RCPTDOMAINMAX")
	seen := make(map[string]bool)
	for _, r := range todo {
		full := most > 0 && len(now) >= most || domains > 0 && !seen[r.domain] && len(seen) >= domains
		if full {
			later = append(later, r)
			continue
		}
		seen[r.domain] = true
		now = append(now, r)
	}
	return now, later
}

// anew connects again when the server takes no more messages in one session (MAILMAX).
func (c *Client) anew(ctx context.Context) error {
	if c.broken != nil {
		return c.broken
	}
	most := c.limit("MAILMAX")
	if most == 0 || c.begun < most {
		return nil
	}
	c.command(ctx, waitQuit, "QUIT")
	c.conn.Close()
	again, err := Connect(ctx, c.dial, c.o)
	if err != nil {
		c.broken = status.Of(err)
		return c.broken
	}
	*c = *again
	return nil
}
