package smtp

import (
	"regexp"
	"testing"
	"time"
)

var (
	priorityForm = regexp.MustCompile(`^(-[1-9]|[0-9])$`)
	byForm       = regexp.MustCompile(`^[+-]?[0-9]{1,9};[RN]T?$`)
)

// FuzzPromiseValues: what is taken has the form of its RFC, and nothing in it could end a variable or a line.
func FuzzPromiseValues(f *testing.F) {
	for _, seed := range []string{"4", "-9", "-0", "120;R", "-60;NT", "+1;RT", "0;R", "3600", "2592000", "2592001", "2026-11-24T08:00:00Z",
		"2026-11-24t08:00:00.5+01:00", "9999-12-31T23:59:60Z", "", ";", "1;RTT"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if validPriority(v) != priorityForm.MatchString(v) {
			t.Errorf("MT-PRIORITY=%q: %v", v, validPriority(v))
		}
		if validBy(v) && !byForm.MatchString(v) {
			t.Errorf("BY=%q was taken", v)
		}
		if validHoldFor(v, time.Hour) && (len(v) > 4 || v > "3600" && len(v) == 4 || v[0] == '0') {
			t.Errorf("HOLDFOR=%q was taken", v)
		}
		until, ok := parseHoldUntil(v, fixedTime)
		if !ok {
			return
		}
		when, err := time.Parse("2006-01-02T15:04:05Z", until)
		if err != nil || when.After(fixedTime) {
			t.Errorf("HOLDUNTIL=%q became %q, %v", v, until, err)
		}
		if again, ok := parseHoldUntil(until, fixedTime); !ok || again != until {
			t.Errorf("HOLDUNTIL=%q became %q and that %q", v, until, again)
		}
	})
}
