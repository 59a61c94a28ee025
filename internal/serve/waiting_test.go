package serve

import (
	"bufio"
	"io"
	"runtime"
	"testing"
	"time"
)

// A connection says whether there is something to read, through whatever stands around the socket, and takes nothing of it.
func TestWaiting(t *testing.T) {
	client, server := tcpPair(t)
	for name, c := range map[string]*Conn{
		"socket": {Conn: server}, "of inetd": {Conn: &owner{Conn: server}}, "behind a proxy": {Conn: buffered{server, bufio.NewReader(server)}},
	} {
		if c.Waiting() {
			t.Errorf("%s: something waits before it was sent", name)
		}
		if _, err := io.WriteString(client, "ab"); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); !c.Waiting(); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%s: nothing waits", name)
			}
		}
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "a" || !c.Waiting() {
			t.Errorf("%s: got %q, %v, want a, and that b waits", name, b, err)
		}
		if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "b" || c.Waiting() {
			t.Errorf("%s: got %q, %v, want b, and that no more waits", name, b, err)
		}
	}
	client.Close()
	if _, err := server.Read(make([]byte, 1)); err != io.EOF || (&Conn{Conn: server}).Waiting() {
		t.Errorf("at the end: %v, and something waits", err)
	}
}
