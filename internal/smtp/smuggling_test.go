package smtp

import (
	"slices"
	"strings"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
)

// inTwo cuts what a client says at one byte.
func inTwo(at, size int) func(left int) int {
	return func(left int) int {
		if said := size - left; said < at {
			return at - said
		}
		return left
	}
}

// What public scanners try is in the table of ends that are none: hannob/smtpsmug and The-Login/SMTP-Smuggling-Tools.
func TestAlmostEndsAreAll(t *testing.T) {
	table := mailtest.AlmostEnds()
	for _, end := range []string{"\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n",
		"\r\n.\r\r\n", "\r\r\n.\r\r\n"} {
		if !slices.Contains(table, end) {
			t.Errorf("%q is not in the table", end)
		}
	}
}

// Nothing but CRLF.CRLF ends a message, wherever the bytes are cut, and what has anything else in it is refused, unless it is a bare
// LF of a peer that may.
func TestAlmostEnds(t *testing.T) {
	const before = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<chat@joursoir.net>\r\nDATA\r\nSubject: outer\r\n\r\nab"
	const after = "MAIL FROM:<>\r\nRCPT TO:<chat@joursoir.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\n"
	cuts := func(end string) []func(int) int {
		size := len(before + end + after)
		list := []func(int) int{func(left int) int { return left }, func(int) int { return 1 }}
		for at := len(before) - 3; at <= len(before+end)+3; at++ {
			list = append(list, inTwo(at, size))
		}
		return list
	}
	for _, normalize := range []bool{false, true} {
		for _, end := range mailtest.AlmostEnds() {
			first := ""
			for i, cut := range cuts(end) {
				e, o := newTestEngine()
				e.Normalize = func(string) bool { return normalize }
				c := &playedConn{in: []byte(before + end + after), cut: cut}
				e.Serve(t.Context(), c, envelope.Connection{})
				said := c.out.String()
				if i == 0 {
					first = said
				}
				if said != first {
					t.Errorf("%q, normalize %v, cut %d: answered %q, and %q when whole", end, normalize, i, said, first)
				}
				clean := strings.Trim(strings.ReplaceAll(end, "\r\n", ""), ". ") == ""
				if taken := clean || normalize && !strings.ContainsAny(strings.ReplaceAll(end, "\r\n", ""), "\r\x00"); len(o.mails) > 1 ||
					taken != (len(o.mails) == 1) || !taken && !strings.Contains(said, "\r\n554 5.6.0 ") {
					t.Errorf("%q, normalize %v, cut %d: %d messages, answered %q", end, normalize, i, len(o.mails), said)
				}
				if len(o.mails) == 1 && !strings.HasSuffix(o.mails[0].text, "\nevil\n") {
					t.Errorf("%q, normalize %v, cut %d: half a message: %q", end, normalize, i, o.mails[0].text)
				}
			}
		}
	}
}

// What stands behind STARTTLS in clear is never carried out, wherever the bytes are cut, and although pipelining is not policed
// here.
func TestStartTLSInjectionCut(t *testing.T) {
	const before, injected = "EHLO c\r\n", "STARTTLS\r\nEHLO injected\r\nMAIL FROM:<>\r\nRCPT TO:<chat@joursoir.net>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n"
	config, _ := testTLS(t)
	for at := len(before); at <= len(before+injected); at++ {
		e, o := newTestEngine()
		e.TLS = config
		c := &playedConn{in: []byte(before + injected), cut: inTwo(at, len(before+injected))}
		e.Serve(t.Context(), c, envelope.Connection{})
		_, said, _ := strings.Cut(c.out.String(), "250 CHUNKING\r\n")
		if len(o.mails) != 0 || strings.Contains(said, "\r\n250") || strings.HasPrefix(said, "250") || strings.Contains(said, "\r\n354") ||
			!strings.HasPrefix(said, "220 2.0.0") {
			t.Errorf("cut at %d: %d messages, answered %q", at, len(o.mails), said)
		}
	}
}
