package report

import (
	"net/netip"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// status is the part for programs: message/delivery-status (RFC 3464), or message/global-delivery-status (RFC 6533).
func (d *draft) status() part {
	var b strings.Builder
	field(&b, "Reporting-MTA", "dns; "+hostName(d.Host))
	if d.Envelope.EnvID != "" {
		field(&b, "Original-Envelope-Id", words(xtext(d.Envelope.EnvID), d.global))
	}
	if !d.Arrival.IsZero() {
		field(&b, "Arrival-Date", d.Arrival.Format(dateForm))
	}
	for _, r := range d.told {
		b.WriteString("\n")
		d.recipient(&b, r)
	}
	p := part{kind: "message/" + d.kind("delivery-status"), encoding: "7bit", body: b.String()}
	if !ascii(p.body) {
		p.encoding = "8bit"
	}
	return p
}

// recipient writes the fields of RFC 3464 section 2.3.
func (d *draft) recipient(b *strings.Builder, r Recipient) {
	if kind, address, ok := strings.Cut(r.ORCPT, ";"); ok {
		field(b, "Original-Recipient", words(kind, false)+"; "+words(xtext(address), d.global))
	}
	kind := "rfc822"
	if r.Address.NeedsUTF8() && (d.global || !ascii(r.Address.Local)) {
		kind = "utf-8"
	}
	field(b, "Final-Recipient", kind+"; "+d.shown(r.Address))
	field(b, "Action", string(r.Action))
	field(b, "Status", enhanced(r))
	if name := remote(r.Host); name != "" {
		field(b, "Remote-MTA", "dns; "+name)
	}
	if text := d.diagnostic(r); text != "" {
		field(b, "Diagnostic-Code", text)
	}
	if !r.LastAttempt.IsZero() {
		field(b, "Last-Attempt-Date", r.LastAttempt.Format(dateForm))
	}
	if r.Action == Delayed && !r.RetryUntil.IsZero() {
		field(b, "Will-Retry-Until", r.RetryUntil.Format(dateForm))
	}
}

// enhanced is the status of RFC 3463. A failure after temporary replies is the expiry of the time for delivery: the last
// reply is in Diagnostic-Code.
func enhanced(r Recipient) string {
	switch {
	case expired(r):
		return "4.4.7"
	case r.Action == Failed || r.Action == Delayed:
		if r.Err == nil {
			return map[Action]string{Failed: "5.0.0", Delayed: "4.0.0"}[r.Action]
		}
		if code, _ := status.SplitEnhanced(r.Err.Enhanced); code != "" {
			return code
		}
		return strconv.Itoa(min(max(r.Err.Code/100, 4), 5)) + ".0.0"
	}
	return "2.0.0"
}

// expired is true for a recipient that is given up though no server refused him.
func expired(r Recipient) bool {
	return r.Action == Failed && r.Err != nil && r.Err.Class == status.Temporary
}

// diagnostic is what a server said, or else what we say.
func (d *draft) diagnostic(r Recipient) string {
	if r.Reply != "" {
		return "smtp; " + words(strings.ReplaceAll(r.Reply, "\n", " "), d.global)
	}
	if r.Err != nil {
		return "x-pennypost; " + words(r.Err.Line(), d.global)
	}
	return ""
}

// remote is the name of a server in our logs without address and port, or its address literal; "" when it is no name.
func remote(host string) string {
	if ap, err := netip.ParseAddrPort(host); err == nil {
		return envelope.Literal(ap.Addr().Unmap().WithZone(""))
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return envelope.Literal(ip.Unmap().WithZone(""))
	}
	name := host
	if i := strings.IndexAny(host, "[:"); i > 0 {
		name = host[:i]
	} else if i == 0 {
		name, _, _ = strings.Cut(host, "]")
		name += "]"
	}
	if !strings.ContainsAny(name, ".[") {
		return ""
	}
	if name = hostName(name); name == "localhost" {
		return ""
	}
	return name
}
