package serve

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/status"
)

// host starts servers as inetd does, one process for each connection.
type host struct {
	t      *testing.T
	limits string // address, network, rate, directory
}

// visit is a connection and the process that serves it.
type visit struct {
	conn net.Conn
	cmd  *exec.Cmd
}

func newHost(t *testing.T, address, network, rate int) host {
	return host{t, fmt.Sprint(address, network, rate, " ", t.TempDir())}
}

// from connects and reports whether the connection is served.
func (h host) from(ip string) (visit, bool) {
	h.t.Helper()
	client, conn := tcpPair(h.t)
	f := fileOf(h.t, conn)
	conn.Close()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), quick, "SERVE_PROGRAM=", "SERVE_LIMITS="+h.limits, "PROTO=TCP", "TCPREMOTEIP="+ip)
	cmd.Stdin, cmd.Stdout = f, f
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	f.Close()
	h.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(client).ReadString('\n')
	switch {
	case err == nil && strings.HasPrefix(line, "peer="+ip+" "):
		return visit{client, cmd}, true
	case err != nil || line != "busy\n":
		h.t.Errorf("%s: got %q, %v", ip, line, err)
	}
	client.Close()
	cmd.Wait()
	return visit{}, false
}

func (h host) served(want bool, ip string) visit {
	h.t.Helper()
	v, got := h.from(ip)
	if got != want {
		h.t.Fatalf("%s: served %v, want %v", ip, got, want)
	}
	return v
}

func (v visit) kill() {
	v.cmd.Process.Kill()
	v.cmd.Wait()
}

func (v visit) leave() {
	v.conn.Close()
	v.cmd.Wait()
}

func TestSharedLimits(t *testing.T) {
	h := newHost(t, 3, 5, 0)
	var first []visit
	for range 3 {
		first = append(first, h.served(true, "192.0.2.1"))
	}
	h.served(false, "192.0.2.1")
	h.served(true, "192.0.2.2")
	h.served(true, "192.0.2.3")
	h.served(false, "192.0.2.4") // the fifth of the network
	h.served(true, "198.51.100.1")
	h.served(true, "2001:db8:0:1::1")
	h.served(true, "2001:db8:0:1::2")
	h.served(true, "2001:db8:0:1::3")
	h.served(false, "2001:db8:0:1::4") // one host has 64 bits to choose from
	h.served(true, "2001:db8:0:2::1")

	first[0].kill()
	first[0] = h.served(true, "192.0.2.1")
	h.served(false, "192.0.2.1")
	first[1].leave()
	h.served(true, "192.0.2.1")
	h.served(false, "192.0.2.1")
}

// Of many that come at once exactly as many are served as may be, and killing them all leaves all room free and no more
// files than before.
func TestSharedLimitsCrowd(t *testing.T) {
	h := newHost(t, 10, 0, 0)
	for round := range 3 {
		var mu sync.Mutex
		var in []visit
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				if v, ok := h.from("192.0.2.1"); ok {
					mu.Lock()
					in = append(in, v)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(in) != 10 {
			t.Errorf("round %d: %d are served, want 10", round, len(in))
		}
		for _, v := range in {
			v.kill()
		}
	}
	dir := strings.Fields(h.limits)[3]
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	size := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if len(files) > 2 || size > 30*16 {
		t.Errorf("%d files of %d bytes stay: %q", len(files), size, files)
	}
}

func TestSharedRate(t *testing.T) {
	h := newHost(t, 0, 0, 3)
	for range 3 {
		h.served(true, "192.0.2.1").kill()
	}
	h.served(false, "192.0.2.1")
	h.served(true, "192.0.2.2")
}

// A directory that cannot be used is told at the start.
func TestLimitDirMissing(t *testing.T) {
	_, err := openShare(filepath.Join(t.TempDir(), "none"))
	if status.ExitStatus(err) != 78 {
		t.Errorf("got %v, want exit 78", err)
	}
}

// A file that somebody filled with nonsense keeps nobody out and does not grow without end.
func TestShareNonsense(t *testing.T) {
	dir := t.TempDir()
	s, err := openShare(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	k := keysOf("192.0.2.1")
	junk := []byte(strings.Repeat("\xff", 3*shareSlots*16+5))
	for _, kind := range []string{"open", "rate"} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%03d", kind, k.file())), junk, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave, why, err := s.enter(k, 1, 1)
	if err != nil || why != "" {
		t.Fatalf("got %q, %v", why, err)
	}
	if _, why, err := s.enter(k, 1, 1); err != nil || why != tooManyAddress {
		t.Errorf("the second: got %q, %v", why, err)
	}
	leave()
	now := time.Now()
	for i, want := range []bool{true, true, false} {
		if ok, err := s.rate(k, 2, now); err != nil || ok != want {
			t.Errorf("connection %d: got %v, %v, want %v", i, ok, err, want)
		}
	}
}
