package pop3

import (
	"bytes"
	"errors"
	"strings"
)

// command is a row of the table of commands.
type command struct {
	usage    string // verb and arguments, as shown to who gets them wrong
	states   state  // where it is allowed
	min, max int    // number of arguments
	text     bool   // the argument is one, blanks included
	secret   bool   // the argument is not to be shown
	run      func(s *session, args []string) error
}

// commands are all verbs. It is filled by init because CAPA tells of it.
var commands map[string]*command

func init() {
	const both = authorization | transaction
	commands = map[string]*command{
		"CAPA": {usage: "CAPA", states: both, run: (*session).capa},
		"QUIT": {usage: "QUIT", states: both, run: (*session).quit},
		"STLS": {usage: "STLS", states: authorization, run: (*session).stls},
		"USER": {usage: "USER name", states: authorization, min: 1, max: 1, text: true, run: (*session).userName},
		"PASS": {usage: "PASS string", states: authorization, min: 1, max: 1, text: true, secret: true, run: (*session).pass},
		"STAT": {usage: "STAT", states: transaction, run: (*session).stat},
		"LIST": {usage: "LIST [msg]", states: transaction, max: 1, run: (*session).scanListing},
		"UIDL": {usage: "UIDL [msg]", states: transaction, max: 1, run: (*session).uidl},
		"RETR": {usage: "RETR msg", states: transaction, min: 1, max: 1, run: (*session).retr},
		"TOP":  {usage: "TOP msg n", states: transaction, min: 2, max: 2, run: (*session).top},
		"DELE": {usage: "DELE msg", states: transaction, min: 1, max: 1, run: (*session).dele},
		"NOOP": {usage: "NOOP", states: transaction, run: (*session).noop},
		"RSET": {usage: "RSET", states: transaction, run: (*session).rset},
	}
}

var errControl = errors.New("control characters are not allowed")

// parse takes a command line apart: the verb in upper case, and what follows the
// first blank, as it is. Control characters are an error; 8-bit bytes are not,
// since passwords have them.
func parse(line []byte) (verb, arg string, err error) {
	v, a, _ := bytes.Cut(line, []byte(" "))
	verb, arg = strings.ToUpper(string(v)), string(a)
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return verb, arg, errControl
		}
	}
	return verb, arg, nil
}

// split makes arguments of what follows the verb. Blanks at the end are tolerated where they mean nothing.
func (c *command) split(arg string) ([]string, bool) {
	if c.text {
		return []string{arg}, arg != ""
	}
	args := strings.Fields(arg)
	return args, len(args) >= c.min && len(args) <= c.max
}
