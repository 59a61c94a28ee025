package smtp

import (
	"strconv"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// priority is MT-PRIORITY (RFC 6710 section 3). A server that does not offer it treats the message as all others.
func (c *Client) priority(_ content, e *envelope.Envelope) (string, error) {
	if e.Priority == "" {
		return "", nil
	}
	if n, err := strconv.Atoi(e.Priority); err != nil || n < -9 || n > 9 {
		return "", status.Errorf(status.Config, "MT-PRIORITY=%q: want -9 to 9", e.Priority)
	}
	if _, offered := c.esmtp["MT-PRIORITY"]; !offered {
		return "", nil
	}
	return " MT-PRIORITY=" + e.Priority, nil
}

// deliverBy is BY (RFC 2852 section 4). A message that must be returned when it comes late does not go to a server that
// promises nothing, or needs more time than is left; one that may come late does.
func (c *Client) deliverBy(_ content, e *envelope.Envelope) (string, error) {
	if e.By == "" {
		return "", nil
	}
	seconds, mode, ok := ParseBy(e.By)
	if !ok {
		return "", status.Errorf(status.Config, "BY=%q: want seconds;R or seconds;N, and T behind it for a trace", e.By)
	}
	least, offered := c.esmtp["DELIVERBY"]
	n, err := strconv.ParseInt(least, 10, 64)
	strict := mode[0] == 'R'
	switch {
	case strict && seconds <= 0:
		return "", status.Errorf(status.HardFail, "deliver by: the time is over").WithReply(554, "5.4.7")
	case strict && !offered:
		return "", status.Errorf(status.HardFail, "deliver by: the server does not offer DELIVERBY").WithReply(554, "5.4.7")
	case strict && err == nil && seconds < n:
		return "", status.Errorf(status.HardFail, "deliver by: %d seconds are left, the server wants %d", seconds, n).WithReply(554, "5.4.7")
	case !offered:
		return "", nil
	}
	return " BY=" + e.By, nil
}

// ParseBy reads the value of BY: seconds, which may be negative with N, and R or N, with T behind it for a trace.
func ParseBy(s string) (seconds int64, mode string, ok bool) {
	number, mode, _ := strings.Cut(s, ";")
	seconds, err := strconv.ParseInt(number, 10, 64)
	mode = strings.ToUpper(mode)
	known := mode == "R" || mode == "RT" || mode == "N" || mode == "NT"
	ok = err == nil && known && len(strings.TrimPrefix(number, "-")) <= 9 && !strings.HasPrefix(number, "+") && (seconds > 0 || mode[0] == 'N')
	return seconds, mode, ok
}

// hold is HOLDFOR or HOLDUNTIL (RFC 4865 section 4). A server that cannot hold the message, or not for so long, does not get it:
// it would send it now.
func (c *Client) hold(_ content, e *envelope.Envelope) (string, error) {
	switch {
	case e.HoldFor == "" && e.HoldUntil == "":
		return "", nil
	case e.HoldFor != "" && e.HoldUntil != "":
		return "", status.Errorf(status.Config, "hold: HOLDFOR and HOLDUNTIL do not go together")
	}
	limits, offered := c.esmtp["FUTURERELEASE"]
	if !offered {
		return "", status.Errorf(status.HardFail, "hold: the server does not offer FUTURERELEASE").WithReply(554, "5.3.3")
	}
	most, until, _ := strings.Cut(limits, " ")
	if e.HoldFor != "" {
		n, err := strconv.ParseInt(e.HoldFor, 10, 64)
		if err != nil || n <= 0 || len(e.HoldFor) > 9 {
			return "", status.Errorf(status.Config, "HOLDFOR=%q: want seconds", e.HoldFor)
		}
		if max, err := strconv.ParseInt(most, 10, 64); err == nil && n > max {
			return "", status.Errorf(status.HardFail, "hold: the server holds for %d seconds, not %d", max, n).WithReply(554, "5.3.3")
		}
		return " HOLDFOR=" + e.HoldFor, nil
	}
	t, err := time.Parse(time.RFC3339, e.HoldUntil)
	if err != nil {
		return "", status.Errorf(status.Config, "HOLDUNTIL=%q: want a time by RFC 3339", e.HoldUntil)
	}
	if max, err := time.Parse(time.RFC3339, strings.TrimSpace(until)); err == nil && t.After(max) {
		return "", status.Errorf(status.HardFail, "hold: the server holds until %s", max.Format(time.RFC3339)).WithReply(554, "5.3.3")
	}
	return " HOLDUNTIL=" + e.HoldUntil, nil
}
