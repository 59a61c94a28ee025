package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/smtp"
)

// wireOptions are the flags about extensions: what is asked of the server for this message, and how it is sent.
type wireOptions struct {
	chunking             string
	wrap                 bool
	noEhlo, noPipeline   bool
	by, priority         string
	holdFor              time.Duration
	holdUntil            string
	notify, ret, envid   string
	requireTLS, smtputf8 bool
	binary               bool
}

func (w *wireOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&w.chunking, "chunking", "auto", "use BDAT where it is offered: `WHEN`, auto (for large messages), always or never")
	f.BoolVar(&w.noEhlo, "no-ehlo", false, "say HELO and use no extension")
	f.BoolVar(&w.noPipeline, "no-pipelining", false, "wait for each reply, whatever the server offers")
	f.BoolVar(&w.wrap, "wrap-long-lines", false, "re-encode parts with lines of more than 998 bytes instead of refusing the message")
}

// messageFlags are those about one message.
func (w *wireOptions) messageFlags(f *pflag.FlagSet) {
	f.StringVar(&w.by, "by", "", "deliver within `SECONDS;R`, or return it; SECONDS;N: or tell the sender; T behind it: and of each relay")
	f.StringVar(&w.priority, "priority", "", "transfer with this `PRIORITY`, -9 to 9")
	f.DurationVar(&w.holdFor, "hold-for", 0, "have the server hold the message for `TIME`")
	f.StringVar(&w.holdUntil, "hold-until", "", "have the server hold the message until `TIME`, by RFC 3339")
	f.StringVar(&w.notify, "notify", "", "ask for reports of `WHAT`: NEVER, or some of SUCCESS,FAILURE,DELAY")
	f.StringVar(&w.ret, "ret", "", "ask for reports with `WHAT` of the message, FULL or HDRS")
	f.StringVar(&w.envid, "envid", "", "name the message `ID` in reports")
	f.BoolVar(&w.requireTLS, "require-tls", false, "demand verified TLS on the whole way (REQUIRETLS)")
	f.BoolVar(&w.binary, "binary", false, "the message is BINARYMIME: octets as they are sent, lines ended by CRLF")
	f.BoolVar(&w.smtputf8, "smtputf8", false, "the header is in UTF-8: a server must offer SMTPUTF8")
}

// apply checks the flags about the way of sending and hands them on. Warnings go to stderr.
func (w *wireOptions) apply(o *smtp.Options, stderr io.Writer) error {
	when, ok := map[string]smtp.Chunking{"auto": smtp.ChunkLarge, "always": smtp.ChunkAlways, "never": smtp.ChunkNever}[w.chunking]
	if !ok {
		return cli.Usagef("--chunking %q: want auto, always or never", w.chunking)
	}
	o.Chunking, o.WrapLines, o.NoEhlo, o.NoPipeline = when, w.wrap, w.noEhlo, w.noPipeline
	o.Warn = func(text string) { fmt.Fprintln(stderr, "smtpsend: "+text) }
	return w.check()
}

func (w *wireOptions) check() error {
	if _, _, ok := smtp.ParseBy(w.by); w.by != "" && !ok {
		return cli.Usagef("--by %q: want seconds;R or seconds;N, and T behind it for a trace", w.by)
	}
	if n, err := strconv.Atoi(w.priority); w.priority != "" && (err != nil || n < -9 || n > 9) {
		return cli.Usagef("--priority %q: want -9 to 9", w.priority)
	}
	if _, err := time.Parse(time.RFC3339, w.holdUntil); w.holdUntil != "" && err != nil {
		return cli.Usagef("--hold-until %q: want a time like 2026-12-24T18:00:00Z", w.holdUntil)
	}
	if ret := strings.ToUpper(w.ret); ret != "" && ret != "FULL" && ret != "HDRS" {
		return cli.Usagef("--ret %q: want FULL or HDRS", w.ret)
	}
	for word := range strings.SplitSeq(strings.ToUpper(w.notify), ",") {
		if w.notify != "" && !slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, word) || word == "NEVER" && len(w.notify) > len(word) {
			return cli.Usagef("--notify %q: want NEVER, or some of SUCCESS,FAILURE,DELAY", w.notify)
		}
	}
	switch {
	case w.holdFor < 0 || w.holdFor > 0 && w.holdFor < time.Second:
		return cli.Usagef("--hold-for %v: want a second or more", w.holdFor)
	case w.holdFor > 0 && w.holdUntil != "":
		return cli.Usagef("--hold-for and --hold-until do not go together")
	}
	return nil
}

// ask puts what was asked for into the envelope, in the place of what the environment says.
func (w *wireOptions) ask(e *envelope.Envelope) {
	for _, f := range []struct {
		to   *string
		flag string
	}{{&e.By, w.by}, {&e.Priority, w.priority}, {&e.HoldUntil, w.holdUntil}, {&e.Ret, strings.ToUpper(w.ret)}, {&e.EnvID, envelope.Xtext(w.envid)}} {
		if f.flag != "" {
			*f.to = f.flag
		}
	}
	if w.holdFor > 0 {
		e.HoldFor, e.HoldUntil = strconv.FormatInt(int64(w.holdFor/time.Second), 10), ""
	}
	if w.holdUntil != "" {
		e.HoldFor = ""
	}
	if w.notify != "" {
		e.Notify = nil
		for range e.Recipients {
			e.Notify = append(e.Notify, strings.ToUpper(w.notify))
		}
	}
	e.RequireTLS = e.RequireTLS || w.requireTLS
	e.SMTPUTF8 = e.SMTPUTF8 || w.smtputf8
	if w.binary {
		e.Body = smtp.BinaryMIME
	}
}
