package main

import (
	"io"
	"os"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/delivery"
	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// maxVacation is what is read of the text of an answer, in bytes.
const maxVacation = 64 << 10

// vacation are the flags about answers.
type vacation struct {
	file  string
	days  int
	names []string
}

func (v *vacation) flags(f *pflag.FlagSet) {
	f.StringVar(&v.file, "vacation", "", "answer the sender by the text in `FILE`, once a week and where the message names the recipient")
	f.IntVar(&v.days, "vacation-days", 7, "answer a sender again after `N` days")
	f.StringArrayVar(&v.names, "vacation-alias", nil, "the recipient is also called `ADDRESS` (repeatable)")
}

func (v *vacation) apply(o *delivery.Options) error {
	if v.file == "" {
		return nil
	}
	if v.days < 1 || v.days > 365 {
		return cli.Usagef("--vacation-days %d: want 1 to 365", v.days)
	}
	f, err := os.Open(v.file)
	if err != nil {
		return status.Errorf(status.Config, "read the answer: %w", err)
	}
	defer f.Close()
	away := &delivery.Vacation{Days: v.days}
	if away.Text, err = io.ReadAll(io.LimitReader(f, maxVacation)); err != nil {
		return status.Errorf(status.Config, "read the answer: %w", err)
	}
	for _, name := range v.names {
		a, err := envelope.Parse(name)
		if err != nil {
			return cli.Usagef("--vacation-alias: %w", err)
		}
		away.Names = append(away.Names, a)
	}
	o.Vacation = away
	return nil
}
