package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/delivery"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/queue"
	"pennypost/internal/status"
)

// destination is where the message goes: to mailboxes that find knows, or to targets.
type destination struct {
	find    delivery.Finder
	targets []delivery.Target
	opt     delivery.Options
	close   func()
}

// destination reads the flags, and refuses what cannot go together.
func (o *options) destination(cmd *cobra.Command) (*destination, error) {
	d := &destination{close: func() {}}
	d.opt.Rules = o.rules.all()
	if err := o.check(cmd); err != nil {
		return nil, err
	}
	dir := cli.EnvOr(o.queue, "MAIL_QUEUE")
	if dir != "" {
		d.forwardInto(dir)
	}
	if err := o.away.apply(&d.opt); err != nil {
		return nil, err
	}
	if err := o.full.Apply(&d.opt); err != nil {
		return nil, err
	}
	d.opt.Stdout = cmd.OutOrStdout()
	if o.home != "" {
		d.find = func(a envelope.Address) (*postoffice.Mailbox, error) { return postoffice.OpenHome(o.home, a) }
		return d, confine(o.sandbox, dir, &d.opt)
	}
	// Without a mailbox the targets that always count are the destination itself, which the rules then change.
	if targets := o.rules.last.Do; targets != nil && !cmd.Flags().Changed("office") {
		d.targets = targets
		d.opt.Rules[len(d.opt.Rules)-1].Do = nil
		return d, confine(o.sandbox, dir, &d.opt)
	}
	off, err := o.office()
	if err != nil {
		return nil, err
	}
	d.find, d.close = off.Lookup, func() { off.Close() }
	if dir == "" {
		dir = filepath.Join(off.Root().Name(), "queue")
		d.forwardInto(dir)
	}
	return d, confine(o.sandbox, dir, &d.opt)
}

func (d *destination) forwardInto(dir string) {
	d.opt.Forward = queue.Into(dir, queue.Options{})
	d.opt.CanForward = func() error { return queue.Check(dir) }
}

func (o *options) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	switch {
	case o.maxSize < 0:
		return cli.Usagef("--max-size must not be negative")
	case changed("office") && o.home != "":
		return cli.Usagef("--office and --home do not go together")
	case (changed("office") || o.home != "") && len(o.rules.last.Do) > 0:
		return cli.Usagef("--to before any --if goes neither with --office nor with --home")
	case o.away.file != "" && !changed("office") && o.home == "" && len(o.rules.last.Do) > 0:
		return cli.Usagef("--vacation is for a mailbox, of --office or --home")
	case o.json && !o.dryRun && !o.explain:
		return cli.Usagef("--json needs --dry-run or --explain")
	}
	return checkExit(o.exit)
}

// show prints what would be done. Its error is the one that the delivery would end with, as far as that shows before.
func (d *destination) show(cmd *cobra.Command, o options, m *message.Message, e *envelope.Envelope) error {
	var all []delivery.Explained
	var err error
	if d.find != nil {
		all, err = delivery.Explain(cmd.Context(), d.find, m, e, d.opt)
	} else {
		var one delivery.Explained
		one, err = delivery.ExplainTargets(cmd.Context(), d.targets, m, e, d.opt)
		all = append(all, one)
	}
	if err != nil {
		return err
	}
	for _, x := range all {
		if err := printPlan(cmd, o, x); err != nil {
			return err
		}
	}
	return delivery.Fate(all)
}

func printPlan(cmd *cobra.Command, o options, x delivery.Explained) error {
	out := cmd.OutOrStdout()
	if o.explain && !o.json {
		_, err := fmt.Fprintln(out, strings.Join(x.Words(), "\n"))
		return err
	}
	if x.Plan == nil {
		return nil
	}
	for _, s := range x.Plan.List() {
		if o.json {
			if err := json.NewEncoder(out).Encode(s); err != nil {
				return err
			}
			continue
		}
		_, err := fmt.Fprintf(out, "%s\t%s\t%s\n", status.Escape(s.Recipient, 320), s.Kind, status.Escape(s.Place, status.MaxText))
		if err != nil {
			return err
		}
	}
	return nil
}
