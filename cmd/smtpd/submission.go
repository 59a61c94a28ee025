package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/policy"
	"pennypost/internal/postoffice"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// submitter is nil when a user is logged in who may send by this address.
func (h *handler) submitter(f *smtp.Facts, sender envelope.Address) error {
	user := f.Envelope.Conn.AuthUser
	if err := policy.Submission(user); err != nil {
		return err
	}
	own, err := h.owns(user, sender)
	if err != nil {
		return err
	}
	return policy.OwnSender(sender, user, own)
}

// owns says whether an address is the user's: it leads to the user's mailbox by its name, an extension of it or an alias, but
// not by a catch-all.
func (h *handler) owns(user string, a envelope.Address) (bool, error) {
	if a.IsNull() || a.Domain == "" {
		return false, nil
	}
	box, err := h.office.Lookup(a)
	if err != nil {
		if e := status.Of(err); e.Class != status.Permanent {
			return false, e
		}
		return false, nil
	}
	defer box.Close()
	return box.Address.String() == user && named(box), nil
}

// named says that a mailbox was found by its name or alias, with or without an extension.
func named(box *postoffice.Mailbox) bool {
	rest, ok := strings.CutPrefix(box.DeliveredTo().Local, box.Address.Local)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == '-')
}

// submitted checks who the message says it is from and completes it: Date and Message-ID are put below our Received field
// where they are missing (RFC 6409 sections 8.2 and 8.3). Everything else stays as it is.
func (h *handler) submitted(f *smtp.Facts, m *message.Message, header message.Header) (*message.Message, error) {
	user := f.Envelope.Conn.AuthUser
	authors, err := policy.Authors(header)
	if err != nil {
		return nil, err
	}
	for _, a := range authors {
		own, err := h.owns(user, a)
		if err != nil {
			return nil, err
		}
		if err := policy.OwnAuthor(a, user, own); err != nil {
			return nil, err
		}
	}
	var more bytes.Buffer
	if len(header.All("Date")) == 0 {
		fmt.Fprintf(&more, "Date: %s\n", time.Now().Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	}
	if len(header.All("Message-ID")) == 0 {
		fmt.Fprintf(&more, "Message-ID: <%s.%s@%s>\n", f.ID, rand.Text(), h.name)
	}
	if more.Len() == 0 {
		return m, nil
	}
	trace := header.All("Received")[0] // ours
	return m.Without([]message.Span{trace.Span()}).Prepend(append(bytes.Clone(trace.Raw), more.Bytes()...)), nil
}
