package smtp

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// clocked is a client in a bubble of synctest, where waiting takes no time.
type clocked struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	born time.Time
	over chan struct{}
}

func startClocked(ctx context.Context, t *testing.T, e *Engine) *clocked {
	client, server := net.Pipe()
	c := &clocked{t: t, conn: client, in: bufio.NewReader(client), born: time.Now(), over: make(chan struct{})}
	go func() { e.Serve(ctx, server, peer); close(c.over) }()
	c.expect("220 ")
	return c
}

func (c *clocked) send(text string) {
	c.t.Helper()
	if text == "" {
		return
	}
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

func (c *clocked) expect(want string) {
	c.t.Helper()
	got, err := c.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(got, want) {
		c.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// transaction brings the session to where DATA may come.
func (c *clocked) transaction() {
	c.t.Helper()
	c.send("HELO client.example\r\n")
	c.expect("250 ")
	c.send("MAIL FROM:<>\r\nRCPT TO:<chat@joursoir.net>\r\n")
	c.expect("250 2.1.0")
	c.expect("250 2.1.5")
}

// end expects the last reply, then the end of the session after that much time since its beginning.
func (c *clocked) end(want string, after time.Duration) {
	c.t.Helper()
	c.expect(want)
	if got := time.Since(c.born).Round(time.Second); got != after {
		c.t.Errorf("%s came after %v, want %v", want, got, after)
	}
	if _, err := c.in.ReadByte(); err != io.EOF {
		c.t.Errorf("after the last reply: got %v, want the end", err)
	}
	<-c.over
}

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name  string
		run   func(c *clocked)
		after time.Duration
	}{
		{"silence", func(*clocked) {}, 5 * time.Minute},
		{"a command byte by byte", func(c *clocked) {
			for _, b := range "NOOP" {
				time.Sleep(time.Minute)
				c.send(string(b))
			}
		}, 5 * time.Minute},
		{"commands for ever", func(c *clocked) {
			for range 14 {
				time.Sleep(4 * time.Minute)
				c.send("NOOP\r\n")
				c.expect("250 ")
			}
		}, time.Hour},
		{"silence in data", func(c *clocked) {
			c.transaction()
			c.send("DATA\r\n")
			c.expect("354 ")
			time.Sleep(time.Minute)
			c.send("half a li")
		}, 3 * time.Minute}, // nine octets buy no time
		{"data for ever", func(c *clocked) {
			c.transaction()
			c.send("DATA\r\n")
			c.expect("354 ")
			for range 59 {
				time.Sleep(time.Minute)
				c.send(strings.Repeat("a line of thirty octets, more\r\n", 1000))
			}
		}, time.Hour},
		{"data at a trickle", func(c *clocked) {
			c.transaction()
			c.send("DATA\r\n")
			c.expect("354 ")
			for range 3 {
				time.Sleep(time.Minute - time.Second)
				c.send(strings.Repeat("x", 500))
			}
		}, 3*time.Minute + 3*time.Second},
		{"chunks at a trickle", func(c *clocked) {
			c.transaction()
			for range 2 {
				c.send("BDAT 2\r\n")
				time.Sleep(time.Minute)
				c.send("xy")
				c.expect("250 2.0.0")
			}
			c.send("BDAT 2\r\n")
		}, 3 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, o := newTestEngine()
				c := startClocked(t.Context(), t, e)
				tt.run(c)
				c.end("421 4.4.2 ", tt.after)
				if len(o.mails) != 0 {
					t.Error("an unfinished message was handed on")
				}
			})
		})
	}
}

// A sender that is slow and steady is not cut off: the deadline is for each block of data.
func TestSteadyData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, o := newTestEngine()
		c := startClocked(t.Context(), t, e)
		c.transaction()
		c.send("DATA\r\n")
		c.expect("354 ")
		for range 20 {
			time.Sleep(2 * time.Minute)
			c.send(strings.Repeat("500 a s\r\n", 2*60*500/9+1))
		}
		c.send(".\r\n")
		c.expect("250 2.0.0 Ok: queued")
		c.send("QUIT\r\n")
		c.end("221 ", 40*time.Minute)
		if got := o.one(t).body(); got != strings.Repeat("500 a s\n", 20*(2*60*500/9+1)) {
			t.Errorf("got %q", got)
		}
	})
}

// Each failed login waits twice as long for its reply as the one before.
func TestLoginDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newTestEngine()
		e.Auth, e.LoginDelay = testAuth(true), 2*time.Second
		c := startClocked(t.Context(), t, e)
		c.send("EHLO client.example\r\n")
		for line := ""; !strings.HasPrefix(line, "250 "); {
			line, _ = c.in.ReadString('\n')
		}
		var last time.Duration
		for _, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
			c.send("AUTH PLAIN AGEAYg==\r\n")
			c.expect("535 ")
			now := time.Since(c.born)
			if got := (now - last).Round(time.Second); got != want {
				t.Errorf("the reply took %v, want %v", got, want)
			}
			last = now
		}
		c.end("421 4.7.0 ", 14*time.Second)
	})
}

func TestCancelled(t *testing.T) {
	for _, at := range []string{"", "HELO client.example\r\n", "HELO"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			e, _ := newTestEngine()
			c := startClocked(ctx, t, e)
			c.send(at)
			if strings.HasSuffix(at, "\n") {
				c.expect("250 ")
			}
			time.Sleep(time.Minute)
			cancel()
			c.end("421 4.3.2 ", time.Minute)
		})
	}
}

// Cancelled in the middle of a message: it is not taken, and the client is told.
func TestCancelledInData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		e, o := newTestEngine()
		c := startClocked(ctx, t, e)
		c.transaction()
		c.send("DATA\r\n")
		c.expect("354 ")
		c.send("half\r\n")
		synctest.Wait()
		cancel()
		c.end("421 4.3.2 ", 0)
		if len(o.mails) != 0 {
			t.Error("an unfinished message was handed on")
		}
	})
}

// A server that stops lets a transaction finish and ends every other session at once.
func TestStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		e, o := newTestEngine()
		e.Stopping = stop
		busy, idle := startClocked(t.Context(), t, e), startClocked(t.Context(), t, e)
		busy.transaction()
		time.Sleep(time.Minute)
		close(stop)
		idle.end("421 4.3.2 ", time.Minute)
		time.Sleep(time.Minute)
		busy.send("DATA\r\n")
		busy.expect("354 ")
		time.Sleep(time.Minute)
		busy.send("x\r\n.\r\n")
		busy.expect("250 2.0.0 ")
		busy.end("421 4.3.2 ", 3*time.Minute)
		o.one(t)
	})
}

// While the server stops, the deadline of an open transaction stays.
func TestStoppingKeepsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		e, _ := newTestEngine()
		e.Stopping = stop
		c := startClocked(t.Context(), t, e)
		c.transaction()
		close(stop)
		c.end("421 4.4.2 ", 5*time.Minute)
	})
}

func TestGreetDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newTestEngine()
		e.GreetDelay = 7 * time.Second
		c := startClocked(t.Context(), t, e)
		if got := time.Since(c.born); got != 7*time.Second {
			t.Errorf("banner after %v, want 7s", got)
		}
		c.send("QUIT\r\n")
		c.end("221 ", 7*time.Second)
	})
}

// A client that goes away leaves nothing behind.
func TestLostClient(t *testing.T) {
	for _, last := range []string{"", "DATA\r\n", "DATA\r\nhalf a", "BDAT 5\r\nab", "BDAT 2\r\nab"} {
		synctest.Test(t, func(t *testing.T) {
			e, o := newTestEngine()
			client, server := net.Pipe()
			over := make(chan struct{})
			go func() { e.Serve(t.Context(), server, peer); close(over) }()
			c := &clocked{t: t, conn: client, in: bufio.NewReader(client)}
			c.expect("220 ")
			c.transaction()
			command, data, _ := strings.Cut(last, "\n")
			if command != "" {
				c.send(command + "\n")
			}
			if strings.HasPrefix(last, "DATA") {
				c.expect("354 ")
			}
			c.send(data)
			synctest.Wait()
			client.Close()
			<-over
			if len(o.mails) != 0 {
				t.Errorf("%q: an unfinished message was handed on", last)
			}
		})
	}
}
