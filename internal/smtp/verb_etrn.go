package smtp

import (
	"context"
	"fmt"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// Turner starts to send what waits for a domain, and with below what waits for those below it, if the client may ask for
// that. waiting is how many messages there are, or negative when nobody has counted; above MaxWaiting it means many.
type Turner func(ctx context.Context, f *Facts, domain string, below bool) (waiting int, err error)

// MaxWaiting is how many messages a Turner has to count.
const MaxWaiting = 1000

// etrn is RFC 1985: the domain, "@" and a domain for those below it too, or "#" and the name of a queue, which we have not.
func (s *session) etrn(arg string) Reply {
	if arg == "" || strings.Contains(arg, " ") {
		return syntax("ETRN domain")
	}
	if s.srv.Turn == nil {
		return Reply{458, "4.3.0", []string{"Error: there is no queue here"}}
	}
	if arg[0] == '#' {
		return Reply{458, "4.3.0", []string{"Unable to queue messages for node " + status.Escape(arg, 100) + ": queues have no names here"}}
	}
	name, below := strings.CutPrefix(arg, "@")
	domain, err := envelope.ParseDomain(name)
	if err != nil || strings.HasPrefix(domain, "[") {
		return Reply{501, "5.5.4", []string{"Error: " + status.Escape(arg, 100) + " is no domain"}}
	}
	waiting, err := s.srv.Turn(s.ctx, &s.facts, domain, below)
	if err != nil {
		s.logRefusal("queue not run", err, "domain", domain)
		return errorReply(err)
	}
	s.srv.Log.Info("queue run", "sid", s.facts.Session, "peer", peerName(s.facts.Envelope.Conn), "domain", domain)
	return turned(status.Escape(arg, 300), waiting)
}

// turned is the reply of RFC 1985 section 5.3.
func turned(node string, waiting int) Reply {
	switch {
	case waiting == 0:
		return Reply{251, "2.0.0", []string{"OK, no messages waiting for node " + node}}
	case waiting < 0:
		return Reply{250, "2.0.0", []string{"OK, queuing for node " + node + " started"}}
	case waiting > MaxWaiting:
		return Reply{252, "2.0.0", []string{"OK, pending messages for node " + node + " started"}}
	}
	return Reply{253, "2.0.0", []string{fmt.Sprintf("OK, %d pending messages for node %s started", waiting, node)}}
}
