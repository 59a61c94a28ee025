package policy

import (
	"io"
	"mime"
	"net/mail"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// OwnSender is nil when the sender of a MAIL command belongs to the user who is logged in, or is the null path, by which
// receipts are sent (RFC 6409 section 6.1).
func OwnSender(sender envelope.Address, user string, own bool) error {
	if own || sender.IsNull() {
		return nil
	}
	return status.Errorf(status.NoPerm, "%s: Sender address rejected: not owned by user %s", sender.Path(), user).WithReply(553, "5.7.1")
}

// OwnAuthor is nil when an address of From belongs to the user who is logged in.
func OwnAuthor(author envelope.Address, user string, own bool) error {
	if own {
		return nil
	}
	return status.Errorf(status.NoPerm, "From %s: address not owned by user %s", author.Path(), user).WithReply(550, "5.7.1")
}

// Authors are the addresses of the message's From field. There must be one field, with at least one address, and each with a
// domain that is fully qualified (RFC 5322 section 3.6.2, RFC 6409 section 4.2).
func Authors(h message.Header) ([]envelope.Address, error) {
	fields := h.All("From")
	if len(fields) != 1 {
		return nil, status.Errorf(status.Data, "the message has %d From fields, it needs one (RFC 5322 section 3.6)", len(fields)).WithReply(550, "5.6.0")
	}
	p := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: anyCharset}}
	list, err := p.ParseList(fields[0].Value())
	if err != nil || len(list) == 0 {
		return nil, status.Errorf(status.Data, "the From field cannot be read (RFC 5322 section 3.4)").WithReply(550, "5.6.0")
	}
	var authors []envelope.Address
	for _, a := range list {
		at := strings.LastIndexByte(a.Address, '@')
		domain, err := envelope.ParseDomain(a.Address[at+1:])
		if at < 1 || err != nil || !strings.Contains(domain, ".") {
			return nil, status.Errorf(status.Data, "From %q: its domain is not fully qualified", status.Escape(a.Address, 200)).WithReply(550, "5.6.0")
		}
		authors = append(authors, envelope.Address{Local: a.Address[:at], Domain: domain})
	}
	return authors, nil
}

// anyCharset lets names be written in any charset: nobody looks at them.
func anyCharset(_ string, r io.Reader) (io.Reader, error) { return r, nil }
