package signing

import (
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
)

// NowFlag adds --now and returns what reads it: the time of the flag, else of SOURCE_DATE_EPOCH, else the zero time, which is
// for the present. With one of the first two the same message and key give the same signature.
func NowFlag(cmd *cobra.Command) func() (time.Time, error) {
	var now string
	cmd.Flags().StringVar(&now, "now", "",
		"let it be `TIME`, in seconds since 1970 or as in RFC 3339 (default $SOURCE_DATE_EPOCH, then the clock)")
	return func() (time.Time, error) {
		text := cli.EnvOr(now, "SOURCE_DATE_EPOCH")
		if text == "" {
			return time.Time{}, nil
		}
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n < 1<<40 {
			return time.Unix(n, 0), nil
		}
		if t, err := time.Parse(time.RFC3339, text); err == nil && t.Unix() >= 0 {
			return t, nil
		}
		if now == "" {
			return time.Time{}, cli.Usagef("SOURCE_DATE_EPOCH %q is no time", os.Getenv("SOURCE_DATE_EPOCH"))
		}
		return time.Time{}, cli.Usagef("--now %q is no time", now)
	}
}
