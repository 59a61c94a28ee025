package main

import (
	"strings"
	"time"

	"pennypost/internal/cli"
	"pennypost/internal/smtp"
)

// longestHold is how far ahead a message may be released (RFC 4865).
const longestHold = 30 * 24 * time.Hour

// promises reads --offer. What it names is kept by nobody but the command, or the queue.
func promises(names []string, command bool) (smtp.Promises, error) {
	var p smtp.Promises
	for _, name := range names {
		switch strings.ToLower(name) {
		case "mt-priority":
			p.Priority = true
		case "deliverby":
			p.DeliverBy = true
		case "futurerelease":
			p.FutureRelease = longestHold
		default:
			return p, cli.Usagef("--offer %q: want mt-priority, deliverby or futurerelease", name)
		}
	}
	if len(names) > 0 && !command {
		return p, cli.Usagef("--offer needs a command or a --queue that keeps what is offered")
	}
	return p, nil
}
