package report

import (
	"fmt"
	"mime"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

const (
	width      = 74  // columns of the text
	quoteLines = 10  // of a server's reply
	quoteBytes = 480 // of a line of it
	shownBytes = 200 // of a field of the message
)

// order is that of the sections.
var order = []Action{Failed, Delayed, Expanded, Relayed, Delivered}

// headlines open the section of an action, for one recipient and for several.
var headlines = map[Action][2]string{
	Failed: {"Your message could not be delivered to the recipient below, and it will not be tried again.",
		"Your message could not be delivered to the recipients below, and it will not be tried again."},
	Delayed: {"Your message could not be delivered yet to the recipient below. It will be tried again; you need do nothing.",
		"Your message could not be delivered yet to the recipients below. It will be tried again; you need do nothing."},
	Expanded: {"Your message was taken for the address below, which stands for several. What becomes of it there is not reported.",
		"Your message was taken for the addresses below, which stand for several. What becomes of it there is not reported."},
	Relayed: {"Your message was passed on to a server that sends no confirmations. You will still hear of trouble.",
		"Your message was passed on to servers that send no confirmations. You will still hear of trouble."},
	Delivered: {"Your message was delivered to the mailbox of the recipient below.",
		"Your message was delivered to the mailboxes of the recipients below."},
}

// doubleHeadline is for the postmaster.
const doubleHeadline = "The message below, which has no sender who could be told, could not be delivered, and it will not be " +
	"tried again. Such a message usually is itself a report on another one. Nobody but you is told."

// subject is that of the worst that happened.
func (d *draft) subject() string {
	if d.double() {
		return "A report could not be delivered"
	}
	for _, a := range order {
		if len(d.having(a)) > 0 {
			return map[Action]string{
				Failed: "Your message could not be delivered", Delayed: "Your message is delayed",
				Expanded: "Your message was passed on", Relayed: "Your message was passed on", Delivered: "Your message was delivered",
			}[a]
		}
	}
	return "What became of your message"
}

// having are the recipients of an action.
func (d *draft) having(a Action) []Recipient {
	var out []Recipient
	for _, r := range d.told {
		if r.Action == a {
			out = append(out, r)
		}
	}
	return out
}

// text is the part for people.
func (d *draft) text(returned string) part {
	var b strings.Builder
	wrap(&b, "", "This is the mail system at "+hostName(d.Host)+".")
	details, told := maxDetails, false
	for _, a := range order {
		list := d.having(a)
		if len(list) == 0 {
			continue
		}
		b.WriteString("\n")
		wrap(&b, "", d.headline(a, len(list)))
		if !told {
			d.letter(&b)
			told = true
		}
		for _, r := range list {
			if details--; details < 0 {
				b.WriteString(shortPath(r.Address) + "\n")
				continue
			}
			b.WriteString("\n")
			b.WriteString(shortPath(r.Address) + "\n")
			d.explain(&b, r)
		}
	}
	b.WriteString("\n")
	wrap(&b, "", returned)
	p := part{kind: "text/plain; charset=us-ascii", encoding: "7bit", body: b.String()}
	if !ascii(p.body) {
		p = part{kind: "text/plain; charset=utf-8", encoding: "quoted-printable", body: printable(p.body)}
	}
	return p
}

func (d *draft) headline(a Action, n int) string {
	if d.double() {
		return doubleHeadline
	}
	return headlines[a][min(n, 2)-1]
}

// letter says which message it is about.
func (d *draft) letter(b *strings.Builder) {
	decoder := mime.WordDecoder{}
	subject := d.header.Get("Subject")
	if plain, err := decoder.DecodeHeader(subject); err == nil {
		subject = plain
	}
	lines := [][2]string{{"Subject", subject}, {"Date", d.header.Get("Date")}}
	if d.double() {
		lines = append(lines, [2]string{"From", d.header.Get("From")}, [2]string{"To", d.header.Get("To")})
	}
	b.WriteString("\n")
	for _, l := range lines {
		if l[1] != "" {
			wrap(b, "    ", l[0]+": "+status.Escape(l[1], shownBytes))
		}
	}
	if !d.Arrival.IsZero() {
		wrap(b, "    ", "Taken here: "+d.Arrival.Format(dateForm))
	}
}

// explain says of a recipient what happened, in whose words, and what can be done.
func (d *draft) explain(b *strings.Builder, r Recipient) {
	if r.Action != Failed && r.Action != Delayed {
		if remote(r.Host) != "" {
			wrap(b, "    ", "by "+status.Escape(r.Host, shownBytes))
		}
		return
	}
	why := causeOf(r)
	if expired(r) {
		wrap(b, "    ", "The time for delivery is over"+d.since()+". The last attempt failed for this reason:")
	}
	wrap(b, "    ", why.what)
	quoted(b, r)
	if r.Action == Delayed {
		if !r.RetryUntil.IsZero() {
			wrap(b, "    ", "It will be tried until "+r.RetryUntil.Format(dateForm)+".")
		}
		return
	}
	if !d.double() {
		wrap(b, "    ", why.todo)
	}
}

// since is how long we had the message, in the largest unit of which there are two.
func (d *draft) since() string {
	if d.Arrival.IsZero() || d.Now.Before(d.Arrival) {
		return ""
	}
	age := d.Now.Sub(d.Arrival)
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}} {
		if age >= 2*u.unit {
			return fmt.Sprintf(", after %d %s", age/u.unit, u.name)
		}
	}
	return ""
}

// quoted are the words of the server, or else our own.
func quoted(b *strings.Builder, r Recipient) {
	host := status.Escape(r.Host, shownBytes)
	switch {
	case r.Reply == "" && r.Err == nil:
		return
	case r.Reply == "":
		wrap(b, "        ", status.Escape(r.Err.Text, quoteBytes))
		return
	case host != "" && host != "-":
		wrap(b, "    ", "The server "+host+" said:")
	default:
		wrap(b, "    ", "The answer was:")
	}
	for i, line := range strings.Split(r.Reply, "\n") {
		if i == quoteLines {
			wrap(b, "        ", "(and more)")
			return
		}
		wrap(b, "        ", status.Escape(line, quoteBytes))
	}
}

// shortPath is an address in angle brackets with the domain as people read it.
func shortPath(a envelope.Address) string { return status.Escape(a.Unicode().Path(), maxWords) }

// wrap writes a paragraph with each line behind indent. A word that is wider than the text stands alone; what comes from outside
// is bounded so that even then no line is too long for a mail.
func wrap(b *strings.Builder, indent, text string) {
	line := ""
	flush := func() {
		if line != "" {
			b.WriteString(indent + line + "\n")
		}
		line = ""
	}
	for _, word := range strings.Fields(text) {
		if line != "" && len(indent)+len(line)+1+len(word) > width {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
}
