package main

import (
	"context"
	"errors"
	"time"

	"pennypost/internal/delivery"
	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/policy"
	"pennypost/internal/postoffice"
	"pennypost/internal/smtp"
)

// commandDeadline bounds the command. It is below the 10 minutes a client waits for the reply to its final dot (RFC 5321
// section 4.5.3.2.6), so that a slow command does not make it send the message again.
const commandDeadline = 9 * time.Minute

// handler asks the office and the policy, and hands messages on.
type handler struct {
	office   *postoffice.Office
	name     string
	command  []string         // none: deliver into the office in this process
	delivery delivery.Options // of what goes into the office without a program
	maxHops  int
	relay    policy.Networks // clients that may send to other hosts

	relayLocal bool // so may who has no address
}

func (h *handler) Connect(context.Context, *smtp.Facts) error { return nil }

func (h *handler) Mail(_ context.Context, f *smtp.Facts, m *smtp.Mail) error {
	if f.Service == smtp.Submission {
		return h.submitter(f, m.Sender)
	}
	return nil
}

// Rcpt asks the office at once, so that nothing is accepted that must be bounced later.
func (h *handler) Rcpt(_ context.Context, f *smtp.Facts, r *smtp.Recipient) error {
	said := r.Address
	box, err := h.lookup(said)
	if err == nil {
		if said.Domain == "" {
			r.Address = box.Address
		}
		box.Close()
	}
	return policy.Recipient{
		Address:  said,
		Local:    !errors.Is(err, postoffice.ErrNotLocal),
		Lookup:   err,
		User:     f.Envelope.Conn.AuthUser,
		Named:    h.named(f.Envelope.Conn),
		MayRelay: len(h.command) > 0,
	}.Accept()
}

// lookup finds a mailbox. A postmaster without domain is first looked for in the domains of this host's name.
func (h *handler) lookup(a envelope.Address) (*postoffice.Mailbox, error) {
	if a.Domain == "" {
		for _, p := range policy.Postmasters(h.name) {
			if box, err := h.office.Lookup(p); err == nil {
				return box, nil
			}
		}
	}
	return h.office.Lookup(a)
}

// Examine counts hops and completes what users send. The first Received field is our own.
func (h *handler) Examine(_ context.Context, f *smtp.Facts, m *message.Message) (*message.Message, error) {
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	if err := policy.Hops(len(header.All("Received"))-1, h.maxHops); err != nil {
		return nil, err
	}
	if f.Service == smtp.Submission {
		return h.submitted(f, m, header)
	}
	return m, nil
}

// Data hands the message on.
func (h *handler) Data(ctx context.Context, f *smtp.Facts, m *message.Message) error {
	if len(h.command) == 0 {
		return delivery.Deliver(ctx, h.office.Lookup, m, f.Envelope, h.delivery)
	}
	return handoff.Command{Args: h.command, Deadline: commandDeadline}.Run(ctx, m, f.Envelope)
}

func (h *handler) Reset(*smtp.Facts) {}
