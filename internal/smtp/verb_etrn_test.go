package smtp

import (
	"context"

	"pennypost/internal/status"
)

// turnSome is a Turner by the name of the domain.
func turnSome(_ context.Context, _ *Facts, domain string, below bool) (int, error) {
	switch {
	case below:
		return -1, nil
	case domain == "three.example":
		return 3, nil
	case domain == "many.example":
		return MaxWaiting + 1, nil
	case domain == "none.example":
		return 0, nil
	}
	return 0, status.Errorf(status.TempFail, "Node %s not allowed: log in first", domain).WithReply(459, "4.7.1")
}
