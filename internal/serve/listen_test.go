package serve

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"pennypost/internal/status"
)

func TestListenAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	cases := []struct {
		addr string
		exit int
	}{
		{"127.0.0.1", 64},
		{"", 64},
		{"unix:", 64},
		{"25", 64},
		{taken.Addr().String(), 71},
		{"127.0.0.1:99999", 71},
		{"unix:" + filepath.Join(dir, "none", "s"), 71},
	}
	for _, c := range cases {
		other := filepath.Join(dir, "other")
		err := Run(t.Context(), Options{Listen: []string{"unix:" + other, c.addr}}, func(context.Context, *Conn) {})
		var e *status.Error
		if !errors.As(err, &e) || e.Exit != c.exit {
			t.Errorf("%q: got %v, want exit %d", c.addr, err, c.exit)
		}
		if _, err := os.Lstat(other); !os.IsNotExist(err) {
			t.Errorf("%q: the other listener stays behind: %v", c.addr, err)
		}
	}
}

func TestUnixSocketFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)

	if _, err := Listen(t.Context(), "unix:"+path); status.ExitStatus(err) != 71 {
		t.Errorf("another server answers: got %v, want exit 71", err)
	}
	stale.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	l.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, link} {
		if _, err := Listen(t.Context(), "unix:"+p); err == nil {
			t.Errorf("%s: got no error", p)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("a file that is no socket was touched: %q, %v", b, err)
	}
}
