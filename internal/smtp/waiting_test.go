package smtp

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"pennypost/internal/mailtest"
)

// waitingConn says as it is told whether there is more to read.
type waitingConn struct {
	*net.TCPConn
	more atomic.Bool
}

func (c *waitingConn) Waiting() bool { return c.more.Load() }

// What comes too early is refused also when it comes in packets of its own.
func TestTooEarlyInOtherPackets(t *testing.T) {
	for name, c := range map[string]struct{ early, then, want string }{
		"before the banner": {"EHLO c\r\n", "", "554 5.5.0 Error: talk only after the banner (RFC 5321 section 3.1)"},
		"TLS":               {"\x16\x03\x01", "", "554 5.5.0 Error: this is not a TLS port; use STARTTLS"},
		"behind EHLO":       {"", "EHLO c\r\n", "554 5.5.0 Error: nothing may follow EHLO before its reply (RFC 2920)"},
		"behind RSET":       {"", "RSET\r\n", "250 2.0.0 Ok"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := newTestEngine()
			client, server := mailtest.TCP(t)
			conn := &waitingConn{TCPConn: server}
			conn.more.Store(c.early != "")
			if _, err := io.WriteString(client, c.early); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { defer close(done); e.Serve(t.Context(), conn, peer) }()
			defer func() { client.Close(); <-done }()
			if c.then != "" {
				mailtest.Dialog(t, client, "<- 220 ...")
				conn.more.Store(true)
				io.WriteString(client, c.then)
			}
			mailtest.Dialog(t, client, "<- "+c.want)
		})
	}
}

// gathered is a connection whose writes leave together when they are held.
type gathered struct {
	net.Conn
	held *bytes.Buffer
}

func (g *gathered) Write(b []byte) (int, error) {
	if g.held != nil {
		return g.held.Write(b)
	}
	return g.Conn.Write(b)
}

// In TLS each command may stand in a record of its own, and TLS may have read it already.
func TestTooEarlyInRecords(t *testing.T) {
	e, _ := newTestEngine()
	config, pool := testTLS(t)
	e.TLS, e.TLSOnly = config, true
	g := &gathered{Conn: startTCP(t, e)}
	secure := tls.Client(g, &tls.Config{RootCAs: pool, ServerName: "smtp.joursoir.net"})
	mailtest.Dialog(t, secure, "<- 220 ...")
	g.held = new(bytes.Buffer)
	for _, record := range []string{"EHLO c\r\n", "MAIL FROM:<>\r\n"} {
		if _, err := io.WriteString(secure, record); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Conn.Write(g.held.Bytes()); err != nil {
		t.Fatal(err)
	}
	mailtest.Dialog(t, secure, "<- 554 5.5.0 Error: nothing may follow EHLO before its reply (RFC 2920)")
}
