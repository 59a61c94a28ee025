package smtp

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	tests := []struct {
		in   string
		want Endpoint
	}{
		{"smtp://mx.example", Endpoint{"tcp", "mx.example:25", "mx.example", TLSOffered, false}},
		{"smtp://mx.example:2525/", Endpoint{"tcp", "mx.example:2525", "mx.example", TLSOffered, false}},
		{"SMTP://[::1]:2525", Endpoint{"tcp", "[::1]:2525", "::1", TLSOffered, false}},
		{"smtp+tls://mx.example", Endpoint{"tcp", "mx.example:25", "mx.example", TLSRequired, false}},
		{"smtp+notls://127.0.0.1", Endpoint{"tcp", "127.0.0.1:25", "127.0.0.1", TLSNone, false}},
		{"smtps://mx.example", Endpoint{"tcp", "mx.example:465", "mx.example", TLSImplicit, false}},
		{"lmtp://mx.example", Endpoint{"tcp", "mx.example:24", "mx.example", TLSOffered, true}},
		{"smtp+unix:///run/smtp", Endpoint{"unix", "/run/smtp", "", TLSNone, false}},
		{"lmtp+unix:///run/lmtp", Endpoint{"unix", "/run/lmtp", "", TLSNone, true}},
	}
	for _, tt := range tests {
		if got, err := ParseURL(tt.in); err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "want smtp://"},
		{"mx.example", "want smtp://"},
		{"mx.example:25", "server"},
		{"http://mx.example", "want smtp://"},
		{"smtp://", "want smtp://HOST"},
		{"smtp:mx.example", "nothing may follow"},
		{"smtp://mx.example/path", "want smtp://HOST"},
		{"smtp://mx.example?tls=no", "nothing may follow"},
		{"smtp://u:secret@mx.example", "a user does not belong"},
		{"smtp://u:se cret%zz@mx.example", "server"},
		{"smtp://mx.example:port", "invalid port"},
		{"smtp://mx.example:0", "port 0, not 1 to 65535"},
		{"smtp://mx.example:65536", "port 65536, not 1 to 65535"},
		{"lmtp+unix://host/path", "want lmtp+unix:///PATH"},
		{"lmtp+unix://", "want lmtp+unix:///PATH"},
		{"lmtp+unix:///a%00b", "want lmtp+unix:///PATH"},
	}
	for _, tt := range tests {
		_, err := ParseURL(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.in, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v shows the password", tt.in, err)
		}
	}
}
