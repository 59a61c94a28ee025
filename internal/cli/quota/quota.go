// Package quota gives the programs that deliver into mailboxes the flags about those that are full.
package quota

import (
	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/delivery"
	"pennypost/internal/maildir"
)

// Flags are what mailboxes may hold, and what becomes of mail for those that are full.
type Flags struct{ quota, over string }

// Add adds --quota and --over-quota.
func (q *Flags) Add(f *pflag.FlagSet) {
	f.StringVar(&q.quota, "quota", "", "let a mailbox hold `SIZE`, such as 500M or 500M,10000C (default as its maildirsize says)")
	f.StringVar(&q.over, "over-quota", "defer", "what becomes of mail for a full one: `HOW`, defer (452) or refuse (552)")
}

// Apply puts them into the options of a delivery.
func (q *Flags) Apply(o *delivery.Options) (err error) {
	if q.over != "defer" && q.over != "refuse" {
		return cli.Usagef("--over-quota %q: want defer or refuse", q.over)
	}
	o.RefuseFull = q.over == "refuse"
	if q.quota == "" {
		return nil
	}
	if o.Quota, err = maildir.ParseQuota(q.quota); err != nil {
		return cli.Usagef("--quota: %w", err)
	}
	return nil
}
