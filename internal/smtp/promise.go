package smtp

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Promises are extensions by which a client asks for something that happens behind the Handler. Each is offered only where
// whatever stands there is known to keep it.
type Promises struct {
	Priority      bool          // MT-PRIORITY (RFC 6710)
	DeliverBy     bool          // DELIVERBY (RFC 2852)
	FutureRelease time.Duration // longest time a message is held (RFC 4865); 0: not offered
}

// promised lists what EHLO says of REQUIRETLS, LIMITS and Promises. REQUIRETLS is offered only where TLS is on (RFC 8689
// section 2); LIMITS is, where the number of recipients is not what a client may expect anyway (RFC 9422).
func (s *session) promised() []string {
	var list []string
	if s.secure {
		list = append(list, "REQUIRETLS")
	}
	p := s.srv.Promises
	if p.Priority {
		list = append(list, "MT-PRIORITY")
	}
	if p.DeliverBy {
		list = append(list, "DELIVERBY")
	}
	if p.FutureRelease > 0 {
		seconds := int64(p.FutureRelease / time.Second)
		list = append(list, fmt.Sprintf("FUTURERELEASE %d %s", seconds, s.srv.Now().Add(p.FutureRelease).UTC().Format(time.RFC3339)))
	}
	if s.srv.MaxRecipients != DefaultMaxRecipients {
		list = append(list, fmt.Sprintf("LIMITS RCPTMAX=%d", s.srv.MaxRecipients))
	}
	return list
}

// promiseParameters adds the parameters of what is offered to those of MAIL.
func (s *session) promiseParameters(known map[string]func(string) bool, m *Mail) {
	if s.secure {
		known["REQUIRETLS"] = func(v string) bool { m.RequireTLS = true; return v == "" }
	}
	if s.srv.Promises.Priority {
		known["MT-PRIORITY"] = func(v string) bool { m.Priority = v; return validPriority(v) }
	}
	if s.srv.Promises.DeliverBy {
		known["BY"] = func(v string) bool { m.By = strings.ToUpper(v); return validBy(m.By) }
	}
	if most := s.srv.Promises.FutureRelease; most > 0 {
		known["HOLDFOR"] = func(v string) bool { m.HoldFor = v; return m.HoldUntil == "" && validHoldFor(v, most) }
		known["HOLDUNTIL"] = func(v string) bool {
			until, ok := parseHoldUntil(v, s.srv.Now().Add(most))
			m.HoldUntil = until
			return ok && m.HoldFor == ""
		}
	}
}

// validPriority checks RFC 6710 section 6: -9 to 9.
func validPriority(v string) bool {
	digit := strings.TrimPrefix(v, "-")
	return len(digit) == 1 && digit[0] >= '0' && digit[0] <= '9' && v != "-0"
}

// validBy checks by-value of RFC 2852 section 4: seconds, a semicolon, R or N, and T for a trace. To return what was not
// delivered in no time makes no sense.
func validBy(v string) bool {
	seconds, mode, ok := strings.Cut(v, ";")
	if mode = strings.TrimSuffix(mode, "T"); !ok || mode != "R" && mode != "N" {
		return false
	}
	digits := strings.TrimLeft(seconds[:min(1, len(seconds))], "+-") + seconds[min(1, len(seconds)):]
	if !isNumber(digits) {
		return false
	}
	n, _ := strconv.Atoi(seconds)
	return mode == "N" || n > 0
}

// validHoldFor checks future-release-interval of RFC 4865 section 3: seconds without a leading zero.
func validHoldFor(v string, most time.Duration) bool {
	if !isNumber(v) || v[0] == '0' {
		return false
	}
	n, _ := strconv.ParseInt(v, 10, 64)
	return time.Duration(n)*time.Second <= most
}

// parseHoldUntil reads date-time of RFC 3339 section 5.6 and returns it in UTC, whole seconds.
func parseHoldUntil(v string, latest time.Time) (string, bool) {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(v))
	if err != nil || t.After(latest) {
		return "", false
	}
	return t.UTC().Format(time.RFC3339), true
}

// isNumber takes one to nine digits.
func isNumber(v string) bool {
	return v != "" && len(v) <= 9 && strings.Trim(v, "0123456789") == ""
}
