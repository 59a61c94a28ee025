package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/dialog"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// maxScript is what is read of a script, in bytes.
const maxScript = 32 << 20

// play is the command's flags and state.
type play struct {
	reach
	set       []string
	patience  time.Duration
	mechanism string         // of the exchange that is on
	responder smtp.Responder // of it
	offered   []string       // mechanisms, by the script: a server keeps to it
}

func newPlay() *cobra.Command {
	var p play
	cmd := &cobra.Command{
		Use:   "play [FLAGS] SCRIPT URL | play [FLAGS] --pipe COMMAND SCRIPT",
		Short: "Play the client's side of a script, and see whether the server keeps to it",
		Long: "Play follows a script in the form of smtp-transcript(5), such as a recording, as the client. It says nothing when the\n" +
			"server keeps to it. At the first step that it does not keep to, it prints what came and what was to come, and exits 1.",
		Example: "  smtpsend play session.txt smtp://localhost:2525\n" +
			"  smtpsend play -v --set RCPT=you@example.org - smtp+tls://mail.example.org <script\n" +
			"  smtpsend play --pipe 'smtpd --office /srv/mail' session.txt",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd, args) },
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&p.set, "set", nil, "let ${NAME} in the script be VALUE, `NAME=VALUE`; may be repeated")
	f.DurationVar(&p.patience, "patience", dialog.DefaultPatience, "wait for each line of the server for `TIME`")
	f.BoolVarP(&p.o.verbose, "verbose", "v", false, "print each step on stderr before it is done")
	return cmd
}

func (p *play) run(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cli.Usagef("want a script and a URL")
	}
	if p.patience <= 0 {
		return cli.Usagef("--patience %v: want more than nothing", p.patience)
	}
	verbose := p.o.verbose
	p.o.verbose = false // the steps are shown, not the bytes
	if err := p.target(cmd, args[1:]); err != nil {
		return err
	}
	steps, err := p.script(args[0], cmd.InOrStdin())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), p.o.timeout)
	defer cancel()
	player := dialog.Player{Side: dialog.Client, Patience: p.patience, StartTLS: p.startTLS, AnyName: true}
	if verbose {
		player.Played = func(s dialog.Step) { fmt.Fprintln(cmd.ErrOrStderr(), status.Escape(s.String(), 2048)) }
	}
	for _, session := range dialog.Sessions(steps) {
		if err := p.session(ctx, &player, session); err != nil {
			return p.told(cmd, args[0], err)
		}
	}
	return nil
}

// session plays one connection.
func (p *play) session(ctx context.Context, player *dialog.Player, steps []dialog.Step) error {
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	player.Secret = func(mechanism string, first bool, challenge string) (string, error) {
		return p.secret(player.Conn(), mechanism, first, challenge)
	}
	p.mechanism = ""
	err = player.Play(ctx, c, steps, p.implicit())
	player.Conn().Close()
	return err
}

// told prints a mismatch, which ends the command with status 1. Trouble is another thing.
func (p *play) told(cmd *cobra.Command, script string, err error) error {
	var m *dialog.Mismatch
	if errors.As(err, &m) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", status.Escape(script, 200), m)
		return &cli.ExitError{Status: 1}
	}
	var known *status.Error
	if errors.As(err, &known) {
		return err
	}
	return status.Errorf(status.TempFail, "%s: %w", script, err)
}

// script reads the file, - for standard input, and puts in what --set says.
func (p *play) script(name string, stdin io.Reader) ([]dialog.Step, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, status.Errorf(status.NoInput, "read the script: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxScript+1))
	if err != nil {
		return nil, status.Errorf(status.NoInput, "read the script: %w", err)
	}
	for _, s := range p.set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" || strings.ContainsAny(value, "\r\n") {
			return nil, cli.Usagef("--set %q: want NAME=VALUE, on one line", s)
		}
		text = bytes.ReplaceAll(text, []byte("${"+name+"}"), []byte(value))
	}
	steps, err := dialog.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, cli.Usagef("%s: %w", name, err)
	}
	return steps, p.checkSteps(name, steps)
}

// checkSteps refuses a script that cannot be played to its end, before anything is said.
func (p *play) checkSteps(name string, steps []dialog.Step) error {
	encrypted := p.implicit()
	for _, s := range steps {
		if words := strings.Fields(strings.ToUpper(s.Text)); len(words) > 1 && (words[0] == "250-AUTH" || words[0] == "250" && words[1] == "AUTH") {
			p.offered = words
		}
		encrypted = encrypted || s.Kind == dialog.TLS
		if s.Kind == dialog.Pattern && s.Side == dialog.Client {
			return cli.Usagef("%s: line %d: a pattern can be awaited, not said", name, s.Number)
		}
	}
	switch {
	case len(steps) == 0:
		return cli.Usagef("%s: no step in it", name)
	case p.mode() == smtp.TLSRequired && !encrypted:
		return cli.Usagef("%s: no change to TLS in it (== TLS), which the URL demands", name)
	}
	return nil
}

// secret is what is said in the place of [redacted]: what the mechanism says at first, or answers to a challenge.
func (p *play) secret(c net.Conn, mechanism string, first bool, challenge string) (string, error) {
	var initial []byte
	if first || p.mechanism != mechanism {
		var err error
		if initial, err = p.begin(c, mechanism); err != nil {
			return "", err
		}
	}
	if first && len(initial) == 0 {
		return "=", nil
	}
	if initial != nil {
		return base64.StdEncoding.EncodeToString(initial), nil
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimPrefix(challenge, "334"), " "))
	if err != nil {
		return "", err
	}
	answer, err := p.responder.Next(text)
	return base64.StdEncoding.EncodeToString(answer), err
}

// begin makes the responder of a mechanism.
func (p *play) begin(c net.Conn, name string) ([]byte, error) {
	p.mechanism = ""
	if !p.o.login.wanted() {
		return nil, errors.New("the script logs in: give --user and a password")
	}
	var state *tls.ConnectionState
	if t, ok := c.(*tls.Conn); ok {
		s := t.ConnectionState()
		state = &s
	}
	for _, m := range p.sender.smtp.Auth {
		if !strings.EqualFold(m.Name, name) {
			continue
		}
		if m.Clear && !p.private(c) {
			return nil, fmt.Errorf("%s sends the secret, not without TLS that is demanded", m.Name)
		}
		if p.responder = m.New(state, p.offered); p.responder == nil {
			break
		}
		p.mechanism = name
		return p.responder.Start()
	}
	return nil, fmt.Errorf("%s cannot be played with what was given", name)
}
