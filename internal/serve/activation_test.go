package serve

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemon is the test binary running as a server; see TestMain.
type daemon struct {
	*exec.Cmd
	log bytes.Buffer
}

// activated prepares a server that finds files at descriptor 3 and up, as sd_listen_fds(3) has it. A shell puts its own
// process id into LISTEN_PID and becomes the server.
func activated(t *testing.T, names string, files ...*os.File) *daemon {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &daemon{Cmd: exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)}
	s.ExtraFiles = files
	s.Env = append(os.Environ(), quick, "SERVE_PROGRAM=", fmt.Sprintf("LISTEN_FDS=%d", len(files)))
	if names != "" {
		s.Env = append(s.Env, "LISTEN_FDNAMES="+names)
	}
	s.Stderr = &s.log
	return s
}

// wait expects the server to end well.
func (s *daemon) wait(t *testing.T) {
	t.Helper()
	if err := s.Wait(); err != nil || !strings.HasSuffix(s.log.String(), "ended well\n") {
		t.Errorf("the server ended with %v: %s", err, s.log.String())
	}
}

func (s *daemon) start(t *testing.T) {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill() })
}

func listener(t *testing.T) (net.Addr, *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr(), fileOf(t, l.(*net.TCPListener))
}

func TestListenFDs(t *testing.T) {
	for _, c := range []struct{ fdnames, first, second string }{
		{"smtp:submission", "smtp", "submission"},
		{"", "ADDR", "ADDR"},
		{"unknown", "ADDR", "ADDR"},
	} {
		t.Run("names "+c.fdnames, func(t *testing.T) {
			a, fa := listener(t)
			b, fb := listener(t)
			s := activated(t, c.fdnames, fa, fb)
			s.start(t)
			for addr, name := range map[net.Addr]string{a: c.first, b: c.second} {
				if name == "ADDR" {
					name = addr.String()
				}
				got := talk(t, dial(t, addr), "hello\n")
				want := "peer=127.0.0.1 host= here=127.0.0.1 proto=TCP tls= name=" + name + " local=false leaked=0\nhello\nbye\n"
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			s.Process.Signal(syscall.SIGTERM)
			s.wait(t)
		})
	}
}

// TestSIGTERMWhileServing: the open session goes on, and the server ends after it.
func TestSIGTERMWhileServing(t *testing.T) {
	notifications, notifyPath := notifySocket(t)
	addr, f := listener(t)
	s := activated(t, "", f)
	s.Env = append(s.Env, "NOTIFY_SOCKET="+notifyPath)
	s.start(t)
	if got := notifications(); got != "READY=1" {
		t.Errorf("notified %q, want READY=1", got)
	}
	c := dial(t, addr)
	greeting := make([]byte, 200)
	n, err := c.Read(greeting)
	if err != nil || !strings.Contains(string(greeting[:n]), "leaked=0") {
		t.Fatalf("got %q, %v", greeting[:n], err)
	}
	s.Process.Signal(syscall.SIGTERM)
	if got := notifications(); got != "STOPPING=1" {
		t.Errorf("notified %q, want STOPPING=1", got)
	}
	if got := talk(t, c, "still here\n"); got != "still here\nbye\n" {
		t.Errorf("got %q", got)
	}
	s.wait(t)
}

func notifySocket(t *testing.T) (next func() string, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "n") // short: a socket's path has a limit
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); os.RemoveAll(dir) })
	return func() string {
		buf := make([]byte, 100)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}, path
}

// TestConnectedDescriptor is Accept=yes without StandardInput=socket: the connection is descriptor 3.
func TestConnectedDescriptor(t *testing.T) {
	client, conn := tcpPair(t)
	f := fileOf(t, conn)
	conn.Close()
	s := activated(t, "connection", f)
	s.start(t)
	f.Close()
	if got := talk(t, client, "hello\n"); !strings.HasPrefix(got, "peer=127.0.0.1 ") || !strings.HasSuffix(got, " name=connection local=false leaked=0\nhello\nbye\n") {
		t.Errorf("got %q", got)
	}
	s.wait(t)
}

// TestConnectedUnixDescriptor has no address on the socket, so REMOTE_ADDR is believed.
func TestConnectedUnixDescriptor(t *testing.T) {
	a, b := socketpair(t)
	s := activated(t, "", a)
	s.Env = append(s.Env, "REMOTE_ADDR=203.0.113.9", "REMOTE_PORT=44")
	s.start(t)
	a.Close()
	c, err := net.FileConn(b)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := talk(t, c, ""); !strings.HasPrefix(got, "peer=203.0.113.9 ") || !strings.Contains(got, " name= local=false ") {
		t.Errorf("got %q", got)
	}
	s.wait(t)
}

// TestForeignListenPID: variables meant for another process are not for us, and are removed all the same.
func TestForeignListenPID(t *testing.T) {
	_, f := listener(t)
	s := activated(t, "", f)
	s.Args[2] = `LISTEN_PID=1 exec "$0"`
	s.Stdin = strings.NewReader("hello\n")
	out, err := s.Output()
	if err != nil || !strings.HasSuffix(string(out), " name= local=true leaked=0\nhello\nbye\n") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestPassedFileThatIsNoSocket(t *testing.T) {
	in, _, _, _ := pipes(t)
	s := activated(t, "", in)
	if err := s.Run(); err == nil || !strings.Contains(s.log.String(), "use the socket") {
		t.Errorf("got %v: %s", err, s.log.String())
	}
}

// TestInetd hands the connection over as descriptors 0, 1 and 2: what the server logs must not reach the peer.
func TestInetd(t *testing.T) {
	for name, env := range map[string][]string{
		"inetd":     nil,
		"tcpserver": {"PROTO=TCP", "TCPREMOTEIP=198.51.100.7", "TCPREMOTEPORT=5", "TCPREMOTEHOST=client.example", "TCPLOCALIP=198.51.100.1"},
	} {
		t.Run(name, func(t *testing.T) {
			client, conn := tcpPair(t)
			f := fileOf(t, conn)
			conn.Close()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self)
			cmd.Env = append(append(os.Environ(), quick, "SERVE_PROGRAM="), env...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			f.Close()
			want := "peer=127.0.0.1 host= here=127.0.0.1 proto=TCP tls= name= local=false leaked=0\nhello\nbye\n"
			if env != nil {
				want = "peer=198.51.100.7 host=client.example here=198.51.100.1 proto=TCP tls= name= local=false leaked=0\nhello\nbye\n"
			}
			if got := talk(t, client, "hello\n"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInetdBehindProxy(t *testing.T) {
	client, conn := tcpPair(t)
	f := fileOf(t, conn)
	conn.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), quick, "SERVE_PROGRAM=127.0.0.0/8")
	cmd.Stdin, cmd.Stdout = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := talk(t, client, "PROXY TCP4 203.0.113.5 192.0.2.1 4096 25\r\nhello\n"); !strings.HasPrefix(got, "peer=203.0.113.5 host= here=192.0.2.1 ") {
		t.Errorf("got %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestRealTcpserver and TestRealSystemd use the programs themselves.
func TestRealTcpserver(t *testing.T) {
	tcpserver := peer(t, "tcpserver")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tcpserver, "-1", "-H", "-R", "-l", "here.example", "127.0.0.1", "0", self)
	cmd.Env = append(os.Environ(), quick, "SERVE_PROGRAM=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var port int
	if _, err := fmt.Fscan(out, &port); err != nil {
		t.Fatal(err)
	}
	got := talk(t, dial(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}), "hello\n")
	if want := "peer=127.0.0.1 host= here=127.0.0.1 proto=TCP tls= name= local=false leaked=0\nhello\nbye\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRealSystemd(t *testing.T) {
	program := peer(t, "systemd-socket-activate")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"Accept=no":               nil,
		"Accept=no, named":        {"--fdname=smtp"},
		"Accept=yes":              {"--accept"},
		"Accept=yes, inetd style": {"--accept", "--inetd"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "s")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			path := filepath.Join(dir, "s")
			args := append(append([]string{"-l", path, "-E", "SERVE_PROGRAM"}, flags...), self)
			cmd := exec.Command(program, args...)
			cmd.Env = append(os.Environ(), quick, "SERVE_PROGRAM=")
			log, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			if !saysListening(log) {
				t.Fatal("it does not listen")
			}
			got := talk(t, dial(t, &net.UnixAddr{Name: path, Net: "unix"}), "hello\n")
			if !strings.HasPrefix(got, "peer= ") || !strings.HasSuffix(got, " local=true leaked=0\nhello\nbye\n") {
				t.Errorf("got %q", got)
			}
			if name == "Accept=no, named" && !strings.Contains(got, " name=smtp ") {
				t.Errorf("the name is missing: %q", got)
			}
		})
	}
}

// saysListening reads the log until systemd-socket-activate is ready, and goes on reading it aside.
func saysListening(log io.Reader) bool {
	buf := make([]byte, 4096)
	n, err := log.Read(buf)
	go io.Copy(io.Discard, log)
	return err == nil && bytes.Contains(buf[:n], []byte("Listening on"))
}

func peer(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return path
}
