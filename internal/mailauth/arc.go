package mailauth

import (
	"strings"

	"pennypost/internal/arc"
	"pennypost/internal/message"
)

// Payload is the content of the field as it is written, perhaps folded: what stands in an ARC-Authentication-Results field after
// its instance (RFC 8617 section 4.1.1).
func (a *AuthRes) Payload() string {
	return strings.TrimSpace(strings.TrimPrefix(string(a.Format()), FieldName+":"))
}

// Recorded are the results that stand in a message under an authserv-id, all in one. They are only as good as the care with
// which forged ones were removed before: by Verify, here.
func Recorded(m *message.Message, id string) (*AuthRes, error) {
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	all := &AuthRes{ID: id, Version: 1}
	for _, f := range header.All(FieldName) {
		a, err := ParseAuthRes(f.Value())
		if err == nil && a.Version == 1 && sameHost(a.ID, id) && len(all.Results)+len(a.Results) <= maxResults {
			all.Results = append(all.Results, a.Results...)
		}
	}
	return all, nil
}

// RecordedARC is the result that was recorded for the chain; "" if there is none or more than one.
func RecordedARC(a *AuthRes) arc.Result {
	var found arc.Result
	for _, r := range a.Results {
		switch {
		case r.Method != "arc" || r.Version != 1:
		case found != "":
			return ""
		default:
			found = arc.Result(r.Value)
		}
	}
	return found
}
