package imap

import (
	"strings"

	"pennypost/internal/imap/wire"
)

// writeEnvelope writes the ENVELOPE of a message (RFC 3501 section 7.4.2): strings as they stand in the
// header, unfolded.
func writeEnvelope(w *wire.Writer, p *part) {
	w.Raw("(")
	writeField(w, p, "date")
	w.Raw(" ")
	writeField(w, p, "subject")
	from := parseAddresses(p.fields["from"])
	for _, name := range []string{"from", "sender", "reply-to", "to", "cc", "bcc"} {
		w.Raw(" ")
		list := from
		if name != "from" {
			list = parseAddresses(p.fields[name])
		}
		if len(list) == 0 && (name == "sender" || name == "reply-to") {
			list = from
		}
		writeAddresses(w, list)
	}
	w.Raw(" ")
	writeField(w, p, "in-reply-to")
	w.Raw(" ")
	writeField(w, p, "message-id")
	w.Raw(")")
}

func writeField(w *wire.Writer, p *part, name string) {
	v, ok := p.fields[name]
	w.NString(strings.Trim(v, " \t\r\n"), ok)
}

func writeAddresses(w *wire.Writer, list []address) {
	if len(list) == 0 {
		w.Raw("NIL")
		return
	}
	w.Raw("(")
	for _, a := range list {
		w.Raw("(")
		w.NString(a.name, a.hasName)
		w.Raw(" ")
		w.NString(a.route, a.hasRoute)
		w.Raw(" ")
		w.NString(a.mailbox, a.hasMailbox)
		w.Raw(" ")
		w.NString(a.host, a.hasHost)
		w.Raw(")")
	}
	w.Raw(")")
}

// writeStructure writes BODY (extended false) or BODYSTRUCTURE of a part (RFC 3501 section 7.4.2).
func writeStructure(w *wire.Writer, p *part, extended bool) {
	w.Raw("(")
	if len(p.children) > 0 {
		for _, c := range p.children {
			writeStructure(w, c, extended)
		}
		w.Raw(" ")
		w.String(p.typ.subtype)
		if extended {
			w.Raw(" ")
			writeParams(w, p.typ.params)
		}
	} else {
		writeLeaf(w, p, extended)
		if extended {
			w.Raw(" ")
			writeField(w, p, "content-md5")
		}
	}
	if extended {
		writeExtension(w, p)
	}
	w.Raw(")")
}

func writeLeaf(w *wire.Writer, p *part, extended bool) {
	w.String(p.typ.typ)
	w.Raw(" ")
	w.String(p.typ.subtype)
	w.Raw(" ")
	writeParams(w, p.typ.params)
	w.Raw(" ")
	writeField(w, p, "content-id")
	w.Raw(" ")
	writeField(w, p, "content-description")
	w.Raw(" ")
	w.String(p.encoding())
	w.Printf(" %d", p.end.wire-p.body.wire)
	if p.message != nil {
		w.Raw(" ")
		writeEnvelope(w, p.message)
		w.Raw(" ")
		writeStructure(w, p.message, extended)
	}
	if p.message != nil || p.typ.isText() {
		w.Printf(" %d", p.end.lines-p.body.lines)
	}
}

// encoding is the part's Content-Transfer-Encoding.
func (p *part) encoding() string {
	c := &cursor{s: p.fields["content-transfer-encoding"]}
	if e := c.token(); e != "" {
		return e
	}
	return "7BIT"
}

// writeExtension writes disposition, language and location, which end both forms.
func writeExtension(w *wire.Writer, p *part) {
	w.Raw(" ")
	if d, ok := parseDisposition(p.fields["content-disposition"]); ok {
		w.Raw("(")
		w.String(d.typ)
		w.Raw(" ")
		writeParams(w, d.params)
		w.Raw(")")
	} else {
		w.Raw("NIL")
	}
	w.Raw(" ")
	if tags := parseLanguages(p.fields["content-language"]); len(tags) > 0 {
		w.Raw("(")
		for i, t := range tags {
			if i > 0 {
				w.Raw(" ")
			}
			w.String(t)
		}
		w.Raw(")")
	} else {
		w.Raw("NIL")
	}
	w.Raw(" ")
	writeField(w, p, "content-location")
}

func writeParams(w *wire.Writer, params []param) {
	if len(params) == 0 {
		w.Raw("NIL")
		return
	}
	w.Raw("(")
	for i, p := range params {
		if i > 0 {
			w.Raw(" ")
		}
		w.String(p.name)
		w.Raw(" ")
		w.String(p.value)
	}
	w.Raw(")")
}
