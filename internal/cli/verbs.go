package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Verb is a command below another, and how it is made.
type Verb struct {
	Name string
	New  func() *cobra.Command
}

// Verbs adds those commands that the command line may mean: the ones named in it, or all when it asks for help. In a program
// that starts for each message, the flags of commands nobody asked for would cost more than all packages together.
func Verbs(cmd *cobra.Command, verbs ...Verb) {
	args := os.Args[1:]
	all := slices.ContainsFunc(args, asksForHelp)
	for _, v := range verbs {
		if all || slices.Contains(args, v.Name) {
			cmd.AddCommand(v.New())
		}
	}
}

// asksForHelp says whether an argument may be a wish for help or for the completion of a shell. It errs on the side of yes.
func asksForHelp(arg string) bool {
	short := strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && strings.Contains(arg, "h")
	return short || arg == "--help" || strings.HasPrefix(arg, "--help=") || arg == "help" || strings.HasPrefix(arg, cobra.ShellCompRequestCmd)
}
