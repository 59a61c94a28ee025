package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/live"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// Bounds of a load: somebody may have typed a zero too many.
const (
	maxLoadSessions = 10_000
	maxLoadMessages = 10_000_000
	maxLoadSize     = 256 << 20
)

// load is the command's flags.
type load struct {
	reach
	sessions, messages, each int
	size, from               string
	rate                     float64
	lasts                    time.Duration
	seed                     uint64
	mine, json               bool
}

// loading is a load on its way.
type loading struct {
	load
	small, large int
	envelope     *envelope.Envelope
	body         []byte
	left         atomic.Int64
	turns        <-chan time.Time // nil: as fast as it goes
	loadCount
}

func newLoad() *cobra.Command {
	var l load
	cmd := &cobra.Command{
		Use:   "load [FLAGS] URL RECIPIENT... | load [FLAGS] --pipe COMMAND RECIPIENT...",
		Short: "Send many messages at once and tell how long they took",
		Long: "Load sends messages of random text in several sessions at a time, and prints how many a second were taken and how\n" +
			"long one took. It exits 0 when all were taken. It sends to this host only, unless it is told that the server is yours.",
		Example: "  smtpsend load --sessions 10 --messages 5000 --size 1k-64k smtp://localhost:2525 alice@example.org",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(cmd *cobra.Command, args []string) error { return l.run(cmd, args) },
	}
	l.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&l.sessions, "sessions", 1, "`N` sessions at a time")
	f.IntVar(&l.messages, "messages", 100, "`N` messages in all")
	f.IntVar(&l.each, "per-session", 0, "begin a new session after `N` messages (default never)")
	f.StringVar(&l.size, "size", "4k", "`OCTETS` of a message, with k or M for 1024 of the unit before, or two sizes and - for any between")
	f.StringVarP(&l.from, "from", "f", "", "envelope `SENDER` (default the null sender)")
	f.Float64Var(&l.rate, "rate", 0, "begin at most `N` messages a second (default as many as go)")
	f.DurationVar(&l.lasts, "lasts", 0, "begin no message after `TIME` (default until all are sent)")
	f.Uint64Var(&l.seed, "seed", 1, "choose the sizes by `N`: the same again with the same")
	f.BoolVar(&l.mine, "i-own-this-server", false, "send also to a server that is not this host")
	f.BoolVar(&l.json, "json", false, "print the result as a JSON object")
	return cmd
}

func (l *load) run(cmd *cobra.Command, args []string) error {
	urls := 1
	if l.o.pipe != "" {
		urls = 0
	}
	if len(args) <= urls {
		return cli.Usagef("want a URL and a recipient")
	}
	w := &loading{load: *l}
	if err := w.prepare(args[urls:]); err != nil {
		return err
	}
	if err := w.target(cmd, args[:urls]); err != nil {
		return err
	}
	defer w.sender.done()
	ctx, cancel := context.WithTimeout(cmd.Context(), w.o.timeout)
	defer cancel()
	stop := w.show(cmd.ErrOrStderr())
	begun := time.Now()
	w.all(ctx)
	w.wall = time.Since(begun)
	stop()
	return w.report(cmd.OutOrStdout(), l.json)
}

// prepare checks the flags and makes what all messages have in common.
func (l *loading) prepare(recipients []string) (err error) {
	switch {
	case l.sessions < 1 || l.sessions > maxLoadSessions:
		return cli.Usagef("--sessions %d: want 1 to %d", l.sessions, maxLoadSessions)
	case l.messages < 1 || l.messages > maxLoadMessages:
		return cli.Usagef("--messages %d: want 1 to %d", l.messages, maxLoadMessages)
	case l.each < 0 || l.lasts < 0:
		return cli.Usagef("--per-session and --lasts must not be negative")
	case l.rate != 0 && (l.rate < 0.001 || l.rate > 1e6):
		return cli.Usagef("--rate %v: want 0.001 to 1000000", l.rate)
	}
	if l.small, l.large, err = parseSizes(l.size); err != nil {
		return err
	}
	l.envelope = &envelope.Envelope{}
	if err := l.envelope.FromArgs(&l.from, recipients); err != nil {
		return err
	}
	l.body = loadText(l.large, l.seed)
	l.left.Store(int64(l.messages))
	return nil
}

// parseSizes reads "4k" or "1k-64k".
func parseSizes(s string) (small, large int, err error) {
	first, last, two := strings.Cut(s, "-")
	if !two {
		last = first
	}
	for _, p := range []struct {
		text string
		to   *int
	}{{first, &small}, {last, &large}} {
		digits := strings.TrimRight(p.text, "kKM")
		unit, known := map[string]int{"": 1, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20}[p.text[len(digits):]]
		n, err := strconv.Atoi(digits)
		if err != nil || !known || n < 0 || n > maxLoadSize/unit {
			return 0, 0, cli.Usagef("--size %q: want octets up to 256M, or two with - between them", s)
		}
		*p.to = n * unit
	}
	if small > large {
		return 0, 0, cli.Usagef("--size %q: the first is the larger", s)
	}
	return small, large, nil
}

// loadText is text in lines of 72 octets, some of which begin with a dot.
func loadText(size int, seed uint64) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyz     ."
	r := rand.New(rand.NewPCG(seed, 0))
	text := make([]byte, size)
	for i := range text {
		text[i] = letters[r.IntN(len(letters))]
		if i%72 == 71 {
			text[i] = '\n'
		}
	}
	return text
}

// message is the nth message, of a size between the two that were asked for.
func (l *loading) message(n int64) *message.Message {
	size := l.small
	if l.large > l.small {
		r := rand.New(rand.NewPCG(l.seed, uint64(n)))
		size += r.IntN(l.large - l.small + 1)
	}
	head := fmt.Sprintf("From: <load@localhost.invalid>\nSubject: load %d\nDate: %s\nMessage-ID: <%d.%d@localhost.invalid>\n\n",
		n, time.Now().Format(time.RFC1123Z), time.Now().UnixNano(), n)
	body := l.body[:max(0, min(len(l.body), size-len(head)))]
	return message.Bytes(body).Prepend([]byte(head))
}

// all runs the sessions to their end.
func (l *loading) all(ctx context.Context) {
	begin, cancel := ctx, context.CancelFunc(func() {})
	if l.lasts > 0 {
		begin, cancel = context.WithTimeout(ctx, l.lasts)
	}
	defer cancel()
	if l.rate > 0 {
		t := time.NewTicker(time.Duration(float64(time.Second) / l.rate))
		defer t.Stop()
		l.turns = t.C
	}
	var sessions sync.WaitGroup
	for range min(l.sessions, l.messages) {
		sessions.Go(func() {
			for l.session(ctx, begin) {
			}
		})
	}
	sessions.Wait()
}

// session is one connection; more tells whether there is something left for another. ctx ends everything, begin only keeps
// further messages from being begun.
func (l *loading) session(ctx, begin context.Context) (more bool) {
	n, ok := l.next(begin)
	if !ok {
		return false
	}
	at := time.Now()
	c, err := smtp.Connect(ctx, l.dialLoad, l.sender.smtp)
	if err != nil {
		l.failed(status.Of(err))
		return !errors.Is(err, errNotMine)
	}
	defer c.Close()
	l.connected(time.Since(at))
	for sent := 1; ; sent++ {
		m, at := l.message(n), time.Now()
		out := c.Send(ctx, m, l.envelope)
		l.sent(m.Size(), time.Since(at), out)
		if c.Err() != nil {
			return true
		}
		if sent == l.each {
			break
		}
		if n, ok = l.next(begin); !ok {
			break
		}
	}
	c.Quit(ctx)
	return ok
}

// next is the number of the next message; ok is false after the last.
func (l *loading) next(ctx context.Context) (n int64, ok bool) {
	if l.turns != nil {
		select {
		case <-l.turns:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return 0, false
	}
	n = l.left.Add(-1)
	return int64(l.messages) - n, n >= 0
}

var errNotMine = errors.New("it is not this host; with --i-own-this-server it may be sent to")

// dialLoad connects, to this host only unless told otherwise.
func (l *loading) dialLoad(ctx context.Context) (net.Conn, error) {
	if l.sender.endpoint == nil {
		return l.sender.dialPipe(ctx)
	}
	c, err := l.sender.dialEndpoint(ctx, *l.sender.endpoint)
	if err != nil {
		return nil, err
	}
	return l.ours(c)
}

// ours closes a connection to another host that nobody said is the user's.
func (l *loading) ours(c net.Conn) (net.Conn, error) {
	if l.mine || smtp.Local(c.RemoteAddr()) {
		return c, nil
	}
	c.Close()
	return nil, fmt.Errorf("%s: %w", c.RemoteAddr(), errNotMine)
}

// show prints the rate on a terminal until stop is called.
func (l *loading) show(w io.Writer) (stop func()) {
	before := 0
	return live.Show(w, func() string {
		taken, refused := l.counts()
		text := fmt.Sprintf("%d taken, %d refused, %.0f/s", taken, refused, float64(taken-before)/live.Every.Seconds())
		before = taken
		return text
	})
}
