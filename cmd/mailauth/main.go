// Command mailauth checks and makes the signatures of a message. See
// mailauth(1).
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
)

func main() { os.Exit(cli.Main(newCommand())) }

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "mailauth COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Check and make the signatures of a message",
		Long: "Mailauth takes a message on standard input, checks or signs it, and passes it on: to standard\n" +
			"output, or to the program after -- with the envelope it was given (mailpipe(7)).",
		Example: "  mailauth verify <message\n" +
			"  smtpd --office /srv/mail -- mailauth verify -- deliver --office /srv/mail",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return cli.Usagef("a command is wanted: verify, explain, spf, dkim, dmarc, arc, batch, sign, seal, keygen, key or lint")
		},
	}
	cli.Verbs(cmd, cli.Verb{Name: "verify", New: newVerify}, cli.Verb{Name: "explain", New: newExplain}, cli.Verb{Name: "spf", New: newSPF},
		cli.Verb{Name: "dkim", New: newDKIM}, cli.Verb{Name: "dmarc", New: newDMARC}, cli.Verb{Name: "arc", New: newARC},
		cli.Verb{Name: "batch", New: newBatch}, cli.Verb{Name: "sign", New: newSign}, cli.Verb{Name: "seal", New: newSeal},
		cli.Verb{Name: "keygen", New: newKeygen}, cli.Verb{Name: "key", New: newKey}, cli.Verb{Name: "lint", New: newLint})
	return cmd
}

// filter is what verify and sign have in common: change the message that
// Receive reads, then hand it to the program after "--" or to stdout. Nothing
// is written before change has succeeded.
func filter(cmd *cobra.Command, args []string, change func(context.Context, *message.Message, *envelope.Envelope) (*message.Message, error)) error {
	if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
		return cli.Usagef("unexpected argument %q: a program to run comes after --", args[0])
	}
	m, e, err := handoff.Receive(handoff.Input{})
	if err != nil {
		return err
	}
	defer m.Close()
	changed, err := change(cmd.Context(), m, e)
	if err != nil {
		return err
	}
	return handoff.Next(cmd.Context(), args, changed, e, os.Stdout)
}
