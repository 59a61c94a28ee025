package report

import (
	"strings"

	"pennypost/internal/envelope"
)

// Decide says who is told and of which recipients; nobody when there are none.
//
//   - The sender hears of a failure unless NOTIFY is there without FAILURE, of a delay unless it is there without DELAY, of a
//     success only where it says SUCCESS and he is one of us (see Submitted): for others confirmations would be a
//     way to find out addresses and to have us send mail to third parties (RFC 3461 sections 4.1 and 5.2).
//   - The null sender hears of nothing (RFC 5321 section 4.5.5). The postmaster hears of his failures, whatever NOTIFY says:
//     that is for the sender.
//   - Of what could not be delivered to the postmaster himself nobody hears.
func Decide(f Facts) (to envelope.Address, told []Recipient) {
	if f.Envelope.Sender.IsNull() {
		for _, r := range f.Recipients {
			if r.Action == Failed && !f.Postmaster.IsNull() && !r.Address.Equal(f.Postmaster) {
				told = append(told, r)
			}
		}
		return f.Postmaster, told
	}
	ours := Submitted(f.Envelope)
	for _, r := range f.Recipients {
		if wanted(r, ours) {
			told = append(told, r)
		}
	}
	return f.Envelope.Sender, told
}

// Submitted says that the message comes from one of us: from a user who logged in, or from this host and not by a
// connection.
func Submitted(e *envelope.Envelope) bool {
	return e.Conn.AuthUser != "" || e.Conn.Proto == "" && e.Conn.RemoteIP == ""
}

func wanted(r Recipient, submitted bool) bool {
	asked := func(what string) bool {
		for word := range strings.SplitSeq(r.Notify, ",") {
			if strings.EqualFold(strings.TrimSpace(word), what) {
				return true
			}
		}
		return false
	}
	switch r.Action {
	case Failed:
		return r.Notify == "" || asked("FAILURE")
	case Delayed:
		return r.Notify == "" || asked("DELAY")
	case Delivered, Relayed, Expanded:
		return submitted && asked("SUCCESS")
	}
	return false
}
