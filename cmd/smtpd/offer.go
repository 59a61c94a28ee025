package main

import (
	"strings"
	"time"

	"pennypost/internal/cli"
	"pennypost/internal/smtp"
)

// longestHold is how far ahead a message may be released (RFC 4865).
const longestHold = 30 * 24 * time.Hour

// promises reads --offer. What it names, but for BINARYMIME, is kept by nobody but the command, or the queue.
func promises(names []string, command bool) (p smtp.Promises, binary bool, err error) {
	for _, name := range names {
		switch strings.ToLower(name) {
		case "mt-priority":
			p.Priority = true
		case "deliverby":
			p.DeliverBy = true
		case "futurerelease":
			p.FutureRelease = longestHold
		case "binarymime":
			binary = true
		default:
			return p, binary, cli.Usagef("--offer %q: want binarymime, mt-priority, deliverby or futurerelease", name)
		}
	}
	if p != (smtp.Promises{}) && !command {
		return p, binary, cli.Usagef("--offer needs a command or a --queue that keeps what is offered")
	}
	return p, binary, nil
}
