package arc

import (
	"strings"

	"pennypost/internal/dkim"
)

// TrustedFrom is the oldest instance from which on every seal is of a domain in the list; 0 if the newest is not. What these
// sets say is as true as the list is good: nobody else had the message in between. Before that instance, a set can be
// anybody's invention, even in a chain that passes. Names are compared as a whole, A-labels and U-labels alike.
func (r *Report) TrustedFrom(sealers []string) int {
	if r.Result != Pass {
		return 0
	}
	list := map[string]bool{}
	for _, s := range sealers {
		list[fold(s)] = true
	}
	from := 0
	for i := len(r.Sets); i > 0 && list[fold(r.Sets[i-1].Seal.Domain)]; i-- {
		from = i
	}
	return from
}

func fold(name string) string { return strings.ToLower(dkim.ASCII(strings.TrimSuffix(name, "."))) }

// Arrived is the report for a message that was changed here since it came in, when recorded is what a check found then: the
// newest message signature does not hold any more, and need not. The seals must hold whatever was recorded.
func (r *Report) Arrived(recorded Result) *Report {
	if r.Result == None || r.Closed || len(r.Sets) == 0 {
		return r // nothing to take back
	}
	a := *r
	a.Result, a.Reason, a.Temporary = "", "", false
	if recorded != Pass {
		return a.fail("it did not pass when the message came in")
	}
	for i := len(a.Sets); i > 0; i-- {
		a.require("seal", i, &a.Sets[i-1].Seal)
	}
	if a.Result == "" {
		a.Result = Pass
	}
	return &a
}
