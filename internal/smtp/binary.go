package smtp

import (
	"errors"
	"math"

	"pennypost/internal/message"
	"pennypost/internal/message/recode"
	"pennypost/internal/status"
)

// BinaryMIME is the body of RFC 3030 section 3: octets that need not be lines. They come and go by BDAT only. Here messages are
// kept as lines, so its parts in binary become base64 when it comes in, and when it goes to a server that cannot take it.
const BinaryMIME = "BINARYMIME"

// Text makes of a message with BODY=BINARYMIME, in octets as they are sent, one with LF line ends and no binary parts, which
// the caller closes; m stays the caller's. A message that has a bare CR, a bare LF or a NUL outside of binary parts is
// refused for good, 554 5.6.0; one that may not be changed by 554 5.6.3.
func Text(m *message.Message) (*message.Message, error) { return text(m, shape{}) }

// text is [Text] with limits for the header and the lines of the result.
func text(m *message.Message, limits shape) (*message.Message, error) {
	r := newReceiver(math.MaxInt64)
	r.shape = limits
	if err := recode.Unbinary(r, m); err != nil {
		r.discard()
		return nil, status.Of(err)
	}
	out, err := r.finish()
	var v *message.Violation
	if errors.As(err, &v) {
		return nil, status.Errorf(status.Data, "Error: %s outside of the binary parts (counted without them)", v.Kind).WithReply(554, "5.6.0")
	}
	return out, err
}

// finishBinary is finish for a message that came with BODY=BINARYMIME. It was counted, so that nothing in it can be taken for
// its end: what is wrong with it is no reason to end the session.
func (r *receiver) finishBinary() (*message.Message, error) {
	if r.err != nil {
		r.discard()
		return nil, r.err
	}
	raw, err := r.spool.Message()
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	return text(raw, r.shape)
}
