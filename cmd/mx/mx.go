package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/status"
)

// maxLine is the longest line read from stdin; no address comes near it.
const maxLine = 4096

type options struct {
	addresses    bool
	only4, only6 bool
	json         bool
	seed         uint64
	timeout      time.Duration
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "mx [FLAGS] [DOMAIN...]",
		Short: "Tell where mail for a domain goes",
		Long: `Tell where mail for each DOMAIN goes: the hosts to try, best first, one a line
with their preference. DOMAIN may be an address too, user@domain. Without any,
they are read from standard input, one a line.`,
		Example: `  mx example.org
  mx -a user@example.org
  mx --json <domains`,
		Args: cobra.ArbitraryArgs,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.addresses, "addresses", "a", false, "print the addresses of each host too")
	f.BoolVarP(&o.only4, "ipv4", "4", false, "leave out IPv6 addresses, and hosts with no other")
	f.BoolVarP(&o.only6, "ipv6", "6", false, "leave out IPv4 addresses, and hosts with no other")
	f.BoolVar(&o.json, "json", false, "print JSON, one object a line")
	f.Uint64Var(&o.seed, "seed", 0, "shuffle equal preferences the same way for the same `NUMBER` (0: at random)")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "give up on a domain after `DURATION`")
	cmd.MarkFlagsMutuallyExclusive("ipv4", "ipv6")
	newResolver := dnsflags.Flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("resolver", "zone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.timeout <= 0 {
			return cli.Usagef("time-out %v is not positive", o.timeout)
		}
		r, err := newResolver()
		if err != nil {
			return cli.Usagef("%w", err)
		}
		q := query{options: o, resolver: r, talk: cmd.ErrOrStderr(), print: newPrinter(cmd.OutOrStdout(), o)}
		if len(args) > 0 {
			return q.arguments(cmd.Context(), args)
		}
		return q.lines(cmd.Context(), cmd.InOrStdin())
	}
	return cmd
}

// query is one run of the program over any number of domains.
type query struct {
	options
	resolver *resolver.Resolver
	print    printer
	talk     io.Writer
	worst    int // exit status so far
}

func (q *query) arguments(ctx context.Context, args []string) error {
	q.print.prefix = len(args) > 1
	for _, arg := range args {
		if err := q.one(ctx, arg); err != nil {
			return err
		}
	}
	return q.end()
}

func (q *query) lines(ctx context.Context, in io.Reader) error {
	q.print.prefix = true
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, maxLine), maxLine)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if line == "" {
			continue
		}
		if err := q.one(ctx, line); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return status.Errorf(status.NoInput, "read standard input: %w", err)
	}
	return q.end()
}

func (q *query) end() error {
	if q.worst == 0 {
		return nil
	}
	return &cli.ExitError{Status: q.worst}
}

// one answers for one domain. The error is about our own output or being told
// to stop; what is wrong with the domain is said on stderr and remembered.
func (q *query) one(ctx context.Context, arg string) error {
	targets, err := q.lookup(ctx, arg)
	if ctx.Err() != nil {
		return status.Errorf(status.TempFail, "interrupted")
	}
	if err != nil {
		fmt.Fprintf(q.talk, "mx: %s\n", status.Escape(err.Error(), status.MaxText))
		q.worst = max(q.worst, exitStatus(err))
		return nil
	}
	return q.print.targets(arg, targets)
}

func (q *query) lookup(ctx context.Context, arg string) ([]route.Target, error) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	domain := arg
	if strings.Contains(arg, "@") {
		a, err := envelope.Parse(arg)
		if err != nil {
			return nil, status.Errorf(status.NoHost, "%w", err)
		}
		domain = a.Domain
	}
	return route.Lookup(ctx, q.resolver, domain, route.Options{
		Only4: q.only4, Only6: q.only6, Seed: q.seed,
		Skipped: func(host string, err error) {
			fmt.Fprintf(q.talk, "mx: %s: %s skipped: %s\n", status.Escape(arg, maxLine), host, status.Escape(err.Error(), status.MaxText))
		},
	})
}

// exitStatus orders the fates of a domain by how bad they are: 68 it does not
// exist, 69 it takes no mail, 75 unknown.
func exitStatus(err error) int {
	switch {
	case status.Of(err).Class == status.Temporary:
		return int(status.TempFail)
	case errors.Is(err, route.ErrNoMail):
		return int(status.Unavailable)
	}
	return int(status.NoHost)
}
