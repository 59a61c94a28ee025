package main

import (
	"log/slog"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/policy/milter"
	"pennypost/internal/smtp"
)

// newFilters reads --milter and --milter-fail; nil means that there are none.
func newFilters(c checkFlags, host string, log *slog.Logger) (*milter.Filters, error) {
	if c.milterFail != "tempfail" && c.milterFail != "accept" {
		return nil, cli.Usagef("--milter-fail is tempfail or accept, not %q", c.milterFail)
	}
	if len(c.milters) == 0 {
		return nil, nil
	}
	f := &milter.Filters{Host: host, Accept: c.milterFail == "accept", Log: log}
	for _, addr := range c.milters {
		if err := f.Add(addr); err != nil {
			return nil, cli.Usagef("--milter: %w", err)
		}
	}
	return f, nil
}

// begin shows the client and the sender to the mail filters.
func (k *checks) begin(f *smtp.Facts, sender envelope.Address) error {
	if k.filters == nil {
		return nil
	}
	t, err := k.filters.Begin(milter.Session{Conn: f.Envelope.Conn, Mechanism: f.Mechanism}, sender)
	if err != nil {
		return err
	}
	knownOf(f).filter = t
	return nil
}

// Reset ends the transaction of the mail filters.
func (k *checks) Reset(f *smtp.Facts) {
	if known := knownOf(f); known.filter != nil {
		known.filter.Close()
		known.filter = nil
	}
	k.handler.Reset(f)
}
