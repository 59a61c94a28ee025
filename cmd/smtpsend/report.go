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
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n", letter(r),
			status.Escape(s.envelope.Recipients[i].String(), maxAddress), status.Escape(host, maxAddress), said(r), s.nameField())
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

// verdict is nil when all recipients were taken, and else about them all.
func (s *sender) verdict() error {
	var v verdict
	for i, r := range s.results {
		where := s.envelope.Recipients[i].String()
		if r.Host != "" {
			where += ": " + r.Host
		}
		v.add(where, r.Err)
	}
	return v.err("recipients")
}

// verdict sums up what became of recipients, or of messages. It is temporary as soon as one of them may be tried again, in
// the words of the first such, with the exit status that its fellows have in common.
type verdict struct {
	worst             *status.Error
	where             string
	exit, failed, all int
}

// add adds one; e is nil when it was taken.
func (v *verdict) add(where string, e *status.Error) {
	v.all++
	if e == nil || errors.Is(e, smtp.ErrStopped) {
		return
	}
	v.failed++
	switch {
	case v.worst == nil || e.Class == status.Temporary && v.worst.Class == status.Permanent:
		v.worst, v.exit, v.where = e, e.Exit, where
	case e.Class == v.worst.Class && e.Exit != v.exit:
		v.exit = map[status.Class]int{status.Temporary: int(status.TempFail), status.Permanent: int(status.HardFail)}[v.worst.Class]
	}
}

// err is nil when none failed.
func (v *verdict) err(things string) error {
	if v.worst == nil {
		return nil
	}
	e := *v.worst
	e.Exit = v.exit
	e.Text = v.where + ": " + v.worst.Text
	if v.all > 1 {
		e.Text += fmt.Sprintf(" (%d of %d %s failed)", v.failed, v.all, things)
	}
	return &e
}
