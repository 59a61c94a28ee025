package dialog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/lazy"
)

const (
	maxText    = 32 << 20       // bytes of a dialog
	maxSteps   = 1 << 19        // steps of it
	maxPause   = time.Hour      // of one step
	maxMessage = int64(1) << 40 // bytes of a message that is made up
)

var (
	messageStep = lazy.Regexp(`^\[(\d+) bytes of message(, unfinished)?\]$`)
	lostStep    = lazy.Regexp(`^\[\d+ bytes not (shown|answered)\]$`)
)

// Parse reads a dialog. Blanks before a step, empty lines and remarks ("# ..." and "== ..." but "== TLS") count for nothing.
// An error names the line.
func Parse(r io.Reader) ([]Step, error) {
	limited := &io.LimitedReader{R: r, N: maxText + 1}
	in := bufio.NewReader(limited)
	var steps []Step
	for n := 1; ; n++ {
		text, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		line := strings.TrimRight(strings.TrimLeft(text, " \t"), "\r\n")
		if s, ok, bad := parseStep(line); bad != nil {
			return nil, fmt.Errorf("line %d: %w", n, bad)
		} else if ok {
			s.Number = n
			steps = append(steps, s)
		}
		switch {
		case limited.N == 0:
			return nil, fmt.Errorf("more than %d bytes of dialog", maxText)
		case len(steps) > maxSteps:
			return nil, fmt.Errorf("line %d: more than %d steps", n, maxSteps)
		case err != nil:
			return steps, nil
		}
	}
}

// parseStep reads a line; ok is false for one that is no step.
func parseStep(line string) (s Step, ok bool, err error) {
	if line == "" || line[0] == '#' {
		return s, false, nil
	}
	mark, text := line, ""
	if len(line) > 2 {
		mark, text = line[:2], strings.TrimPrefix(line[2:], " ")
	}
	switch mark {
	case "->":
		s, err = said(Client, text)
	case "<-":
		s, err = said(Server, text)
	case "=>", "<=":
		s = Step{Side: sideOf(mark), Kind: Raw}
		s.Text, err = unescape(text)
		if err != nil {
			err = fmt.Errorf("%q: %w", text, err)
		}
	case "~>", "<~":
		s = Step{Side: sideOf(mark), Kind: Pattern, Text: text}
		s.Match, err = regexp.Compile(text)
	case "~~":
		s.Kind = Pause
		s.Time, err = time.ParseDuration(text)
		if err == nil && (s.Time < 0 || s.Time > maxPause) {
			err = fmt.Errorf("pause %q: want 0 to %v", text, maxPause)
		}
	case "==":
		if word, rest, _ := strings.Cut(text, " "); word == "TLS" {
			return Step{Kind: TLS, Text: strings.Trim(rest, " ")}, true, nil
		}
		return s, false, nil
	default:
		err = fmt.Errorf("%q is not a step", line)
	}
	return s, err == nil, err
}

func sideOf(mark string) Side {
	if mark[0] == '<' {
		return Server
	}
	return Client
}

// said reads what follows "->" or "<-".
func said(side Side, text string) (Step, error) {
	s := Step{Side: side, Text: text}
	switch {
	case text == "EOF":
		return Step{Side: side, Kind: EOF}, nil
	case text == "RESET":
		return Step{Side: side, Kind: Reset}, nil
	case side == Server || !strings.HasPrefix(text, "["):
		return s, nil
	case lostStep().MatchString(text):
		return s, errors.New("what was said here was not kept")
	}
	m := messageStep().FindStringSubmatch(text)
	if m == nil {
		return s, nil
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > maxMessage {
		return s, fmt.Errorf("%s: more than %d bytes", text, maxMessage)
	}
	return Step{Side: side, Kind: Message, Bytes: n}, nil
}

// Format writes steps as a dialog.
func Format(steps []Step) []byte {
	var b bytes.Buffer
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.Bytes()
}
