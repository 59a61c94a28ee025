// Package cli is the edge of every program: signals become a context, errors an exit status and one line on stderr.
//
// It is the only package besides cmd that knows cobra. It guarantees that only Main decides the exit status, that a run-time
// error never dumps a usage text, that bad usage is two lines and exit 64, and that a program whose output nobody reads any
// more ends quietly.
package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pennypost/internal/status"
)

// ExitError ends the program with a status and without a word: it was all said already.
type ExitError struct{ Status int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Status) }

const mailpipeKey = "mailpipe"

// Mailpipe marks a program that speaks mailpipe(7): its last stderr line is then "550 5.1.1 text", which the caller makes
// its reply.
func Mailpipe(cmd *cobra.Command) *cobra.Command {
	annotate(cmd, mailpipeKey)
	return cmd
}

func annotate(cmd *cobra.Command, key string) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[key] = "yes"
}

// Usagef is an error of the command line: exit 64.
func Usagef(format string, a ...any) error { return status.Errorf(status.Usage, format, a...) }

// Main runs the program and returns its exit status. SIGINT, SIGTERM and SIGHUP cancel the command's context; a second one
// ends the program at once.
func Main(cmd *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	defer stop()
	return run(ctx, cmd, os.Args[1:])
}

func run(ctx context.Context, cmd *cobra.Command, args []string) (exit int) {
	defer func() {
		// The status 2 that the runtime would give is one for which many a mail server bounces.
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "%s\n", debug.Stack())
			exit = report(cmd, status.Errorf(status.Software, "internal error: %v", r))
		}
	}()
	prepare(cmd)
	cmd.SetArgs(args)
	ran, err := cmd.ExecuteContextC(ctx)
	return report(ran, err)
}

// prepare sets what all programs share.
func prepare(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	cmd.SilenceErrors = true
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetHelpCommand(&cobra.Command{Hidden: true})
	cmd.Version = "asked for" // only then is it looked up
	cobra.AddTemplateFunc("version", Version)
	cmd.SetVersionTemplate("{{.Name}} {{version}}\n")
	cmd.Flags().Bool("version", false, "print the version") // without -v, which is the transcript elsewhere
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return Usagef("%w", err) })
	noteRun(cmd)
}

// noteRun marks every command of the tree when its own code is reached, and lets Use be the usage line as it is written.
func noteRun(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.Flags().BoolP("help", "h", false, "print this help")
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			annotate(c, ranKey)
			return run(c, args)
		}
	}
	for _, sub := range cmd.Commands() {
		noteRun(sub)
	}
}

// ranKey marks a command whose own code was reached: cobra's errors before that are about usage.
const ranKey = "ran"

func report(cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Status
	}
	if errors.Is(err, syscall.EPIPE) {
		return status.ExitStatus(err) // nobody reads any more
	}
	var known *status.Error
	usage := cmd.Annotations[ranKey] == ""
	if errors.As(err, &known) {
		usage = known.Exit == int(status.Usage)
	}
	name := strings.Fields(cmd.CommandPath())[0]
	if usage {
		fmt.Fprintf(os.Stderr, "%s: %s\ntry '%s --help'\n", name, status.Escape(err.Error(), status.MaxText), cmd.CommandPath())
		return int(status.Usage)
	}
	e := status.Of(err)
	if cmd.Annotations[mailpipeKey] != "" {
		fmt.Fprintln(os.Stderr, e.Line())
	} else {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, status.Escape(e.Text, status.MaxText))
	}
	return status.ExitStatus(err)
}

// Version is the module's version, or the revision it was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return strings.Trim(info.Main.Version, "()")
}

// Logger writes slog text to the command's stderr without a time: what reads stderr stamps it.
func Logger(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// EnvOr is the value of an environment variable where a flag was not given.
func EnvOr(flag, name string) string {
	if flag != "" {
		return flag
	}
	return os.Getenv(name)
}
