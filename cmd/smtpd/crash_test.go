package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	crashMessages = flag.Int("crash-messages", 600, "messages that TestKill sends")
	crashSeed     = flag.Uint64("crash-seed", 1, "where TestKill's random numbers start")
)

// Smtpd is killed again and again while 20 clients send. What was answered with 250 is in the Maildir whole, and
// whatever is to be seen there is whole; only tmp may hold halves.
func TestKill(t *testing.T) {
	const senders = 20
	kills := 10 + *crashMessages/100
	bin, office := newOffice(t)
	c := &crash{all: *crashMessages, rng: rand.New(rand.NewPCG(*crashSeed, 0))}
	rounds := 0
	for ; !c.complete(); rounds++ {
		if rounds > 20*kills+100 {
			t.Fatalf("only %d of %d messages were taken", len(c.taken), c.all)
		}
		c.round(t, bin, office, senders, kills)
	}
	t.Logf("%d messages answered with 250, %d kills, seed %d", len(c.taken), c.killed, *crashSeed)
	if c.killed < kills/2 {
		t.Errorf("smtpd was killed %d times only", c.killed)
	}
	verifyCrash(t, filepath.Join(office, "example.org", "alice", "Maildir"), c.taken)
}

// crash is what the clients know.
type crash struct {
	all    int
	rng    *rand.Rand
	killed int

	mu    sync.Mutex
	next  int         // number of the next new message
	again []int       // sent, but the answer did not come
	taken map[int]int // number -> times answered with 250

	replies atomic.Int64 // replies read in this round
	killAt  int64        // so many of them end it
	kill    func()
}

func (c *crash) complete() bool { return len(c.taken) == c.all }

// round runs one smtpd until a random number of replies has come, kills it, and waits for the clients to notice.
func (c *crash) round(t *testing.T, bin, office string, senders, kills int) {
	cmd, port := startKillable(t, bin, office)
	const repliesPerMessage = 4
	most := int64(2 * repliesPerMessage * c.all / kills)
	c.replies.Store(0)
	c.killAt = 1 + c.rng.Int64N(most)
	c.kill = sync.OnceFunc(func() { c.killed++; cmd.Process.Kill() })
	var all sync.WaitGroup
	for range senders {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), 0))
		all.Go(func() { c.sender(port, rng) })
	}
	all.Wait()
	cmd.Process.Kill()
	cmd.Wait()
}

// sender sends messages over one connection until it breaks or there are none left.
func (c *crash) sender(port string, rng *rand.Rand) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	s := &crashClient{c: c, conn: conn, in: bufio.NewReader(conn)}
	if s.expect("220") != nil || s.say("EHLO client.example\r\n", "250") != nil {
		return
	}
	for {
		n, ok := c.take()
		if !ok {
			return
		}
		err := s.send(n, rng)
		c.mu.Lock()
		if err == nil {
			if c.taken == nil {
				c.taken = make(map[int]int)
			}
			c.taken[n]++
		} else {
			c.again = append(c.again, n)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take is the number of a message to send: one without an answer first.
func (c *crash) take() (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := len(c.again); k > 0 {
		n := c.again[k-1]
		c.again = c.again[:k-1]
		return n, true
	}
	c.next++
	return c.next, c.next <= c.all
}

type crashClient struct {
	c    *crash
	conn net.Conn
	in   *bufio.Reader
}

// send transmits message n by DATA or BDAT and is nil when the server has answered with 250.
func (s *crashClient) send(n int, rng *rand.Rand) error {
	text := strings.ReplaceAll(crashText(n), "\n", "\r\n")
	if err := s.say("MAIL FROM:<a@sender.example>\r\n", "250"); err != nil {
		return err
	}
	if err := s.say("RCPT TO:<alice@example.org>\r\n", "250"); err != nil {
		return err
	}
	if rng.IntN(2) == 0 {
		return s.say(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text), "250")
	}
	if err := s.say("DATA\r\n", "354"); err != nil {
		return err
	}
	return s.say(text+".\r\n", "250")
}

func (s *crashClient) say(text, want string) error {
	if _, err := s.conn.Write([]byte(text)); err != nil {
		return err
	}
	return s.expect(want)
}

// expect reads a reply of one or several lines.
func (s *crashClient) expect(code string) error {
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, code+"-") {
			continue
		}
		if !strings.HasPrefix(line, code) {
			return errors.New("reply " + line)
		}
		if s.c.replies.Add(1) == s.c.killAt {
			s.c.kill()
		}
		return nil
	}
}

// crashText is message n: its size follows from n, and it tells where it ends.
func crashText(n int) string {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	size := rng.IntN(8000)
	if n%50 == 0 {
		size += 200_000 // spooled to a file
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: crash\nX-Number: %d\n\n", n)
	for b.Len() < size {
		fmt.Fprintf(&b, "%d %x\n", n, rng.Uint64())
	}
	fmt.Fprintf(&b, "end of %d\n", n)
	return b.String()
}

// startKillable starts smtpd on a free port of loopback.
func startKillable(t *testing.T, bin, office string) (cmd *exec.Cmd, port string) {
	t.Helper()
	cmd = exec.Command(bin, "--office", office, "--name", "mx.example.org", "--listen", "127.0.0.1:0", "--max-per-address", "100")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		if m := listeningLine.FindStringSubmatch(line); m != nil {
			_, port, err := net.SplitHostPort(m[1])
			if err != nil {
				t.Fatal(err)
			}
			go lines.WriteTo(discard{}) // so that it never waits for us
			return cmd, port
		}
		if err != nil {
			t.Fatalf("smtpd does not listen: %v", err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

var numberField = regexp.MustCompile(`(?m)^X-Number: (\d+)$`)

// verifyCrash reads all that is visible in a Maildir: each message is whole, and each number of taken is there.
func verifyCrash(t *testing.T, dir string, taken map[int]int) {
	seen := make(map[int]int)
	for _, sub := range []string{"new", "cur"} {
		list, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			b, err := os.ReadFile(filepath.Join(dir, sub, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			if m := numberField.FindSubmatch(b); m != nil {
				fmt.Sscan(string(m[1]), &n)
			}
			if n == 0 || !bytes.HasSuffix(b, []byte(crashText(n))) {
				t.Errorf("%s/%s, %d bytes, is not whole", sub, e.Name(), len(b))
				continue
			}
			seen[n]++
		}
	}
	for n, times := range taken {
		if seen[n] < times {
			t.Errorf("message %d was answered with 250, %d times, and is there %d times", n, times, seen[n])
		}
	}
}
