// Mboxconv converts between mbox files and Maildirs without loss; see mboxconv(1).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/mbox"
	"pennypost/internal/status"
)

func main() { os.Exit(cli.Main(newCommand())) }

// options are the flags.
type options struct {
	rule    mbox.Rule
	force   bool
	verbose bool
}

func newCommand() *cobra.Command {
	var o options
	rule := "strict"
	cmd := &cobra.Command{
		Use:   "mboxconv [FLAGS] SOURCE DEST",
		Short: "Convert between mbox files and Maildirs",
		Long: "Mboxconv copies all messages of one mailbox into another. SOURCE and DEST are mbox:PATH (the same as mboxrd:PATH),\n" +
			"mboxo:PATH or maildir:PATH; for a file, - is standard input or output.",
		Example: "  mboxconv mbox:old.mbox maildir:New\n" +
			"  mboxconv maildir:Maildir/.Sent mbox:- | gzip >sent.mbox.gz",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ok bool
			if o.rule, ok = rules[rule]; !ok {
				return cli.Usagef("--from-rule is strict, blank or any, not %q", rule)
			}
			return run(cmd, o, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.StringVar(&rule, "from-rule", rule, "which lines \"From \" begin a message: `RULE` is strict (after an empty line, with a date), blank (after an empty line) or any")
	f.BoolVarP(&o.force, "force", "f", false, "replace a file DEST that exists")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell on stderr what was done")
	return cmd
}

var rules = map[string]mbox.Rule{"strict": mbox.Strict, "blank": mbox.Blank, "any": mbox.Any}

// tally is what the summary tells.
type tally struct{ messages, suspect, undated, gone int }

// run opens SOURCE and reads its first message before it makes anything of DEST.
func run(cmd *cobra.Command, o options, from, to string) error {
	src, dst, err := parse(from, to)
	if err != nil {
		return err
	}
	in, err := openSource(src, o, newStoppable(cmd.Context(), cmd.InOrStdin()))
	if err != nil {
		return err
	}
	defer in.close()
	first, err := in.next()
	if err != nil && err != io.EOF {
		return err
	}
	out, err := openDest(dst, o, cmd.OutOrStdout())
	if err != nil {
		return err
	}
	var n tally
	if err := convert(cmd.Context(), in, out, first, &n); err != nil {
		return errors.Join(err, out.abort())
	}
	if err := out.commit(); err != nil {
		return err
	}
	n.tell(cmd.ErrOrStderr(), o.verbose)
	return nil
}

// convert puts all messages of in into out; first is the first of them, or nil.
func convert(ctx context.Context, in source, out dest, first *item, n *tally) error {
	bar := newProgress(in)
	defer bar.done()
	for it := first; it != nil; {
		if ctx.Err() != nil {
			return status.Errorf(status.TempFail, "stopped: %w", ctx.Err())
		}
		err := out.put(it)
		it.close()
		switch {
		case errors.Is(err, errGone):
			n.gone++
		case err != nil:
			return err
		default:
			n.messages++
		}
		n.count(it)
		bar.show()
		if it, err = in.next(); err != nil && err != io.EOF {
			return err
		}
	}
	return in.check()
}

func (n *tally) count(it *item) {
	if it.raw == nil {
		return
	}
	n.suspect += it.raw.Suspect
	if _, _, ok := mbox.ParseFrom(it.raw.FromLine); !ok {
		n.undated++
	}
}

// tell warns of what may need a look, and sums up if asked.
func (n *tally) tell(w io.Writer, verbose bool) {
	if n.suspect > 0 {
		fmt.Fprintf(w, "mboxconv: warning: %d lines \"From \" inside messages were not taken as the start of one; see --from-rule\n", n.suspect)
	}
	if n.gone > 0 {
		fmt.Fprintf(w, "mboxconv: warning: %d messages were removed by another program meanwhile\n", n.gone)
	}
	if !verbose {
		return
	}
	if n.undated > 0 {
		fmt.Fprintf(w, "mboxconv: %d messages have no date on their From_ line\n", n.undated)
	}
	fmt.Fprintf(w, "mboxconv: %d messages\n", n.messages)
}
