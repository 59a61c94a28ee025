package smtp

import (
	"pennypost/internal/message"
	"pennypost/internal/message/recode"
	"pennypost/internal/status"
)

// fit brings a message into a form that the server takes and tells what is in it. What it returns is closed by the caller; m
// stays the caller's.
func (c *Client) fit(m *message.Message) (*message.Message, content, error) {
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

func (c *Client) signed(m *message.Message) bool {
	h, err := m.Header()
	return err == nil && h.Get("DKIM-Signature") != ""
}
