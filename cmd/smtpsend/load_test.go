package main

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

func TestLoadTimes(t *testing.T) {
	var all []time.Duration
	for n := 100; n > 0; n-- {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	if got, want := times(all), (loadTimes{0.001, 0.051, 0.091, 0.1, 0.1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	bars, sum := histogram(all), 0
	for i, b := range bars {
		sum += b.Count
		if i > 0 && b.Below <= bars[i-1].Below {
			t.Errorf("bars %+v", bars)
		}
	}
	if sum != 100 || bars[0] != (loadBar{0.002, 1}) || bars[len(bars)-1] != (loadBar{0.2, 1}) {
		t.Errorf("%d in bars %+v", sum, bars)
	}
	if got := times(nil); got != (loadTimes{}) || histogram(nil) != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestLoadMessages(t *testing.T) {
	l := &loading{load: load{sessions: 1, messages: 1, size: "500-5k", seed: 7}}
	if err := l.prepare([]string{"a@b.example"}); err != nil {
		t.Fatal(err)
	}
	sizes := map[int64]bool{}
	for n := range int64(50) {
		m := l.message(n)
		if m.Size() < 500 || m.Size() > 5<<10 || smtp.Check(m, "") != nil {
			t.Errorf("message %d has %d octets: %v", n, m.Size(), smtp.Check(m, ""))
		}
		sizes[m.Size()] = true
	}
	if len(sizes) < 20 {
		t.Errorf("only %d sizes", len(sizes))
	}
}

// remote is a connection to somebody else's server.
type remote struct {
	net.Conn
	closed bool
}

func (*remote) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }
func (r *remote) Close() error       { r.closed = true; return nil }

// A server that is not this host hears nothing, unless it is the user's.
func TestLoadIsForThisHost(t *testing.T) {
	l, c := &loading{}, &remote{}
	_, err := l.ours(c)
	if !errors.Is(err, errNotMine) || !c.closed {
		t.Errorf("got %v, closed %v", err, c.closed)
	}
	l.failed(status.Of(status.Errorf(status.TempFail, "%w", err)))
	var out bytes.Buffer
	err = l.report(&out, false)
	if e := status.Of(err); e.Exit != int(status.Usage) || !strings.Contains(e.Text, "192.0.2.1:25") || out.Len() > 0 {
		t.Errorf("got %v, %q", err, out.String())
	}
	l.mine, c = true, &remote{}
	if got, err := l.ours(c); err != nil || got != c || c.closed {
		t.Errorf("with --i-own-this-server: %v, closed %v", err, c.closed)
	}
}
