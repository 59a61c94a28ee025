package mailauth

import (
	"fmt"
	"strings"

	"pennypost/internal/dmarc"
	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// Enforcement is what is done with a message that fails DMARC.
type Enforcement struct {
	DMARC     bool // refuse what the owner of the author domain wants rejected, and mark what he wants in quarantine
	TempError bool // and make wait what could not be checked now
}

// Apply does what DMARC asks for: nil, or the refusal as a *status.Error (550 5.7.1, RFC 9989 section 7.2; 451 4.7.0 for
// trouble). What is to be put in quarantine is marked in the envelope. The envelope takes the results in any case, for the next
// program.
func (e Enforcement) Apply(r *Report, to *envelope.Envelope) error {
	to.AuthRes = r.Field.body()
	d := r.DMARC
	switch {
	case !e.DMARC || d == nil:
	case d.Disposition == dmarc.Reject && r.Undecided:
		return status.Errorf(status.TempFail, "DMARC policy for %s: the seal of a trusted host cannot be checked now", d.From).
			WithReply(451, "4.7.0")
	case d.Disposition == dmarc.Reject && d.From == "":
		return status.Errorf(status.NoPerm, "Email rejected per DMARC policy: %s", status.Escape(d.Reason, 200))
	case d.Disposition == dmarc.Reject:
		return status.Errorf(status.NoPerm, "Email rejected per DMARC policy for %s", d.From)
	case d.Disposition == dmarc.Quarantine:
		to.Quarantine = fmt.Sprintf("DMARC policy for %s", d.From)
	case d.Result == dmarc.TempError && e.TempError:
		return status.Errorf(status.TempFail, "DMARC policy for %s cannot be found now: %s", d.From, status.Escape(d.Reason, 200)).
			WithReply(451, "4.7.0")
	}
	return nil
}

// body is the content of the field in one line.
func (a *AuthRes) body() string {
	text := strings.NewReplacer("\n\t", " ", "\n", "").Replace(string(a.Format()))
	return strings.TrimSpace(strings.TrimPrefix(text, FieldName+":"))
}
