package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/status"
)

// exits are the values of --exit: what the statuses of mailpipe(7) become for callers that know others. For qmail that is 0,
// 100 for ever and 111 for now. For most mail servers only 75 is for now: they bounce what a misspelt option or a mistake of
// the operator's stopped.
var exits = []string{"sysexits", "mta", "qmail"}

// leave is the exit status that the caller understands. It holds for every way in which the program ends, also where the command
// line could not be read to its end.
func leave(cmd *cobra.Command, args []string, exit int) int {
	class := status.ClassOfExit(exit)
	how := asked(cmd, args)
	switch {
	case class == status.Temporary && how == "mta":
		return int(status.TempFail)
	case class == status.Temporary && how == "qmail":
		return int(status.SoftFail)
	case class == status.Permanent && how == "qmail":
		return int(status.HardFail)
	}
	return exit
}

// asked is the value of --exit, or what the environment says of the caller. An option that stands behind a misspelt one was not
// read, and is looked for.
func asked(cmd *cobra.Command, args []string) string {
	how, _ := cmd.Flags().GetString("exit")
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--exit="); ok && how == "" {
			how = v
		} else if a == "--exit" && i+1 < len(args) && how == "" {
			how = args[i+1]
		}
	}
	if slices.Contains(exits, how) {
		return how
	}
	return caller()
}

// caller is who calls: commands of qmail-command(8) have DTLINE; callers by mailpipe(7), Postfix's local(8), Exim and OpenSMTPD
// set SENDER, and Postfix's pipe(8), which does not, MAIL_CONFIG.
func caller() string {
	for _, kv := range [][2]string{{"DTLINE", "qmail"}, {"SENDER", "mta"}, {"MAIL_CONFIG", "mta"}} {
		if _, ok := os.LookupEnv(kv[0]); ok {
			return kv[1]
		}
	}
	return "sysexits"
}

func checkExit(how string) error {
	if how != "" && !slices.Contains(exits, how) {
		return cli.Usagef("--exit %q: want sysexits, mta or qmail", how)
	}
	return nil
}
