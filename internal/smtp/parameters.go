package smtp

import (
	"strconv"
	"strings"

	"pennypost/internal/envelope"
)

// cutKeyword takes "FROM:" or "TO:" off, in any case of letters.
func cutKeyword(arg, keyword string) (rest string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", false
	}
	return arg[len(keyword):], true
}

// parameters reads "NAME=value NAME" (RFC 5321 section 4.1.2, esmtp-param) and stores each by known; it returns the refusal
// of the first that is wrong.
func (s *session) parameters(tail string, known map[string]func(string) bool) *Reply {
	fields := strings.FieldsFunc(tail, func(r rune) bool { return r == ' ' })
	if len(fields) > 0 && !s.facts.Extended {
		return &Reply{555, "5.5.4", []string{"Error: parameters need EHLO"}}
	}
	seen := make(map[string]bool)
	for _, f := range fields {
		name, value, given := strings.Cut(f, "=")
		name = strings.ToUpper(name)
		store := known[name]
		switch {
		case store == nil:
			return &Reply{555, "5.5.4", []string{"Error: unsupported parameter " + name}}
		case seen[name]:
			return &Reply{501, "5.5.4", []string{"Error: parameter " + name + " twice"}}
		case given && value == "", !store(value):
			return &Reply{501, "5.5.4", []string{"Error: bad value of parameter " + name}}
		}
		seen[name] = true
	}
	return nil
}

// parseSize reads up to 20 digits (RFC 1870 section 4); more than fits in 63 bits is more than any limit.
func parseSize(v string, size *int64) bool {
	if v == "" || len(v) > 20 || strings.Trim(v, "0123456789") != "" {
		return false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	*size = n
	return true
}

// validXtext checks xtext of RFC 3461 section 4.
func validXtext(v string) bool {
	_, ok := envelope.FromXtext(v)
	return ok
}

// validAuthParameter checks AUTH= of MAIL (RFC 4954 section 5): <> or a mailbox in xtext.
func validAuthParameter(v string) bool {
	if v == "<>" {
		return true
	}
	plain, ok := envelope.FromXtext(v)
	if len(v) > 500 || !ok {
		return false
	}
	a, err := envelope.Parse(plain)
	return err == nil && a.Domain != ""
}

// validNotify checks RFC 3461 section 4.1: NEVER alone, or a list of SUCCESS, FAILURE and DELAY without doubles.
func validNotify(v string) bool {
	if v == "NEVER" {
		return true
	}
	seen := make(map[string]bool)
	for _, word := range strings.Split(v, ",") {
		if word != "SUCCESS" && word != "FAILURE" && word != "DELAY" || seen[word] {
			return false
		}
		seen[word] = true
	}
	return true
}

// validORcpt checks RFC 3461 section 4.2: an address type, a semicolon and the address in xtext, or for utf-8 in the forms of
// RFC 6533 section 3, which are printable and without blanks too.
func validORcpt(v string) bool {
	kind, address, ok := strings.Cut(v, ";")
	if !ok || len(v) > 500 || address == "" || kind == "" {
		return false
	}
	for _, c := range []byte(kind) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	if strings.EqualFold(kind, "utf-8") {
		return !strings.ContainsAny(address, "+=")
	}
	return validXtext(address)
}
