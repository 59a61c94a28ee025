package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"

	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// useTerminal takes lines from the terminal, with editing, history and completion, or from standard input as it is. The
// function it returns gives the terminal back.
func (t *talker) useTerminal() (restore func()) {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if !term.IsTerminal(in) || !term.IsTerminal(out) {
		t.in = &pipeInput{r: bufio.NewReader(os.Stdin)}
		t.record.And(smtp.NewTranscript(t.out, smtp.ClientRole))
		return func() {}
	}
	before, err := term.MakeRaw(in)
	if err != nil {
		t.in = &pipeInput{r: bufio.NewReader(os.Stdin)}
		return func() {}
	}
	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}, "")
	screen.AutoCompleteCallback = t.complete
	t.in, t.out, t.terminal = &terminalInput{screen, out}, screen, true
	t.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	t.aside("connected; .help tells what can be typed")
	return func() {
		term.Restore(in, before)
		fmt.Fprintln(os.Stdout)
	}
}

type terminalInput struct {
	screen *term.Terminal
	fd     int
}

func (i *terminalInput) line(prompt string, hidden bool) (string, error) {
	if width, height, err := term.GetSize(i.fd); err == nil && width > 0 {
		i.screen.SetSize(width, height)
	}
	if hidden {
		return i.screen.ReadPassword("-> (not shown) ")
	}
	i.screen.SetPrompt(prompt)
	text, err := i.screen.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	return text, err
}

// pipeInput is standard input that is no terminal.
type pipeInput struct{ r *bufio.Reader }

func (i *pipeInput) line(string, bool) (string, error) {
	var b []byte
	for {
		part, err := i.r.ReadSlice('\n')
		b = append(b, part...)
		switch {
		case len(b) > talkLine:
			return "", status.Errorf(status.Data, "the input has a line of more than %d bytes", talkLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && len(b) == 0:
			return "", err
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
	}
}

// prompt is what stands before the line that is typed.
func (t *talker) prompt() string {
	if t.raw {
		return "=> "
	}
	return "-> "
}

// Colours of replies by their first digit, and of our own words.
var colours = map[byte]string{'2': "32", '3': "36", '4': "33", '5': "31", 0: "2"}

func (t *talker) paint(kind byte, text string) string {
	if colour := colours[kind]; t.colour && colour != "" {
		return "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
	return text
}

// say prints what was asked for; where there is no terminal as a remark, so that all of the output can be played.
func (t *talker) say(text string) {
	if !t.terminal {
		text = "# " + text
	}
	fmt.Fprintln(t.out, text)
}

// aside prints words of our own, where somebody looks.
func (t *talker) aside(text string) {
	if t.terminal {
		fmt.Fprintln(t.out, t.paint(0, text))
	}
}

// linePrinter prints the server's lines when they come, escaped.
type linePrinter struct {
	t *talker
	b []byte
}

func (p *linePrinter) Write(b []byte) (int, error) {
	p.b = append(p.b, b...)
	for {
		line, rest, whole := bytes.Cut(p.b, []byte("\n"))
		if !whole && len(p.b) < 4096 {
			return len(b), nil
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		kind := byte(0)
		if len(line) > 0 {
			kind = line[0]
		}
		fmt.Fprintln(p.t.out, p.t.paint(kind, "<- "+status.Escape(string(line), 2048)))
		p.b = slices.Clone(rest)
		if !whole {
			return len(b), nil
		}
	}
}

// keptText is the beginning of what was written, for .save.
type keptText struct {
	mu   sync.Mutex
	b    []byte
	lost bool
}

func (k *keptText) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.b)+len(b) > talkKept {
		k.lost = true
	}
	if !k.lost {
		k.b = append(k.b, b...)
	}
	return len(b), nil
}

func (k *keptText) text() (b []byte, lost bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.b), k.lost
}

var talkVerbs = []string{"EHLO ", "HELO ", "MAIL FROM:<", "RCPT TO:<", "DATA", "RSET", "NOOP", "QUIT", "VRFY ", "EXPN ", "HELP", "LHLO "}

// extensionWords are what an extension adds: verbs, and parameters of MAIL and RCPT.
var extensionWords = map[string]struct{ verbs, mail, rcpt []string }{
	"STARTTLS": {verbs: []string{"STARTTLS"}}, "AUTH": {verbs: []string{"AUTH "}}, "CHUNKING": {verbs: []string{"BDAT "}},
	"ETRN": {verbs: []string{"ETRN "}}, "XCLIENT": {verbs: []string{"XCLIENT "}},
	"SIZE": {mail: []string{"SIZE="}}, "8BITMIME": {mail: []string{"BODY=8BITMIME"}}, "BINARYMIME": {mail: []string{"BODY=BINARYMIME"}},
	"SMTPUTF8": {mail: []string{"SMTPUTF8"}}, "REQUIRETLS": {mail: []string{"REQUIRETLS"}}, "DELIVERBY": {mail: []string{"BY="}},
	"FUTURERELEASE": {mail: []string{"HOLDFOR=", "HOLDUNTIL="}}, "MT-PRIORITY": {mail: []string{"MT-PRIORITY="}},
	"DSN": {mail: []string{"RET=", "ENVID="}, rcpt: []string{"NOTIFY=", "ORCPT="}},
}

// complete is called for every key; it completes at a tab behind the end of the line.
func (t *talker) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	if pos != len(line) {
		return line, pos, true
	}
	head, words := t.choices(line)
	var fit []string
	for _, w := range words {
		if tail := line[len(head):]; len(w) >= len(tail) && strings.EqualFold(w[:len(tail)], tail) {
			fit = append(fit, w)
		}
	}
	if len(fit) == 0 {
		return line, pos, true
	}
	slices.Sort(fit)
	common := fit[0]
	for _, w := range fit {
		for !strings.HasPrefix(w, common) {
			common = common[:len(common)-1]
		}
	}
	if len(fit) > 1 && len(common) <= len(line)-len(head) {
		t.aside("   " + strings.Join(fit, "  "))
		return line, pos, true
	}
	return head + common, len(head) + len(common), true
}

// choices are the words that may stand at the end of line, behind head.
func (t *talker) choices(line string) (head string, words []string) {
	if strings.HasPrefix(line, ".") {
		for _, h := range helpers {
			words = append(words, "."+h.name)
		}
		return "", words
	}
	upper := strings.ToUpper(line)
	head = line[:strings.LastIndexByte(line, ' ')+1]
	for _, l := range t.offered {
		word, params, _ := strings.Cut(strings.ToUpper(l), " ")
		x := extensionWords[word]
		switch {
		case word == "AUTH" && strings.HasPrefix(upper, "AUTH "):
			words = append(words, strings.Fields(params)...)
		case strings.HasPrefix(upper, "MAIL FROM:") && head != "":
			words = append(words, x.mail...)
		case strings.HasPrefix(upper, "RCPT TO:") && head != "":
			words = append(words, x.rcpt...)
		default:
			words = append(words, x.verbs...)
		}
	}
	if strings.HasPrefix(upper, "AUTH ") || strings.Contains(upper, "M:<") && strings.Contains(upper, "> ") || strings.HasPrefix(upper, "RCPT TO:<") && head != "RCPT " {
		return head, words
	}
	return "", append(words, talkVerbs...)
}
