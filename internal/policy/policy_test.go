package policy

import (
	"errors"
	"slices"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

func TestAccept(t *testing.T) {
	noUser := status.Errorf(status.NoUser, "no such user")
	tests := []struct {
		name string
		r    Recipient
		want string // reply line, "" = accepted
	}{
		{"mailbox here", Recipient{Local: true}, ""},
		{"unknown here", Recipient{Local: true, Lookup: noUser}, "550 5.1.1 <bob@x.example>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"unknown here, logged in", Recipient{Local: true, Lookup: noUser, User: "u", MayRelay: true}, "550 5.1.1 <bob@x.example>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"office in trouble", Recipient{Local: true, Lookup: errors.New("disk")}, "451 4.3.0 disk"},
		{"elsewhere", Recipient{}, "454 4.7.1 <bob@x.example>: Relay access denied"},
		{"elsewhere, a way but no login", Recipient{MayRelay: true}, "454 4.7.1 <bob@x.example>: Relay access denied"},
		{"elsewhere, logged in, no way", Recipient{User: "u"}, "454 4.7.1 <bob@x.example>: Relay access denied"},
		{"elsewhere, logged in", Recipient{User: "u", MayRelay: true}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Address = envelope.Address{Local: "bob", Domain: "x.example"}
			got := ""
			if err := tt.r.Accept(); err != nil {
				got = status.Of(err).Line()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The shapes by which relays were opened in the past (source route, percent hack, bang path, quoted at, doubled at, literals):
// none is a recipient elsewhere that gets through, and none names a mailbox that is not the one it says.
func TestOpenRelayShapes(t *testing.T) {
	tests := []struct{ path, want string }{
		{"<chat@local.example>", "accepted"},
		{"<CHAT@LOCAL.EXAMPLE>", "accepted"},
		{"<chat%victim.example@local.example>", "unknown"},
		{`<"chat@victim.example"@local.example>`, "unknown"},
		{`<"chat"@local.example>`, "accepted"},
		{"<@local.example:chat@victim.example>", "relay"},
		{"<@victim.example:chat@local.example>", "accepted"},
		{"<victim.example!chat@local.example>", "unknown"},
		{"<victim.example!chat>", "syntax"},
		{"<chat@victim.example@local.example>", "syntax"},
		{"<chat@local.example@victim.example>", "syntax"},
		{"<chat>", "syntax"},
		{"<chat@[127.0.0.1]>", "relay"},
		{"<chat@[IPv6:::1]>", "relay"},
		{"<chat@127.0.0.1>", "no relay"},
		{"<chat@sub.local.example>", "relay"},
		{"<chat@local.example.victim.example>", "relay"},
		{"<chat@xlocal.example>", "relay"},
		{"<chat@local.example.>", "no relay"},
		{"<chat@lоcal.example>", "relay"}, // a Cyrillic o
		{"<@local.example>", "syntax"},
		{"<chat@>", "syntax"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got := decide(tt.path)
			if tt.want == "no relay" && got != "elsewhere" {
				return
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// decide asks for one path in an office that has chat@local.example only, without a login but with a way to relay.
func decide(path string) string {
	a, _, err := envelope.ParsePath(path)
	if err != nil {
		return "syntax"
	}
	r := Recipient{Address: a, Local: a.Domain == "local.example", MayRelay: true}
	if r.Local && a.Local != "chat" && a.Local != "CHAT" {
		r.Lookup = status.Errorf(status.NoUser, "no such user")
	}
	switch e := status.Of(r.Accept()); {
	case e == nil && !r.Local:
		return "elsewhere"
	case e == nil:
		return "accepted"
	case e.Code == 454:
		return "relay"
	case e.Code == 550:
		return "unknown"
	default:
		return e.Line()
	}
}

func TestSubmission(t *testing.T) {
	if err := Submission("alice@x.example"); err != nil {
		t.Errorf("logged in: got %v", err)
	}
	if e := status.Of(Submission("")); e == nil || e.Line() != "530 5.7.0 Authentication required" {
		t.Errorf("not logged in: got %v", e)
	}
}

func TestHops(t *testing.T) {
	if err := Hops(49, 50); err != nil {
		t.Errorf("49 of 50: got %v", err)
	}
	err := Hops(50, 50)
	if e := status.Of(err); e == nil || e.Code != 554 || e.Enhanced != "5.4.6" {
		t.Errorf("50 of 50: got %v, want 554 5.4.6", err)
	}
}

func TestPostmasters(t *testing.T) {
	tests := []struct {
		name string
		want []string
	}{
		{"smtp.Example.org", []string{"postmaster@smtp.example.org", "postmaster@example.org"}},
		{"example.org.", []string{"postmaster@example.org"}},
		{"localhost", nil},
		{"[192.0.2.1]", nil},
		{"", nil},
	}
	for _, tt := range tests {
		var got []string
		for _, a := range Postmasters(tt.name) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
