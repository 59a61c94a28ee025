package main

import (
	"errors"
	"fmt"
	"io"

	"pennypost/internal/relay"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

const (
	maxAddress = 1024 // bytes shown of an address
	maxReply   = 2048 // bytes shown of a reply
)

var reportForms = []string{"lines", "json", "qmail"}

// report tells of each recipient, in their order.
func (s *sender) report(w io.Writer, form string) {
	if form == "qmail" {
		s.reportQmail(w)
		return
	}
	for i, r := range s.results {
		if form == "json" {
			s.reportJSON(w, i)
			continue
		}
		host := r.Host
		if host == "" {
			host = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", letter(r),
			status.Escape(s.envelope.Recipients[i].String(), maxAddress), status.Escape(host, maxAddress), said(r))
	}
}

// letter is K for taken, Z for later, D for never, and S when the session was to be stopped before.
func letter(r relay.Outcome) string {
	switch {
	case r.Err == nil:
		return "K"
	case errors.Is(r.Err, smtp.ErrStopped):
		return "S"
	case r.Err.Class == status.Permanent:
		return "D"
	}
	return "Z"
}

// said is the server's reply as it was, or why there is none.
func said(r relay.Outcome) string {
	if r.Reply.Code != 0 {
		return status.Escape(r.Reply.String(), maxReply)
	}
	return r.Err.Line()
}

// verdict is nil when all recipients were taken. Otherwise it is temporary as soon as one of them may be tried again, in
// the words of the first such recipient, with the exit status its fellows have in common.
func (s *sender) verdict() error {
	var worst *status.Error
	failed, exit, first := 0, 0, 0
	for i, r := range s.results {
		if r.Err == nil || errors.Is(r.Err, smtp.ErrStopped) {
			continue
		}
		failed++
		switch {
		case worst == nil || r.Err.Class == status.Temporary && worst.Class == status.Permanent:
			worst, exit, first = r.Err, r.Err.Exit, i
		case r.Err.Class == worst.Class && r.Err.Exit != exit:
			exit = map[status.Class]int{status.Temporary: int(status.TempFail), status.Permanent: int(status.HardFail)}[worst.Class]
		}
	}
	if worst == nil {
		return nil
	}
	e := *worst
	e.Exit = exit
	e.Text = fmt.Sprintf("%s: %s", s.envelope.Recipients[first], worst.Text)
	if host := s.results[first].Host; host != "" {
		e.Text = fmt.Sprintf("%s: %s: %s", s.envelope.Recipients[first], host, worst.Text)
	}
	if failed > 1 || len(s.results) > 1 {
		e.Text += fmt.Sprintf(" (%d of %d recipients failed)", failed, len(s.results))
	}
	return &e
}
