package smtp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
)

// Each stage at which a session may end, politely or not.
func TestStop(t *testing.T) {
	const (
		plain = "-> 220 mx.example\n<- EHLO me.example\n-> 250-mx.example\n-> 250 PIPELINING\n"
		mail  = "<- MAIL FROM:<a@a.example>\n"
		rcpts = "<- RCPT TO:<b@b.example>\n<- RCPT TO:<c@b.example>\n"
		quit  = "<- QUIT\n-> 221 bye\n<- EOF"
	)
	tests := []struct {
		stage  Stage
		drop   bool
		script string
		want   string
	}{
		{StageConnect, false, "<- EOF", "S\nS\n"},
		{StageBanner, false, "-> 220 mx.example\n" + quit, "S\nS\n"},
		{StageBanner, true, "-> 220 mx.example\n<- EOF", "S\nS\n"},
		{StageBanner, false, "-> 554 no\n<- EOF", "connect: no"},
		{StageEhlo, false, plain + quit, "S\nS\n"},
		{StageEhlo, true, plain + "<- EOF", "S\nS\n"},
		{StageTLS, false, plain + quit, "S\nS\n"},
		{StageAuth, false, plain + quit, "S\nS\n"},
		{StageMail, false, plain + mail + "-> 250 ok\n" + quit, "S 250 ok\nS 250 ok\n"},
		{StageMail, false, plain + mail + "-> 550 no\n<- QUIT", "D 550 no\nD 550 no\n"},
		{StageRcpt, false, plain + mail + rcpts + "-> 250\n-> 250 b\n-> 550 c\n" + quit, "S 250 b\nD 550 c\n"},
		{StageRcpt, true, plain + mail + rcpts + "-> 250\n-> 250 b\n-> 550 c\n<- EOF", "S 250 b\nD 550 c\n"},
		{StageData, false, plain + mail + rcpts + "<- DATA\n-> 250\n-> 250 b\n-> 550 c\n-> 354 go\n<- EOF", "S 354 go\nD 550 c\n"},
		{StageData, false, plain + mail + rcpts + "<- DATA\n-> 250\n-> 250 b\n-> 550 c\n-> 451 no\n<- QUIT", "Z 451 no\nD 550 c\n"},
		{StageDot, true, plain + mail + rcpts + "<- DATA\n-> 250\n-> 250 b\n-> 250 c\n-> 354 go\n<- x\n<- .\n<- EOF", "S\nS\n"},
		{StageMail, false, plain + mail + "-> 421 down\n<- EOF", "Z 421 down\nZ 421 down\n"},
	}
	for _, tt := range tests {
		name := tt.stage.String()
		if tt.drop {
			name += ", dropped"
		}
		t.Run(name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			got := make(chan string, 1)
			go func() {
				c, err := Connect(t.Context(), fromServers(ours), Options{Helo: "me.example", Stop: tt.stage, Drop: tt.drop})
				if err != nil {
					got <- "connect: " + err.Error()
					return
				}
				said := ""
				for _, o := range c.Send(t.Context(), message.Bytes([]byte("x\n")), letter(t, "b@b.example", "c@b.example")) {
					letter := map[bool]string{true: "Z", false: "D"}[o.Reply.Code/100 == 4]
					if errors.Is(o.Err, ErrStopped) {
						letter = "S"
					}
					said += letter
					if o.Reply.Code != 0 {
						said += " " + o.Reply.String()
					}
					said += "\n"
				}
				c.Quit(t.Context())
				got <- said
			}()
			mailtest.Dialog(t, theirs, tt.script)
			theirs.Close()
			if s := <-got; s != tt.want && !strings.HasPrefix(s, tt.want) {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
}

// After TLS the session is the new one.
func TestStopAfterTLS(t *testing.T) {
	cert, roots := pairFor(t, "mx.example")
	ours, theirs := socketPair(t)
	var log bytes.Buffer
	got := sendOver(t, fromServers(ours), Options{TLS: TLSRequired, TLSConfig: &tls.Config{ServerName: "mx.example", RootCAs: roots}, Stop: StageTLS, Transcript: NewTranscript(&log, ClientRole)})
	mailtest.Dialog(t, theirs, offersTLS)
	secure := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}})
	mailtest.Dialog(t, secure, "<- EHLO me.example\n-> 250 mx.example\n<- QUIT")
	theirs.Close()
	if s, want := <-got, "D 554 5.0.0 stopped as asked for after tls\n"; s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}
