// Package passwd is the passwd command of the servers: it puts a user's secret into the post office.
package passwd

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pennypost/internal/cli"
	"pennypost/internal/postoffice"
	"pennypost/internal/postoffice/crypt"
	"pennypost/internal/status"
)

// MaxSecret bounds what is read as a password, in bytes.
const MaxSecret = 1024

// Command is `passwd USER@DOMAIN`. On a terminal it asks twice without echo; otherwise the first line of stdin is the
// secret.
func Command(open func() (*postoffice.Office, error)) *cobra.Command {
	var scram bool
	cmd := &cobra.Command{
		Use:     "passwd USER@DOMAIN",
		Short:   "Set a user's password, read from the terminal or stdin",
		Example: "  pass show mail/alice | popd --office /srv/mail passwd alice@example.org",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := open()
			if err != nil {
				return err
			}
			defer o.Close()
			o.Hashes = crypt.Hashes{}
			secret, err := read(cmd)
			if err != nil {
				return err
			}
			form := postoffice.Crypt
			if scram {
				form = postoffice.Scram
			}
			return o.SetSecretAs(form, args[0], secret)
		},
	}
	cmd.Flags().BoolVar(&scram, "scram", false, "keep the secret in the form that SCRAM-SHA-256 needs")
	return cmd
}

func read(cmd *cobra.Command) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return ask(cmd, int(f.Fd()))
	}
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), MaxSecret+2)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", status.Errorf(status.NoInput, "read password from stdin: %w", err)
	}
	return check(strings.TrimRight(line, "\r\n"))
}

// ask reads the secret twice, so that a slip of the finger does not lock the user out.
func ask(cmd *cobra.Command, fd int) (string, error) {
	var twice [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return "", status.Errorf(status.NoInput, "read password from the terminal: %w", err)
		}
		twice[i] = string(b)
	}
	if twice[0] != twice[1] {
		return "", cli.Usagef("the two passwords are not the same")
	}
	return check(twice[0])
}

func check(secret string) (string, error) {
	switch {
	case secret == "":
		return "", cli.Usagef("the password is empty")
	case len(secret) > MaxSecret:
		return "", cli.Usagef("the password is longer than %d bytes", MaxSecret)
	}
	return secret, nil
}
