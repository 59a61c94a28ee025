package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/dialog"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// helper is a line that begins with a dot.
type helper struct {
	name, use, does string
	run             func(t *talker, ctx context.Context, arg string) error
}

var helpers []helper

func init() { // .help lists the table it stands in
	helpers = []helper{
		{"auth", ".auth [MECHANISM]", "log in as --user", (*talker).auth},
		{"b64", ".b64 [-d] TEXT", "print TEXT in base64, or from it", (*talker).b64},
		{"ehlo", ".ehlo [NAME]", "say EHLO, or LHLO, with our name", (*talker).ehlo},
		{"help", ".help", "this list", (*talker).help},
		{"quit", ".quit", "say QUIT", func(t *talker, ctx context.Context, _ string) error { return t.command(ctx, "QUIT") }},
		{"raw", ".raw [TEXT]", `send TEXT with the escapes \r \n \x00 and no CRLF; without TEXT every line, up to the next .raw`, (*talker).rawMode},
		{"save", ".save FILE", "write the session so far, for smtpsend play", (*talker).save},
		{"send", ".send FILE", "send the message in FILE by DATA", (*talker).sendFile},
		{"tls", ".tls", "say EHLO, STARTTLS, and EHLO again", func(t *talker, ctx context.Context, _ string) error { return t.secure(ctx) }},
		{"what", ".what [CODE [ENHANCED]]", "what a reply means, by default the last one", (*talker).what},
	}
}

// helper carries out a line that begins with a dot.
func (t *talker) helper(ctx context.Context, text string) error {
	name, arg, _ := strings.Cut(text[1:], " ")
	for _, h := range helpers {
		if h.name == name {
			return h.run(t, ctx, strings.TrimSpace(arg))
		}
	}
	t.say("no such helper; .help lists them")
	return nil
}

func (t *talker) help(context.Context, string) error {
	for _, h := range helpers {
		t.say(fmt.Sprintf("%-24s %s", h.use, h.does))
	}
	t.say("Anything else is sent with CRLF. After 354 lines are the message, up to a dot alone. Tab completes.")
	return nil
}

func (t *talker) ehlo(ctx context.Context, name string) error {
	if name == "" {
		if name = t.sender.smtp.Helo; name == "" {
			name = smtp.Literal(t.plain.LocalAddr())
		}
	}
	if t.lmtp {
		return t.echo(ctx, "LHLO "+name)
	}
	return t.echo(ctx, "EHLO "+name)
}

// echo is command for what was not typed as it is sent.
func (t *talker) echo(ctx context.Context, text string) error {
	if t.terminal {
		t.say("-> " + status.Escape(text, 2048))
	}
	return t.command(ctx, text)
}

// secure changes to TLS where it is not on.
func (t *talker) secure(ctx context.Context) error {
	if _, on := t.plain.(*tls.Conn); on {
		t.say("TLS is on already")
		return nil
	}
	if err := t.ehlo(ctx, ""); err != nil {
		return err
	}
	if err := t.echo(ctx, "STARTTLS"); err != nil {
		return err
	}
	if _, on := t.plain.(*tls.Conn); !on {
		return nil
	}
	return t.ehlo(ctx, "")
}

// auth logs in by the mechanism, or by the first of ours that is offered.
func (t *talker) auth(ctx context.Context, name string) error {
	var offered []string
	for _, l := range t.offered {
		if words := strings.Fields(strings.ToUpper(l)); len(words) > 1 && words[0] == "AUTH" {
			offered = words[1:]
		}
	}
	for _, m := range t.sender.smtp.Auth {
		if name == "" && !slices.Contains(offered, m.Name) || name != "" && !strings.EqualFold(name, m.Name) {
			continue
		}
		if m.Clear && !t.private(t.plain) {
			t.say(m.Name + " sends the password, not without TLS that is demanded: smtp+tls:// in the URL, or --clear-auth")
			continue
		}
		var state *tls.ConnectionState
		if c, ok := t.plain.(*tls.Conn); ok {
			s := c.ConnectionState()
			state = &s
		}
		if x := m.New(state, offered); x != nil {
			return t.exchange(ctx, m.Name, x)
		}
	}
	t.say("no way to log in: .ehlo shows what is offered, and --user and a password are given with the URL")
	return nil
}

// exchange is a login; what is sent is not shown.
func (t *talker) exchange(ctx context.Context, name string, x smtp.Responder) error {
	first, err := x.Start()
	if err != nil {
		return status.Errorf(status.Config, "log in by %s: %w", name, err)
	}
	line := "AUTH " + name
	if first != nil {
		line += " " + cmp.Or(base64.StdEncoding.EncodeToString(first), "=")
	}
	t.aside("-> AUTH " + name)
	for range 8 { // challenges, and no end of them is no login
		if err := t.command(ctx, line); err != nil || t.last.Code != 334 {
			return err
		}
		challenge, err := base64.StdEncoding.DecodeString(t.last.Text())
		var answer []byte
		if err == nil {
			answer, err = x.Next(challenge)
		}
		if line = base64.StdEncoding.EncodeToString(answer); err != nil {
			t.say("log in by " + name + ": " + status.Escape(err.Error(), status.MaxText))
			line = "*"
		}
	}
	return nil
}

// sendFile is DATA with the message in a file.
func (t *talker) sendFile(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		t.say(status.Escape(err.Error(), status.MaxText))
		return nil
	}
	defer f.Close()
	m, err := message.Spool(f, 0)
	if err == nil {
		defer m.Close()
		err = smtp.Check(m, "")
	}
	if err != nil {
		t.say(status.Escape(err.Error(), status.MaxText))
		return nil
	}
	if t.terminal {
		t.say("-> DATA")
	}
	if err := t.send("DATA\r\n"); err != nil {
		return err
	}
	if err := t.await(ctx); err != nil || t.last.Code != 354 {
		return err
	}
	if err := t.writeMessage(m); err != nil {
		return t.lost(err)
	}
	return t.replyToMessage(ctx)
}

func (t *talker) writeMessage(m *message.Message) error {
	t.conn.SetWriteDeadline(time.Now().Add(t.o.timeout))
	w := bufio.NewWriterSize(t.conn, 1<<16)
	d := smtp.NewDotWriter(w)
	_, err := io.Copy(d, m.Reader())
	if err == nil {
		err = d.Close()
	}
	if err == nil {
		err = w.Flush()
	}
	return err
}

func (t *talker) b64(_ context.Context, text string) error {
	in, decode := strings.CutPrefix(text, "-d ")
	if !decode {
		t.say(base64.StdEncoding.EncodeToString([]byte(text)))
		return nil
	}
	out, err := base64.StdEncoding.DecodeString(strings.TrimSpace(in))
	if err != nil {
		t.say(err.Error())
		return nil
	}
	t.say(status.Escape(string(out), 8192))
	return nil
}

// save writes the session so far.
func (t *talker) save(_ context.Context, name string) error {
	text, lost := t.kept.text()
	if name == "" {
		t.say(".save FILE")
		return nil
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.say(status.Escape(err.Error(), status.MaxText))
		return nil
	}
	if lost {
		t.say(fmt.Sprintf("only the first %d bytes were kept", talkKept))
	}
	return nil
}

// what explains a reply.
func (t *talker) what(_ context.Context, arg string) error {
	code, enhanced := t.last.Code, t.last.Enhanced
	if words := strings.Fields(arg); len(words) > 0 {
		code, _ = strconv.Atoi(words[0])
		enhanced = strings.Join(words[1:], " ")
	}
	for _, l := range smtp.Meaning(code, enhanced) {
		t.say(status.Escape(l, 500))
	}
	return nil
}

// rawMode sends one text as bytes, or changes to a mode where every line is.
func (t *talker) rawMode(ctx context.Context, text string) error {
	if text == "" {
		t.raw = !t.raw
		return nil
	}
	return t.sendRaw(ctx, text)
}

// sendRaw sends a text with escapes. What ends in LF is taken for something that has a reply.
func (t *talker) sendRaw(ctx context.Context, text string) error {
	steps, err := dialog.Parse(strings.NewReader("=> " + text))
	if err != nil || len(steps) != 1 {
		t.say(`the escapes are \r \n \t \\ and \x00`)
		return nil
	}
	if err := t.send(steps[0].Text); err != nil {
		return err
	}
	if !strings.HasSuffix(steps[0].Text, "\n") {
		return nil
	}
	return t.await(ctx)
}
