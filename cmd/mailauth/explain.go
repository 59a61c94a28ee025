package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/handoff"
	"pennypost/internal/mailauth"
	"pennypost/internal/mailauth/explain"
	"pennypost/internal/message"
	"pennypost/internal/spf"
	"pennypost/internal/status"
)

const maxLine = 1000 // of a line of explanation

// teller writes facts, each an escaped line.
func teller(w io.Writer) func(format string, a ...any) {
	return func(format string, a ...any) {
		fmt.Fprintln(w, status.Escape(fmt.Sprintf(format, a...), maxLine))
	}
}

// explainOptions are the flags of explain.
type explainOptions struct {
	checkFlags
	json bool
}

func newExplain() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:                   "explain [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Tell step by step how a message comes to its results",
		Long: "Explain checks the message on standard input as verify does, and writes every step of SPF, DKIM, ARC and\n" +
			"DMARC with its evidence, in their order, and at the end one sentence on what becomes of the message and why.\n" +
			"What the session was like, it takes from the environment (TCPREMOTEIP, HELO, SENDER) or from flags.",
		Example: "  mailauth explain --ip 192.0.2.1 --helo mail.example.org --from alice@example.org <message\n" +
			"  mailauth explain --replay dns --json <message",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addSession(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "write each step as a JSON line")
	return cmd
}

func (o *explainOptions) run(cmd *cobra.Command) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	options.Whole = true
	m, e, err := handoff.Receive(handoff.Input{})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := o.session(e, &options); err != nil {
		return err
	}
	r, err := mailauth.Check(cmd.Context(), m, options)
	if err != nil {
		return fmt.Errorf("checking the message: %w", err)
	}
	steps, err := stepsOf(m, r, options)
	if err != nil {
		return err
	}
	write := writeSteps
	if o.json {
		write = writeJSON
	}
	if err := write(cmd.OutOrStdout(), steps); err != nil {
		return status.Errorf(status.IO, "writing the steps: %w", err)
	}
	if unsure(r) {
		return answer("temperror")
	}
	return nil
}

// stepsOf is all that there is to tell of a message that was checked with these options.
func stepsOf(m *message.Message, r *mailauth.Report, o mailauth.Options) ([]explain.Step, error) {
	header, err := m.Header()
	if err != nil {
		return nil, fmt.Errorf("explaining the results: %w", err)
	}
	damage, err := dkim.Examine(m, r.DKIM)
	if err != nil {
		return nil, fmt.Errorf("explaining the results: %w", err)
	}
	return explain.Message(r, explain.Input{Session: o.Session, Header: header, Now: o.Now, Damage: damage}), nil
}

// unsure says whether something that was asked may have another answer later.
func unsure(r *mailauth.Report) bool {
	for _, s := range []*spf.Report{r.SPF, r.HELO} {
		if s != nil && s.Result == spf.TempError {
			return true
		}
	}
	for i := range r.DKIM {
		if r.DKIM[i].Verdict == dkim.TempError {
			return true
		}
	}
	return r.ARC != nil && r.ARC.Temporary || r.DMARC != nil && r.DMARC.Result == dmarc.TempError
}

// writeSteps writes steps for people: on each line the method it is about, so that a line can be searched for, then the sentence
// and below it the evidence.
func writeSteps(w io.Writer, steps []explain.Step) error {
	width := 0
	for _, s := range steps {
		width = max(width, len(label(s)))
	}
	for _, s := range steps {
		if err := writeStep(w, s, width); err != nil {
			return err
		}
	}
	return nil
}

func label(s explain.Step) string {
	out := s.Method
	if s.Rules != "" {
		out += " " + s.Rules
	}
	if s.Number != 0 {
		out += fmt.Sprintf(" %d", s.Number)
	}
	return out
}

func writeStep(w io.Writer, s explain.Step, width int) error {
	start := fmt.Sprintf("%-*s  %s", width, label(s), strings.Repeat("  ", s.Depth))
	if _, err := fmt.Fprintln(w, start+status.Escape(s.Text, maxLine)); err != nil {
		return err
	}
	names := 0
	for _, f := range s.Facts {
		if f.For != explain.Programs {
			names = max(names, utf8.RuneCountInString(f.Name))
		}
	}
	for _, f := range s.Facts {
		if f.For == explain.Programs {
			continue
		}
		lines, ok := f.Value.([]string)
		if !ok {
			lines = []string{fmt.Sprint(f.Value)}
		}
		name := strings.ReplaceAll(f.Name, "_", " ") + ":"
		for _, line := range lines {
			if _, err := fmt.Fprintf(w, "%s  %-*s %s\n", start, names+1, name, status.Escape(line, maxLine)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeJSON writes each step as a line for programs.
func writeJSON(w io.Writer, steps []explain.Step) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, s := range steps {
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return nil
}
