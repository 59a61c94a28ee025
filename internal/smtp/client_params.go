package smtp

import (
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// mailCommand is MAIL with the parameters that the message needs and the server offers. It is an error when the server
// lacks one the message cannot go without.
func (c *Client) mailCommand(what content, e *envelope.Envelope) (string, error) {
	line := "MAIL FROM:"
	sender, err := e.Sender.ASCII()
	if err != nil {
		return "", err
	}
	line += sender.Path()
	if max, ok := c.esmtp["SIZE"]; ok {
		if n, err := strconv.ParseInt(max, 10, 64); err == nil && n > 0 && what.size > n {
			return "", status.Errorf(status.HardFail, "the message has %d bytes, the server takes %d", what.size, n).WithReply(552, "5.3.4")
		}
		line += " SIZE=" + strconv.FormatInt(what.size, 10)
	}
	if what.binary {
		line += " BODY=" + BinaryMIME
	} else if _, ok := c.esmtp["8BITMIME"]; ok && what.eightBit() {
		line += " BODY=8BITMIME"
	}
	for _, more := range []func(content, *envelope.Envelope) (string, error){c.utf8Parameter, c.tlsParameter, c.dsnMail, c.priority, c.deliverBy, c.hold} {
		p, err := more(what, e)
		if err != nil {
			return "", err
		}
		line += p
	}
	return line, nil
}

// utf8Parameter is SMTPUTF8 (RFC 6531 section 3.4) when an address or the header needs it.
func (c *Client) utf8Parameter(what content, e *envelope.Envelope) (string, error) {
	own := needsUTF8(e.Sender) || e.SMTPUTF8 && what.eightHead
	need := own
	for _, a := range e.Recipients {
		need = need || needsUTF8(a)
	}
	_, offered := c.esmtp["SMTPUTF8"]
	switch {
	case need && offered:
		return " SMTPUTF8", nil
	case own:
		return "", noUTF8("the sender or the header")
	}
	return "", nil // a recipient that needs it fails by itself
}

// needsUTF8 is about the local part: a domain can always be said in ASCII.
func needsUTF8(a envelope.Address) bool {
	return envelope.Address{Local: a.Local}.NeedsUTF8()
}

func noUTF8(what string) error {
	return status.Errorf(status.HardFail, "%s is not ASCII and the server offers no SMTPUTF8", what).WithReply(553, "5.6.7")
}

// tlsParameter is REQUIRETLS (RFC 8689 section 4.2.1): only over TLS with a verified certificate, and only to a server that
// will ask the same of the next.
func (c *Client) tlsParameter(_ content, e *envelope.Envelope) (string, error) {
	if !e.RequireTLS {
		return "", nil
	}
	_, offered := c.esmtp["REQUIRETLS"]
	if !offered || !c.verified() {
		return "", status.Errorf(status.HardFail, "REQUIRETLS: no verified TLS to a server that offers it").WithReply(550, "5.7.30")
	}
	return " REQUIRETLS", nil
}

// dsnMail is RET and ENVID (RFC 3461 sections 4.3 and 4.4) where DSN is offered.
func (c *Client) dsnMail(_ content, e *envelope.Envelope) (string, error) {
	var p string
	if _, ok := c.esmtp["DSN"]; !ok {
		return "", nil
	}
	switch ret := strings.ToUpper(e.Ret); ret {
	case "":
	case "FULL", "HDRS":
		p += " RET=" + ret
	default:
		return "", status.Errorf(status.Config, "RET=%q: want FULL or HDRS", e.Ret)
	}
	if e.EnvID != "" {
		if !validXtext(e.EnvID) || len(e.EnvID) > 100 {
			return "", status.Errorf(status.Config, "ENVID=%q: not xtext of up to 100 bytes", e.EnvID)
		}
		p += " ENVID=" + e.EnvID
	}
	return p, nil
}

// rcptCommand is RCPT for recipient i, with NOTIFY and ORCPT (RFC 3461 sections 4.1 and 4.2) where they are asked for and
// DSN is offered.
func (c *Client) rcptCommand(e *envelope.Envelope, i int) (string, error) {
	a := e.Recipients[i]
	if a.IsNull() {
		return "", status.Errorf(status.NoUser, "a recipient cannot be empty").WithReply(553, "5.1.3")
	}
	if _, ok := c.esmtp["SMTPUTF8"]; !ok && needsUTF8(a) {
		return "", noUTF8("the address")
	}
	a, err := a.ASCII()
	if err != nil {
		return "", err
	}
	line := "RCPT TO:" + a.Path()
	if _, ok := c.esmtp["DSN"]; !ok {
		return line, nil
	}
	p, err := dsnRcpt(at(e.Notify, i), at(e.ORcpt, i))
	return line + p, err
}

func dsnRcpt(notify, orcpt string) (string, error) {
	p := ""
	if notify != "" {
		if !validNotify(strings.ToUpper(notify)) {
			return "", status.Errorf(status.Config, "NOTIFY=%q: want NEVER or some of SUCCESS,FAILURE,DELAY", notify)
		}
		p += " NOTIFY=" + strings.ToUpper(notify)
	}
	if orcpt != "" {
		if orcpt = embedUnicode(orcpt); !validORcpt(orcpt) || strings.ContainsFunc(orcpt, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return "", status.Errorf(status.Config, "ORCPT=%q: want type;address in xtext", orcpt)
		}
		p += " ORCPT=" + orcpt
	}
	return p, nil
}

// embedUnicode is the ASCII form of an address of type utf-8, with \x{HEX} for what is not ASCII (RFC 6533 section 3).
func embedUnicode(orcpt string) string {
	var b strings.Builder
	for _, r := range orcpt {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		b.WriteString(`\x{` + strings.ToUpper(strconv.FormatInt(int64(r), 16)) + "}")
	}
	return b.String()
}

// at is list[i], or "" beyond its end.
func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}
