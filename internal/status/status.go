// Package status says what became of a message: taken, refused for ever, or to be tried again.
//
// It hides the one table that relates exit statuses (sysexits(3), qmail-command(8)), SMTP reply codes (RFC 5321
// section 4.2) and enhanced codes (RFC 3463). It guarantees that whatever it does not know is temporary, so that an
// operator's mistake never bounces mail, and that the text it prints is one bounded, printable line.
package status

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
)

// Class is what a caller must do with the message.
type Class uint8

const (
	Success   Class = iota // responsibility was taken
	Temporary              // keep the message and try again
	Permanent              // never try again: tell the sender
)

func (c Class) String() string {
	switch c {
	case Success:
		return "success"
	case Permanent:
		return "permanent"
	}
	return "temporary"
}

// Kind is a row of the table: a reason as sysexits(3) and qmail-command(8) name it. The value is the exit status.
type Kind int

const (
	OK          Kind = 0
	Usage       Kind = 64
	Data        Kind = 65
	NoInput     Kind = 66
	NoUser      Kind = 67
	NoHost      Kind = 68
	Unavailable Kind = 69
	Software    Kind = 70
	OSErr       Kind = 71
	OSFile      Kind = 72
	CantCreate  Kind = 73
	IO          Kind = 74
	TempFail    Kind = 75
	Protocol    Kind = 76
	NoPerm      Kind = 77
	Config      Kind = 78
	HardFail    Kind = 100 // qmail: permanent
	SoftFail    Kind = 111 // qmail: temporary
)

// row is what the rest of the world says for one exit status.
type row struct {
	class    Class
	code     int
	enhanced string
	meaning  string
}

// table follows mailpipe(7): 65 67 68 77 100 are the message's, the address's or policy's fault; every other failure is
// ours and so temporary, also those that Postfix's table calls permanent.
var table = map[Kind]row{
	OK:          {Success, 250, "2.0.0", "ok"},
	Usage:       {Temporary, 451, "4.3.5", "bad usage"},
	Data:        {Permanent, 554, "5.6.0", "message not acceptable"},
	NoInput:     {Temporary, 451, "4.3.0", "no input"},
	NoUser:      {Permanent, 550, "5.1.1", "no such user"},
	NoHost:      {Permanent, 550, "5.1.2", "no such domain"},
	Unavailable: {Temporary, 451, "4.3.0", "service unavailable"},
	Software:    {Temporary, 451, "4.3.0", "internal error"},
	OSErr:       {Temporary, 451, "4.3.0", "system error"},
	OSFile:      {Temporary, 451, "4.3.0", "system file trouble"},
	CantCreate:  {Temporary, 451, "4.2.0", "cannot create"},
	IO:          {Temporary, 451, "4.3.0", "input/output error"},
	TempFail:    {Temporary, 451, "4.3.0", "temporary failure"},
	Protocol:    {Temporary, 451, "4.5.0", "protocol error"},
	NoPerm:      {Permanent, 550, "5.7.1", "refused by policy"},
	Config:      {Temporary, 451, "4.3.5", "configuration error"},
	HardFail:    {Permanent, 554, "5.0.0", "permanent failure"},
	SoftFail:    {Temporary, 451, "4.3.0", "temporary failure"},
}

// Error is a fate that is not success. It is made where the class is known and travels up wrapped by %w.
type Error struct {
	Class    Class
	Code     int    // SMTP reply code, 4xx or 5xx
	Enhanced string // RFC 3463 status of the same class, such as "5.1.1"
	Exit     int    // exit status of the same class
	Text     string // what was tried, on what, and why it failed
	Err      error  // the cause, or nil
}

// Errorf makes the error of row k; format may wrap a cause with %w. An unknown k is temporary. A full disk or a quota of the file
// system as the cause of a 451 makes it a 452.
func Errorf(k Kind, format string, a ...any) *Error {
	cause := fmt.Errorf(format, a...)
	r, ok := table[k]
	if !ok || r.class == Success {
		k, r = TempFail, table[TempFail]
	}
	e := &Error{Class: r.class, Code: r.code, Enhanced: r.enhanced, Exit: int(k), Text: cause.Error(), Err: errors.Unwrap(cause)}
	switch {
	case e.Code != 451:
	case errors.Is(cause, syscall.EDQUOT):
		e.Code, e.Enhanced = 452, "4.2.2"
	case errors.Is(cause, syscall.ENOSPC):
		e.Code, e.Enhanced = 452, "4.3.1"
	}
	return e
}

// WithReply returns a copy that answers with another SMTP code and enhanced code. The class follows the code; when that
// changes the class, the exit status becomes 75 or 100, so that all three keep saying the same.
func (e *Error) WithReply(code int, enhanced string) *Error {
	c := *e
	c.Code, c.Enhanced = code, enhanced
	class := classOfCode(code)
	if class != c.Class {
		c.Class, c.Exit = class, exitOfClass(class)
	}
	if !validEnhanced(enhanced) || enhanced[0] != byte('0'+code/100) {
		c.Enhanced = defaultEnhanced(class)
	}
	return &c
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error { return e.Err }

// Line is the error as mailpipe(7) wants it on the last line of stderr, and as an SMTP reply shows it:
// "550 5.1.1 text", one printable line.
func (e *Error) Line() string {
	return strconv.Itoa(e.Code) + " " + e.Enhanced + " " + Escape(e.Text, MaxText)
}

// Of reads the fate out of any error: nil for nil; the *Error it wraps, with the outer text; full disks and quotas as
// 452; anything else temporary (DESIGN: unclassified and cancelled = temporary).
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if err == error(e) {
			return e
		}
		c := *e
		c.Text, c.Err = err.Error(), err
		return &c
	}
	return Errorf(TempFail, "%w", err)
}

// FromExit is what an exit status means by mailpipe(7): nil for 0, otherwise an error. line is the last line the program
// wrote on stderr; when it starts with an SMTP code of the exit's class, it becomes the reply, and otherwise its text is
// kept. An exit status that is not in the table (a signal is reported as 128 and more) is temporary.
func FromExit(exit int, line string) *Error {
	if exit == 0 {
		return nil
	}
	r, known := table[Kind(exit)]
	if !known {
		r = table[TempFail]
	}
	e := &Error{Class: r.class, Code: r.code, Enhanced: r.enhanced, Exit: exit}
	said, ok := ParseLine(line)
	switch {
	case ok && said.Class == e.Class:
		e.Code, e.Enhanced, e.Text = said.Code, said.Enhanced, said.Text
	case ok:
		e.Text = said.Text
	case line != "":
		e.Text = Escape(line, MaxText)
	case known:
		e.Text = r.meaning
	default:
		e.Text = "program failed with exit status " + strconv.Itoa(exit)
	}
	return e
}

// ExitStatus is the process exit status for a fate: 0 for nil.
func ExitStatus(err error) int {
	e := Of(err)
	if e == nil {
		return 0
	}
	if e.Exit == 0 {
		return exitOfClass(e.Class)
	}
	return e.Exit
}

// ClassOfExit is the class of an exit status by mailpipe(7).
func ClassOfExit(exit int) Class {
	if r, ok := table[Kind(exit)]; ok {
		return r.class
	}
	return Temporary
}

func classOfCode(code int) Class {
	switch {
	case code >= 500 && code <= 599:
		return Permanent
	case code >= 200 && code <= 299:
		return Success
	}
	return Temporary
}

func exitOfClass(c Class) int {
	switch c {
	case Success:
		return 0
	case Permanent:
		return int(HardFail)
	}
	return int(TempFail)
}

func defaultEnhanced(c Class) string {
	switch c {
	case Success:
		return "2.0.0"
	case Permanent:
		return "5.0.0"
	}
	return "4.0.0"
}
