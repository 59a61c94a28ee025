package arc

import (
	"fmt"

	"pennypost/internal/message"
)

// collect finds the sets in a header and checks that they are a chain (RFC 8617 section 5.2, steps 1 to 3). The report
// has a result when there is nothing more to check.
func collect(header []message.Field) *Report {
	r := &Report{}
	sets := map[int]*Set{}
	seen := 0
	bad := ""
	for _, f := range header {
		k, ok := kindOf(f)
		if !ok {
			continue
		}
		if seen++; seen > MaxSets*int(fields) {
			r.Instances = MaxSets // it takes no more
			return r.fail("more than %d sets", MaxSets)
		}
		part, err := readField(k, f)
		if err == nil {
			r.Instances = max(r.Instances, part.Instance)
			err = add(sets, k, part)
		}
		if err != nil && bad == "" {
			bad = err.Error()
		}
	}
	if seen == 0 {
		r.Result = None
		return r
	}
	if last := sets[r.Instances]; last != nil && last.raw[seal] != nil && last.CV == Fail {
		r.Closed = true
		return r.fail("set %d says that the chain before it fails", r.Instances)
	}
	if bad != "" {
		return r.fail("%s", bad)
	}
	for i := 1; i <= r.Instances; i++ {
		if err := checkSet(sets[i], i); err != nil {
			r.Sets = nil
			return r.fail("%s", err)
		}
		r.Sets = append(r.Sets, *sets[i])
	}
	return r
}

func (r *Report) fail(format string, a ...any) *Report {
	r.Result, r.Reason = Fail, fmt.Sprintf(format, a...)
	return r
}

// add puts one field into its set.
func add(sets map[int]*Set, k kind, part *Set) error {
	s := sets[part.Instance]
	if s == nil {
		s = &Set{Instance: part.Instance}
		sets[part.Instance] = s
	}
	if s.raw[k] != nil {
		return fmt.Errorf("set %d has %v twice", part.Instance, k)
	}
	s.raw[k] = part.raw[k]
	switch k {
	case results:
		s.Results = part.Results
	case signature:
		s.Message = part.Message
	case seal:
		s.Seal, s.CV = part.Seal, part.CV
	}
	return nil
}

// checkSet checks that the set of instance i is there, complete, and says of the chain before it what it must.
func checkSet(s *Set, i int) error {
	if s == nil {
		return fmt.Errorf("set %d is missing", i)
	}
	for k, raw := range s.raw {
		if raw == nil {
			return fmt.Errorf("set %d has no %v", i, kind(k))
		}
	}
	want := Pass
	if i == 1 {
		want = None
	}
	if s.CV != want {
		return fmt.Errorf("set %d has cv=%q, not %s", i, clip(string(s.CV)), want)
	}
	return nil
}
