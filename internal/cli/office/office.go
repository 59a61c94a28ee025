// Package office gives a program the flag that names its post office.
package office

import (
	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/postoffice"
)

// Flag adds --office, also to subcommands, and returns what opens it: the flag goes before MAIL_OFFICE, and without both
// the error is one of usage.
func Flag(cmd *cobra.Command) func() (*postoffice.Office, error) {
	var dir string
	cmd.PersistentFlags().StringVar(&dir, "office", "", "post office `DIR` (default $MAIL_OFFICE)")
	return func() (*postoffice.Office, error) {
		path := cli.EnvOr(dir, "MAIL_OFFICE")
		if path == "" {
			return nil, cli.Usagef("no post office: give --office DIR or set MAIL_OFFICE")
		}
		return postoffice.Open(path)
	}
}
