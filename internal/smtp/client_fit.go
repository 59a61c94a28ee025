package smtp

import (
	"pennypost/internal/message"
	"pennypost/internal/message/recode"
	"pennypost/internal/status"
)

// fit brings a message with the given body, as in SMTP_BODY, into a form that the server takes and tells what is in it. What
// it returns is closed by the caller; m stays the caller's.
func (c *Client) fit(m *message.Message, body string) (*message.Message, content, error) {
	if body == BinaryMIME {
		return c.fitBinary(m)
	}
	what, err := scan(m.Reader())
	if err != nil {
		return nil, what, err
	}
	_, eight := c.esmtp["8BITMIME"]
	need := recode.Need{SevenBit: what.eightBody && !eight, Lines: what.longLine > 0}
	if need.Lines && !c.o.WrapLines {
		return nil, what, status.Errorf(status.Data, "line %d has more than the %d bytes that may be sent", what.longLine, recode.MaxLine)
	}
	if need == (recode.Need{}) {
		return message.New(m, m.Size()), what, nil
	}
	signed := c.signed(m)
	m, err = recode.Rewrite(m, need)
	if err != nil {
		return nil, what, err
	}
	c.o.Transcript.Remark("message re-encoded as quoted-printable")
	if signed && c.o.Warn != nil {
		c.o.Warn("the message had to be re-encoded for this server: its DKIM signatures do not hold any more")
	}
	what, err = scan(m.Reader())
	return m, what, err
}

// fitBinary leaves binary octets to a server that takes them, and makes a text of them for others (RFC 3030 section 3).
func (c *Client) fitBinary(m *message.Message) (*message.Message, content, error) {
	if c.takesBinary() {
		what, err := scanBody(m, BinaryMIME)
		return message.New(m, m.Size()), what, err
	}
	lines, err := Text(m)
	if err != nil {
		return nil, content{}, err
	}
	defer lines.Close()
	c.o.Transcript.Remark("binary parts re-encoded as base64")
	if c.signed(m) && c.o.Warn != nil {
		c.o.Warn("the message had to be re-encoded for this server: its DKIM signatures do not hold any more")
	}
	return c.fit(lines, "")
}

// takesBinary says whether octets go as they are: where that is offered and not ruled out, and the message is sent at all, since
// to stop behind DATA there has to be one.
func (c *Client) takesBinary() bool {
	_, binary := c.esmtp[BinaryMIME]
	_, chunks := c.esmtp["CHUNKING"]
	return binary && chunks && c.o.Chunking != ChunkNever && c.o.Stop != StageData
}

func (c *Client) signed(m *message.Message) bool {
	h, err := m.Header()
	return err == nil && h.Get("DKIM-Signature") != ""
}
