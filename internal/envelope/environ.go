package envelope

import (
	"strings"

	"pennypost/internal/status"
)

// MaxRecipients is the number of bytes that RECIPIENTS, SMTP_NOTIFY and SMTP_ORCPT may take each (mailpipe(7)): a server
// answers 452 beyond.
const MaxRecipients = 100_000

// Connection is where a message came from, in the words of tcp-environ(5).
type Connection struct {
	Proto      string // PROTO: TCP, TCP6 or empty
	RemoteIP   string // TCPREMOTEIP
	RemotePort string // TCPREMOTEPORT
	RemoteHost string // TCPREMOTEHOST, verified name of the peer
	LocalIP    string // TCPLOCALIP
	LocalPort  string // TCPLOCALPORT
	Helo       string // HELO, as the peer said it
	AuthUser   string // AUTHUSER, who logged in
	TLS        string // TLS, version and cipher
}

// Envelope is a message's sender, recipients and the ESMTP facts that travel with them.
type Envelope struct {
	Sender     Address // zero = null sender
	Recipients []Address
	Conn       Connection
	Body       string   // SMTP_BODY: 7BIT, 8BITMIME or BINARYMIME (RFC 6152, 3030)
	EnvID      string   // SMTP_ENVID in xtext (RFC 3461 section 4.4)
	Ret        string   // SMTP_RET: FULL or HDRS (RFC 3461 section 4.3)
	Notify     []string // SMTP_NOTIFY, one value a recipient, or empty (RFC 3461 section 4.1)
	ORcpt      []string // SMTP_ORCPT, one value a recipient, or empty: type;address in xtext (RFC 3461 section 4.2)
	RequireTLS bool     // SMTP_REQUIRETLS (RFC 8689)
	SMTPUTF8   bool     // SMTP_SMTPUTF8 (RFC 6531)
	Priority   string   // SMTP_MT_PRIORITY: -9 to 9 (RFC 6710)
	By         string   // SMTP_BY: seconds;R or N, and T (RFC 2852 section 4)
	HoldFor    string   // SMTP_HOLDFOR: seconds (RFC 4865)
	HoldUntil  string   // SMTP_HOLDUNTIL: a time by RFC 3339 in UTC (RFC 4865)
	Quarantine string   // SMTP_QUARANTINE: why a check says that people should not see the message at once
	AuthRes    string   // AUTH_RESULTS: what checks of this host found, as in an Authentication-Results field (RFC 8601)
}

// variable relates a name of mailpipe(7) to the field it carries.
type variable struct {
	name string
	get  func(*Envelope) string
	set  func(*Envelope, string) error
	list bool // a line for each recipient
}

func text(name string, field func(*Envelope) *string) variable {
	return variable{name: name,
		get: func(e *Envelope) string { return *field(e) },
		set: func(e *Envelope, v string) error { *field(e) = v; return nil }}
}

func list(name string, field func(*Envelope) *[]string) variable {
	return variable{name: name, list: true,
		get: func(e *Envelope) string { return strings.Join(*field(e), "\n") },
		set: func(e *Envelope, v string) error { *field(e) = lines(v, true); return nil }}
}

func flag(name string, field func(*Envelope) *bool) variable {
	return variable{name: name,
		get: func(e *Envelope) string {
			if *field(e) {
				return "1"
			}
			return ""
		},
		set: func(e *Envelope, v string) error { *field(e) = v != "" && v != "0"; return nil }}
}

// variables in the order of mailpipe(7). SENDER and RECIPIENTS are apart: their being absent has a meaning.
var variables = []variable{
	text("PROTO", func(e *Envelope) *string { return &e.Conn.Proto }),
	text("TCPREMOTEIP", func(e *Envelope) *string { return &e.Conn.RemoteIP }),
	text("TCPREMOTEPORT", func(e *Envelope) *string { return &e.Conn.RemotePort }),
	text("TCPREMOTEHOST", func(e *Envelope) *string { return &e.Conn.RemoteHost }),
	text("TCPLOCALIP", func(e *Envelope) *string { return &e.Conn.LocalIP }),
	text("TCPLOCALPORT", func(e *Envelope) *string { return &e.Conn.LocalPort }),
	text("HELO", func(e *Envelope) *string { return &e.Conn.Helo }),
	text("AUTHUSER", func(e *Envelope) *string { return &e.Conn.AuthUser }),
	text("TLS", func(e *Envelope) *string { return &e.Conn.TLS }),
	text("SMTP_BODY", func(e *Envelope) *string { return &e.Body }),
	text("SMTP_ENVID", func(e *Envelope) *string { return &e.EnvID }),
	text("SMTP_RET", func(e *Envelope) *string { return &e.Ret }),
	list("SMTP_NOTIFY", func(e *Envelope) *[]string { return &e.Notify }),
	list("SMTP_ORCPT", func(e *Envelope) *[]string { return &e.ORcpt }),
	flag("SMTP_REQUIRETLS", func(e *Envelope) *bool { return &e.RequireTLS }),
	flag("SMTP_SMTPUTF8", func(e *Envelope) *bool { return &e.SMTPUTF8 }),
	text("SMTP_MT_PRIORITY", func(e *Envelope) *string { return &e.Priority }),
	text("SMTP_BY", func(e *Envelope) *string { return &e.By }),
	text("SMTP_HOLDFOR", func(e *Envelope) *string { return &e.HoldFor }),
	text("SMTP_HOLDUNTIL", func(e *Envelope) *string { return &e.HoldUntil }),
	text("SMTP_QUARANTINE", func(e *Envelope) *string { return &e.Quarantine }),
	text("AUTH_RESULTS", func(e *Envelope) *string { return &e.AuthRes }),
}

// FromEnviron reads an envelope from variables of the form NAME=value. RECIPIENTS goes before RECIPIENT. An address that
// does not parse is an error.
func FromEnviron(environ []string) (*Envelope, error) {
	e := new(Envelope)
	var sender, one, several string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch name {
		case "SENDER":
			sender = value
		case "RECIPIENT":
			one = value
		case "RECIPIENTS":
			several = value
		default:
			if err := e.set(name, value); err != nil {
				return nil, err
			}
		}
	}
	var err error
	if e.Sender, err = Parse(sender); err != nil {
		return nil, err
	}
	recipients := lines(several, false)
	if len(recipients) == 0 {
		recipients = lines(one, false)
	}
	return e, e.setRecipients(recipients)
}

// set sets the field of a variable, if it is one.
func (e *Envelope) set(name, value string) error {
	for _, v := range variables {
		if v.name == name {
			return v.set(e, value)
		}
	}
	return nil
}

// FromArgs lets the command line go before the environment: a sender when one was given (nil = not given; "" and "<>"
// mean the null sender), recipients when there are any. Notify and ORcpt values belong to the recipients they came with
// and go with them.
func (e *Envelope) FromArgs(sender *string, recipients []string) error {
	if sender != nil {
		a, err := Parse(*sender)
		if err != nil {
			return err
		}
		e.Sender = a
	}
	if len(recipients) == 0 {
		return nil
	}
	e.Notify, e.ORcpt = nil, nil
	return e.setRecipients(recipients)
}

// For is a copy of e with only the recipients at these places, their Notify and ORcpt values with them.
func (e *Envelope) For(places ...int) *Envelope {
	part := *e
	part.Recipients, part.Notify, part.ORcpt = nil, nil, nil
	for _, i := range places {
		part.Recipients = append(part.Recipients, e.Recipients[i])
		if i < len(e.Notify) {
			part.Notify = append(part.Notify, e.Notify[i])
		}
		if i < len(e.ORcpt) {
			part.ORcpt = append(part.ORcpt, e.ORcpt[i])
		}
	}
	return &part
}

func (e *Envelope) setRecipients(list []string) error {
	e.Recipients = make([]Address, 0, len(list))
	for _, s := range list {
		a, err := Parse(s)
		if err == nil && a.IsNull() {
			err = badAddress(s, "a recipient cannot be the null path")
		}
		if err != nil {
			return err
		}
		e.Recipients = append(e.Recipients, a)
	}
	return nil
}

// Environ is base without the variables of mailpipe(7), followed by this envelope's. Empty ones are left out, but SENDER
// is always there. RECIPIENT is set when there is exactly one recipient. A value with a NUL or a line end, which the
// parser lets nobody make, is an error rather than a forged variable.
func (e *Envelope) Environ(base []string) ([]string, error) {
	const single, several = "\x00\r\n", "\x00\r" // what a value of one line, of several lines cannot hold
	out := make([]string, 0, len(base)+len(variables)+3)
	for _, kv := range base {
		if name, _, _ := strings.Cut(kv, "="); !ours(name) {
			out = append(out, kv)
		}
	}
	var err error
	add := func(name, value, forbidden string) {
		if strings.ContainsAny(value, forbidden) {
			err = status.Errorf(status.Data, "pass %s to a program: value %q has a line end or NUL in it", name, status.Escape(value, 200))
		}
		out = append(out, name+"="+value)
	}
	for _, v := range variables {
		if value := v.get(e); value != "" {
			forbidden := single
			if v.list {
				forbidden = several
			}
			add(v.name, value, forbidden)
		}
	}
	add("SENDER", e.Sender.String(), single)
	rcpts := make([]string, len(e.Recipients))
	for i, a := range e.Recipients {
		if rcpts[i] = a.String(); strings.ContainsAny(rcpts[i], single) {
			err = badAddress(rcpts[i], "it has a line end or NUL in it")
		}
	}
	add("RECIPIENTS", strings.Join(rcpts, "\n"), several)
	if len(rcpts) == 1 {
		add("RECIPIENT", rcpts[0], single)
	}
	return out, err
}

func ours(name string) bool {
	switch name {
	case "SENDER", "RECIPIENT", "RECIPIENTS":
		return true
	}
	for _, v := range variables {
		if v.name == name {
			return true
		}
	}
	return false
}

// lines splits at line ends; empty lines are kept only where they hold a place.
func lines(s string, keepEmpty bool) []string {
	if s == "" {
		return nil
	}
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if line != "" || keepEmpty {
			out = append(out, line)
		}
	}
	return out
}
