package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pennypost/internal/mailtest"
)

func TestMain(m *testing.M) { mailtest.Main(m) }

func TestScripts(t *testing.T) { mailtest.Scripts(t, "testdata/script", "smtpd", "mailauth") }

func TestValidName(t *testing.T) {
	tests := []struct {
		name string
		want bool
	}{
		{"smtp.joursoir.net", true},
		{"localhost", true},
		{"my_host", true},
		{"[192.0.2.1]", true},
		{"[IPv6:2001:db8::1]", true},
		{"", false},
		{"a b", false},
		{"a\nb", false},
		{"b\u00fccher.example", false},
		{"[192.0.2.1", false},
		{"[x]", false},
		{strings.Repeat("a", 256), false},
	}
	for _, tt := range tests {
		if got := validName(tt.name); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// readerConn is a connection of which only Read is used.
type readerConn struct {
	net.Conn
	io.Reader
}

func (c readerConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func TestTypedConn(t *testing.T) {
	tests := []struct{ in, want string }{
		{"EHLO x\nQUIT\n", "EHLO x\r\nQUIT\r\n"},
		{"a\r\nb\n", "a\r\nb\r\n"},
		{"\n\n", "\r\n\r\n"},
		{"a\rb\n", "a\rb\r\n"},
		{"", ""},
	}
	for _, tt := range tests {
		for name, r := range map[string]io.Reader{
			"whole":     strings.NewReader(tt.in),
			"by bytes":  iotest.OneByteReader(strings.NewReader(tt.in)),
			"with data": iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			got, err := io.ReadAll(&typedConn{Conn: readerConn{Reader: r}})
			if err != nil || string(got) != tt.want {
				t.Errorf("%q %s: got %q, %v, want %q", tt.in, name, got, err, tt.want)
			}
		}
		got, _ := io.ReadAll(iotest.OneByteReader(&typedConn{Conn: readerConn{Reader: strings.NewReader(tt.in)}}))
		if !bytes.Equal(got, []byte(tt.want)) {
			t.Errorf("%q read by bytes: got %q", tt.in, got)
		}
	}
	broken := &typedConn{Conn: readerConn{Reader: iotest.ErrReader(errors.ErrUnsupported)}}
	if _, err := broken.Read(make([]byte, 8)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want the connection's error", err)
	}
}

const patience = 30 * time.Second
