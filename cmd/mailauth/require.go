package main

import (
	"slices"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/mailauth"
)

// requirement is the flag --require: an expression in the place of the table of exit statuses.
type requirement struct{ *mailauth.Requirement }

// add adds the flag. methods are those that the command finds out about; none is all.
func (q *requirement) add(cmd *cobra.Command, methods ...string) {
	cmd.Flags().Var(&requireValue{q, methods}, "require",
		"succeed only if `EXPRESSION` holds, such as 'dmarc=pass and dkim.domain=example.org'")
}

// exit is the end of a command that answers a question: 0 when the requirement holds, 1 when not, 75 when it cannot be known
// now; without one the exit status of the result.
func (q *requirement) exit(r *mailauth.Report, result string) error {
	if q.Requirement == nil {
		return answer(result)
	}
	switch q.Holds(r) {
	case mailauth.True:
		return nil
	case mailauth.Unknown:
		return answer("temperror")
	}
	return answer("fail")
}

// requireValue is the flag's pflag.Value.
type requireValue struct {
	into    *requirement
	methods []string
}

func (v *requireValue) String() string {
	if v.into == nil || v.into.Requirement == nil {
		return ""
	}
	return v.into.Requirement.String()
}

func (v *requireValue) Set(s string) error {
	q, err := mailauth.ParseRequirement(s)
	if err != nil {
		return err
	}
	for _, m := range q.Methods() {
		if len(v.methods) > 0 && !slices.Contains(v.methods, m) {
			return cli.Usagef("this command finds out nothing about %s", m)
		}
	}
	v.into.Requirement = q
	return nil
}

func (v *requireValue) Type() string { return "expression" }
