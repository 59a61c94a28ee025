package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/relay"
	"pennypost/internal/status"
)

// jsonReport is a line of --report json.
type jsonReport struct {
	Fate      string `json:"fate"` // K, Z, D or S
	Recipient string `json:"recipient"`
	Host      string `json:"host,omitempty"`
	TLS       string `json:"tls,omitempty"`
	Code      int    `json:"code,omitempty"` // of the server's reply, or of the reply that our reason stands for
	Enhanced  string `json:"enhanced,omitempty"`
	Text      string `json:"text"`
	Replied   bool   `json:"replied"`           // text is the server's
	Unsure    bool   `json:"unsure,omitempty"`  // it may have been taken
	Message   string `json:"message,omitempty"` // the file, with --messages
}

func (s *sender) reportJSON(w io.Writer, i int) {
	r := s.results[i]
	line := jsonReport{Fate: letter(r), Recipient: s.envelope.Recipients[i].String(), Host: r.Host, TLS: r.TLS, Unsure: r.Unsure, Message: s.name}
	if r.Reply.Code != 0 {
		line.Code, line.Enhanced, line.Text, line.Replied = r.Reply.Code, r.Reply.Enhanced, r.Reply.Text(), true
	} else {
		line.Code, line.Enhanced, line.Text = r.Err.Code, r.Err.Enhanced, r.Err.Text
	}
	line.write(w)
}

func (r *jsonReport) write(w io.Writer) {
	text, err := json.Marshal(r)
	if err == nil {
		fmt.Fprintf(w, "%s\n", text)
	}
}

// reportQmail is the form of qmail-remote(8): for each recipient r (taken), h (refused for ever) or s (later), then K, Z or D
// for the message; each a text that ends in NUL. The message has K when somebody has it.
func (s *sender) reportQmail(w io.Writer) {
	verdict, host := "D", ""
	for _, r := range s.results {
		small := map[string]string{"K": "r", "D": "h"}[letter(r)]
		if small == "" {
			small = "s"
		}
		if small == "s" && verdict == "D" {
			verdict = "Z"
		}
		if host = r.Host; small == "r" {
			verdict = "K"
		}
		fmt.Fprintf(w, "%s%s\x00", small, qmailText(r))
	}
	end := "Giving up on " + status.Escape(host, maxAddress) + ".\n"
	if verdict == "K" {
		end = "The message was accepted.\n"
	}
	fmt.Fprintf(w, "%s%s\x00", verdict, end)
}

// qmailText is what stands in a bounce of qmail's.
func qmailText(r relay.Outcome) string {
	host := status.Escape(r.Host, maxAddress)
	switch {
	case r.Reply.Code == 0 && r.Host == "":
		return said(r) + "\n"
	case r.Reply.Code == 0:
		return host + ": " + said(r) + "\n"
	case r.Err == nil:
		return host + " accepted message.\nRemote host said: " + said(r) + "\n"
	}
	return host + " does not like recipient.\nRemote host said: " + said(r) + "\n"
}

// qmailArgs takes HOST SENDER from the arguments of qmail-remote.
func (o *options) qmailArgs(args []string) (recipients []string, err error) {
	if o.fromSet {
		return nil, cli.Usagef("--report qmail takes the sender as an argument: HOST SENDER RECIPIENT...")
	}
	if len(args) < 3 {
		return nil, cli.Usagef("--report qmail: want HOST SENDER RECIPIENT...")
	}
	o.host, o.from, o.fromSet = args[0], args[1], true
	return args[2:], nil
}

// toHost routes every recipient to one domain or host.
type toHost struct {
	relay.Router
	host string
}

// Destination is that host, whoever the recipient is.
func (t toHost) Destination(envelope.Address) (string, error) {
	return t.Router.Destination(envelope.Address{Local: "postmaster", Domain: strings.ToLower(t.host)})
}
