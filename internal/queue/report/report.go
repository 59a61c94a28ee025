// Package report makes the message that tells a sender what became of his mail.
//
// It hides the form of delivery status notifications: multipart/report (RFC 6522) of a text that a person understands, the
// fields of RFC 3464, and what is returned of the message; RFC 6533 where addresses are in UTF-8; the decision of RFC 3461
// who is told of what. Everything is a pure function of Facts: no clock, no chance, no file but the message.
//
// It guarantees that a report is well-formed whatever the message, the envelope and a server's words hold: they are escaped,
// bounded and encoded, no boundary stands in what it bounds, no line is longer than RFC 5322 section 2.1.1 allows. And it
// guarantees that reports end: a report has the null sender, of one that cannot be delivered only the postmaster hears, and
// of that one nobody.
package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// Action is what became of a recipient (RFC 3464 section 2.3.3). The zero value tells nobody anything: the recipient waits,
// or a server took over the duty to report.
type Action string

const (
	Failed    Action = "failed"    // nothing more is tried
	Delayed   Action = "delayed"   // not yet, and it will be tried on
	Delivered Action = "delivered" // in the recipient's mailbox
	Relayed   Action = "relayed"   // taken by a server that sends no confirmations
	Expanded  Action = "expanded"  // taken for an address that stands for several
)

// Recipient is the fate of one recipient. Text in it may be hostile.
type Recipient struct {
	Address     envelope.Address
	Notify      string // NOTIFY as it came, or "" (RFC 3461 section 4.1)
	ORCPT       string // type;address in xtext as it came, or "" (RFC 3461 section 4.2)
	Action      Action
	Err         *status.Error // why, for Failed and Delayed
	Reply       string        // what a server said, "550 5.1.1 text", its lines separated by \n; "" when none spoke
	Host        string        // the server, as a log names it: mx.example.org[192.0.2.1]:25; "" when there was none
	LastAttempt time.Time     // zero = none
	RetryUntil  time.Time     // when it will be given up, for Delayed; zero = not known
}

// Facts are all that a report is made of.
type Facts struct {
	Host       string             // our name
	Postmaster envelope.Address   // who hears of reports that cannot be delivered; the null address = nobody
	Envelope   *envelope.Envelope // as the message came: sender, ENVID, RET, who submitted it
	Message    *message.Message
	Arrival    time.Time
	Now        time.Time
	MessageID  string // of the report, with angle brackets
	Recipients []Recipient
}

// Limits of a report in bytes; what is beyond is left out and the text says so.
const (
	MaxFull    = 50_000 // size of a message that is returned whole
	MaxHeaders = 30_000 // of a header section that is returned
	maxWords   = 900    // of a text from outside in one field
	maxDetails = 50     // recipients, not bytes: so many are explained, the others only named
)

// dateForm is date-time of RFC 5322 section 3.3.
const dateForm = "Mon, 2 Jan 2006 15:04:05 -0700"

// Make is the report and its envelope, or nil for both when nobody is to be told (see Decide). The error is that of reading
// the message.
func Make(f Facts) (*message.Message, *envelope.Envelope, error) {
	to, told := Decide(f)
	if len(told) == 0 {
		return nil, nil, nil
	}
	header, err := f.Message.Header()
	if err != nil && status.Of(err).Class != status.Permanent {
		return nil, nil, err
	}
	d := draft{Facts: f, to: to, told: told, header: header}
	d.global = f.Envelope.SMTPUTF8 && d.needsUTF8()
	returned, err := d.returned()
	if err != nil {
		return nil, nil, err
	}
	parts := []part{d.text(returned.what), d.status(), returned}
	m := message.Bytes(d.assemble(parts))
	e := &envelope.Envelope{
		Recipients: []envelope.Address{to}, Body: "7BIT", SMTPUTF8: d.global,
		RequireTLS: f.Envelope.RequireTLS, Priority: f.Envelope.Priority, // RFC 8689 section 5, RFC 6710 section 4.4
	}
	if d.global || returned.encoding == "8bit" { // a global report may have UTF-8 in its own header
		e.Body = "8BITMIME"
	}
	return m, e, nil
}

// draft is a report in the making.
type draft struct {
	Facts
	to     envelope.Address
	told   []Recipient
	header message.Header // of the message
	global bool           // by RFC 6533: UTF-8 as it is
}

// needsUTF8 says that something the report repeats is in UTF-8.
func (d *draft) needsUTF8() bool {
	if d.to.NeedsUTF8() {
		return true
	}
	for _, r := range d.told {
		if r.Address.NeedsUTF8() {
			return true
		}
	}
	for _, f := range d.header.Fields {
		if !ascii(string(f.Raw)) {
			return true
		}
	}
	return false
}

// double is true for the report on a report.
func (d *draft) double() bool { return d.Envelope.Sender.IsNull() }

// part is a body part of the report.
type part struct {
	kind     string // media type with its parameters
	encoding string // 7bit, 8bit or quoted-printable
	body     string
	what     string // for people: what of the message is returned, a sentence
}

// assemble puts the header before the parts and boundaries around them.
func (d *draft) assemble(parts []part) []byte {
	var b strings.Builder
	field(&b, "From", "Mail Delivery System <MAILER-DAEMON@"+hostName(d.Host)+">")
	field(&b, "To", d.shown(d.to))
	field(&b, "Subject", d.subject())
	field(&b, "Date", d.Now.Format(dateForm))
	field(&b, "Message-ID", d.MessageID)
	if id := messageID(d.header.Get("Message-ID")); id != "" {
		field(&b, "In-Reply-To", id)
		field(&b, "References", id)
	}
	field(&b, "Auto-Submitted", "auto-replied")
	field(&b, "MIME-Version", "1.0")
	boundary := d.boundary(parts)
	field(&b, "Content-Type", "multipart/report; report-type="+d.kind("delivery-status")+`; boundary="`+boundary+`"`)
	if slices.ContainsFunc(parts, func(p part) bool { return p.encoding == "8bit" }) {
		field(&b, "Content-Transfer-Encoding", "8bit")
	}
	b.WriteString("\nThis is a report on a message, in MIME form.\n")
	for _, p := range parts {
		b.WriteString("\n--" + boundary + "\n")
		field(&b, "Content-Type", p.kind)
		field(&b, "Content-Transfer-Encoding", p.encoding)
		b.WriteString("\n" + p.body)
	}
	b.WriteString("\n--" + boundary + "--\n")
	return []byte(b.String())
}

// kind is a name of RFC 3464, or its twin of RFC 6533.
func (d *draft) kind(name string) string {
	if d.global {
		return "global-" + name
	}
	return name
}

// boundary stands nowhere in the parts. It depends on the report's Message-ID, so that nobody can know it before.
func (d *draft) boundary(parts []part) string {
	for n := 0; ; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", d.MessageID, n))
		boundary := "report-" + hex.EncodeToString(sum[:12])
		found := false
		for _, p := range parts {
			found = found || strings.Contains(p.body, boundary)
		}
		if !found {
			return boundary
		}
	}
}

// shown is an address as header fields and fields of the report have it: in UTF-8 where the report may be, else the domain
// in A-labels and the rest escaped.
func (d *draft) shown(a envelope.Address) string {
	if d.global {
		return words(a.String(), true)
	}
	if x, err := a.ASCII(); err == nil {
		a = x
	}
	return words(a.String(), false)
}
