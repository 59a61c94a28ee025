package mbox

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// FromLine makes the line that starts a message: the sender, and the date in
// GMT as asctime(3) prints it, with a newline. Blanks and control bytes of the
// sender become "-", an empty sender becomes MAILER-DAEMON, and a date that has
// no four-digit year becomes the epoch.
func FromLine(sender string, date time.Time) []byte {
	if len(sender) > maxSender {
		sender = sender[:maxSender]
	}
	clean := []byte(sender)
	for i, c := range clean {
		if c <= ' ' || c == 0x7f {
			clean[i] = '-'
		}
	}
	if len(clean) == 0 {
		clean = []byte("MAILER-DAEMON")
	}
	date = date.UTC()
	if y := date.Year(); date.IsZero() || y < 0 || y > 9999 {
		date = time.Unix(0, 0).UTC()
	}
	return []byte("From " + string(clean) + " " + date.Format(time.ANSIC) + "\n")
}

// ParseFrom reads a From_ line: the sender as it stands there, and the date. A
// date without a zone is GMT. ok is false when no date is found; then sender is
// the first word. Dates may be as asctime(3) prints them, with or without
// seconds and a zone, as in RFC 5322, or as in ISO 8601.
func ParseFrom(line []byte) (sender string, date time.Time, ok bool) {
	rest, found := bytes.CutPrefix(line, from)
	if !found {
		return "", time.Time{}, false
	}
	words := strings.Fields(string(rest))
	if len(words) == 0 {
		return "", time.Time{}, false
	}
	// The sender is one word at least, unless there is only a date.
	for i := 1; i < len(words); i++ {
		if date, ok = parseDate(words[i:]); ok {
			return strings.Join(words[:i], " "), date, true
		}
	}
	if date, ok = parseDate(words); ok {
		return "", date, true
	}
	return words[0], time.Time{}, false
}

var weekdays = map[string]bool{"mon": true, "tue": true, "wed": true, "thu": true, "fri": true, "sat": true, "sun": true}

var months = map[string]time.Month{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
	"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}

// parseDate reads a date that starts at the first of the words; words behind it are remarks.
func parseDate(w []string) (time.Time, bool) {
	if day := strings.ToLower(w[0]); weekdays[strings.TrimSuffix(day, ",")] {
		if t, ok := parseAsctime(w[1:]); ok {
			return t, true
		}
		return parseInternet(w[1:])
	}
	return parseISO(w)
}

// parseAsctime reads "Nov 24 05:40:20 2026", with a zone before or after the year.
func parseAsctime(w []string) (time.Time, bool) {
	if len(w) < 4 {
		return time.Time{}, false
	}
	month, day, clock := w[0], w[1], w[2]
	year, zone := w[3], ""
	if !isYear(year) && len(w) > 4 {
		zone, year = w[3], w[4]
	} else if len(w) > 4 {
		zone = optionalZone(w[4])
	}
	return makeDate(year, month, day, clock, zone)
}

// parseInternet reads "24 Nov 2026 05:40:20 +0000" (RFC 5322 section 3.3, after the day's name).
func parseInternet(w []string) (time.Time, bool) {
	if len(w) < 4 {
		return time.Time{}, false
	}
	zone := ""
	if len(w) > 4 {
		zone = optionalZone(w[4])
	}
	return makeDate(w[2], w[1], w[0], w[3], zone)
}

// parseISO reads "2026-11-24T05:40:20Z" and "2026-11-24 05:40:20".
func parseISO(w []string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, w[0]); err == nil {
		return t.UTC(), true
	}
	if t, err := time.Parse("2006-01-02T15:04:05", w[0]); err == nil {
		return t, true
	}
	if len(w) < 2 {
		return time.Time{}, false
	}
	t, err := time.Parse("2006-01-02 15:04:05", w[0]+" "+w[1])
	return t, err == nil
}

func makeDate(year, month, day, clock, zone string) (time.Time, bool) {
	m, ok := months[strings.ToLower(month)]
	d, err := strconv.ParseUint(day, 10, 8)
	if !ok || err != nil || !isYear(year) {
		return time.Time{}, false
	}
	y, _ := strconv.Atoi(year)
	layout := "15:04:05"
	if strings.Count(clock, ":") == 1 {
		layout = "15:04"
	}
	c, err := time.Parse(layout, clock)
	offset, known := zoneOffset(zone)
	if err != nil || !known {
		return time.Time{}, false
	}
	t := time.Date(y, m, int(d), c.Hour(), c.Minute(), c.Second(), 0, time.UTC)
	if t.Day() != int(d) { // 31 February
		return time.Time{}, false
	}
	return t.Add(-offset), true
}

func isYear(s string) bool {
	return len(s) == 4 && strings.Trim(s, "0123456789") == ""
}

// optionalZone is the word if it is a zone; a remark behind the date is not.
func optionalZone(word string) string {
	if _, ok := zoneOffset(word); ok {
		return word
	}
	return ""
}

// zoneOffset is how far a zone is east of Greenwich. Names other than those of
// RFC 822 have no fixed meaning; a short one is taken as GMT.
func zoneOffset(z string) (time.Duration, bool) {
	if len(z) == 5 && (z[0] == '+' || z[0] == '-') {
		n, err := strconv.ParseUint(z[1:], 10, 16)
		if err != nil || n%100 > 59 {
			return 0, false
		}
		d := time.Duration(n/100)*time.Hour + time.Duration(n%100)*time.Minute
		if z[0] == '-' {
			d = -d
		}
		return d, true
	}
	if len(z) > 5 || strings.Trim(z, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return 0, false
	}
	return time.Duration(americanZones[z]) * time.Hour, true
}

var americanZones = map[string]int{"EDT": -4, "EST": -5, "CDT": -5, "CST": -6, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8}

// hasRemark reports whether a From_ line carries NoNewline.
func hasRemark(line []byte) bool {
	return bytes.HasSuffix(bytes.TrimRight(line, "\r\n"), []byte(" "+NoNewline))
}
