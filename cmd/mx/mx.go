package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/route/sts"
	"pennypost/internal/status"
)

const (
	// maxLine is the longest line read from stdin; no address comes near it.
	maxLine = 4096
	// maxJobs keeps the number of sockets in bounds.
	maxJobs = 256
	// maxAhead is how many answers wait for one that is to be printed before
	// them: a domain whose servers are silent does not hold up the others.
	maxAhead = 4096
	// outBuffer is how much is printed at once at most, but for a long answer.
	outBuffer = 32 << 10
	// bulkGC trades some megabytes for a fifth of the time of long lists.
	bulkGC = 400
)

type options struct {
	addresses    bool
	only4, only6 bool
	names        bool
	json         bool
	long         bool
	routes       bool
	verbose      bool
	seed         uint64
	timeout      time.Duration
	own          []string
	cache        string
	jobs         int
	unordered    bool
	port         int
	probe        probeOptions
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
  mx -lv example.org
  mx --json -j 32 <domains
  mx --probe --rcpt user@example.org example.org`,
		Args: cobra.ArbitraryArgs,
	}
	o.register(cmd)
	newResolver := dnsflags.Flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("resolver", "zone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		r, err := newResolver()
		if err != nil {
			return cli.Usagef("%w", err)
		}
		q := &query{options: o, resolver: r, out: cmd.OutOrStdout(), talk: cmd.ErrOrStderr()}
		if err := q.prepare(); err != nil {
			return err
		}
		if len(args) > 0 {
			q.prefix = len(args) > 1
			return q.run(cmd.Context(), arguments(args))
		}
		debug.SetGCPercent(bulkGC)
		q.prefix = true
		q.progress = newProgress()
		return q.run(cmd.Context(), lines(cmd.Context(), cmd.InOrStdin()))
	}
	return cmd
}

func (o *options) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&o.addresses, "addresses", "a", false, "print the addresses of each host too")
	f.BoolVarP(&o.only4, "ipv4", "4", false, "leave out IPv6 addresses, and hosts with no other")
	f.BoolVarP(&o.only6, "ipv6", "6", false, "leave out IPv4 addresses, and hosts with no other")
	f.BoolVarP(&o.names, "names", "n", false, "do not ask whether the hosts have addresses")
	f.BoolVarP(&o.long, "long", "l", false, "print a table of all hosts and addresses with the TLS they need, and why")
	f.BoolVar(&o.json, "json", false, "print all that is known as JSON, one object a line for each host")
	f.BoolVar(&o.routes, "routes", false, "print a tab-separated table of routes, for programs")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "say on stderr, sentence by sentence, how it comes to this")
	f.Uint64Var(&o.seed, "seed", 0, "shuffle equal preferences the same way for the same `NUMBER` (0: at random)")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "give up on a domain after `DURATION`")
	f.StringArrayVar(&o.own, "own", nil, "this `NAME` or IP address is us; send neither there nor to hosts no better")
	f.StringVar(&o.cache, "sts-cache", "", "keep MTA-STS policies in the directory `DIR`")
	f.IntVarP(&o.jobs, "jobs", "j", 8, "look up `N` domains at the same time")
	f.BoolVar(&o.unordered, "unordered", false, "print each result as soon as it is there, in any order")
	f.IntVar(&o.port, "port", route.DefaultPort, "the hosts answer at port `N`")
	o.probe.register(f)
	cmd.MarkFlagsMutuallyExclusive("ipv4", "ipv6")
	cmd.MarkFlagsMutuallyExclusive("probe", "long", "routes")
	cmd.MarkFlagsMutuallyExclusive("long", "json", "routes")
	for _, other := range []string{"addresses", "ipv4", "ipv6", "long", "json", "routes", "verbose", "probe"} {
		cmd.MarkFlagsMutuallyExclusive("names", other)
	}
}

func (o *options) check() error {
	switch {
	case o.timeout <= 0:
		return cli.Usagef("time-out %v is not positive", o.timeout)
	case o.jobs < 1 || o.jobs > maxJobs:
		return cli.Usagef("%d jobs, not 1 to %d", o.jobs, maxJobs)
	case o.port < 1 || o.port > 65535:
		return cli.Usagef("port %d, not 1 to 65535", o.port)
	}
	return o.probe.check()
}

// policies tells whether the result has something to do with policies: a list of
// hosts alone is to be quick.
func (o *options) policies() bool { return o.long || o.json || o.routes || o.verbose || o.probe.on }

// query is one run of the program over any number of domains.
type query struct {
	options
	prefix    bool // put the domain before each line
	resolver  *resolver.Resolver
	search    route.Options
	out, talk io.Writer
	progress  *progress
	probing   chan struct{} // holds one for each connection of a probe
	pending   bytes.Buffer  // of out, whole answers
	worst     int           // exit status so far
}

// prepare makes the options of route from the flags.
func (q *query) prepare() error {
	q.search = route.Options{Port: q.port, Only4: q.only4, Only6: q.only6, Seed: q.seed}
	for _, own := range q.own {
		if ip, err := netip.ParseAddr(own); err == nil {
			q.search.OwnAddresses = append(q.search.OwnAddresses, ip.Unmap())
			continue
		}
		name, err := ownName(own)
		if err != nil {
			return cli.Usagef("own name %q: %w", own, err)
		}
		q.search.OwnNames = append(q.search.OwnNames, name)
	}
	source := &sts.Source{Resolver: q.resolver}
	if q.cache != "" {
		dir, err := os.OpenRoot(q.cache)
		if err != nil {
			return cli.Usagef("cache of policies: %w", err)
		}
		source.Cache = dir
	}
	q.search.Policy = q.policies()
	q.search.Explain = q.verbose
	q.search.NamesOnly = q.names
	q.search.SomeAddress = !q.addresses && !q.policies() && len(q.search.OwnAddresses) == 0
	q.search.STS = source
	q.probing = make(chan struct{}, q.jobs)
	return nil
}

// ownName brings a name into the form in which route compares.
func ownName(s string) (string, error) {
	domain, err := envelope.ParseDomain(s)
	if err != nil {
		return "", err
	}
	a, err := envelope.Address{Domain: domain}.ASCII()
	return strings.ToLower(strings.TrimSuffix(a.Domain, ".")), err
}

// answer is what there is to print about one domain.
type answer struct {
	out, talk strings.Builder
	status    int
}

// one answers for one domain. What is wrong with it is part of the answer.
func (q *query) one(ctx context.Context, arg string) *answer {
	a := &answer{}
	plan, err := q.lookup(ctx, arg, a)
	if q.verbose {
		for _, sentence := range plan.Reasons {
			fmt.Fprintf(&a.talk, "mx: %s\n", status.Escape(sentence, status.MaxText))
		}
	}
	if err != nil {
		fmt.Fprintf(&a.talk, "mx: %s\n", status.Escape(err.Error(), status.MaxText))
		a.status = exitStatus(err)
	}
	if q.probe.on {
		if err == nil {
			a.status = q.probePlan(ctx, &a.out, arg, plan)
		}
		return a
	}
	q.print(&a.out, arg, plan)
	return a
}

func (q *query) lookup(ctx context.Context, arg string, a *answer) (*route.Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	domain := arg
	if strings.Contains(arg, "@") {
		address, err := envelope.Parse(arg)
		if err != nil {
			return &route.Plan{}, status.Errorf(status.NoHost, "%w", err)
		}
		domain = address.Domain
	}
	o := q.search
	o.Skipped = func(host string, err error) {
		fmt.Fprintf(&a.talk, "mx: %s: %s skipped: %s\n", status.Escape(arg, maxLine), host, status.Escape(err.Error(), status.MaxText))
	}
	return route.Find(ctx, q.resolver, domain, o)
}

// exitStatus orders the fates of a domain by how bad they are: 68 it does not
// exist, 69 it takes no mail, 75 unknown, 76 there are hosts but none may be
// tried.
func exitStatus(err error) int {
	switch {
	case errors.Is(err, route.ErrPolicy), errors.Is(err, route.ErrOwn):
		return int(status.Protocol)
	case status.Of(err).Class == status.Temporary:
		return int(status.TempFail)
	case errors.Is(err, route.ErrNoMail):
		return int(status.Unavailable)
	}
	return int(status.NoHost)
}
