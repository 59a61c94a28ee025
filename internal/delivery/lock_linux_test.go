package delivery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pennypost/internal/message"
)

// The lock that other programs take with fcntl keeps deliveries out.
func TestLockOfAnotherProgramByFcntl(t *testing.T) {
	saved := lockWait
	lockWait = 100 * time.Millisecond
	defer func() { lockWait = saved }()
	path := filepath.Join(t.TempDir(), "box")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Skipf("no fcntl locks here: %v", err)
	}
	put := func() error {
		return ToTargets(context.Background(), []Target{{Kind: Mbox, Arg: path}}, message.Bytes([]byte("x\n")), newEnvelope(t, ""), Options{})
	}
	if err := put(); !errors.Is(err, errLocked) {
		t.Errorf("locked: %v", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("unlocked: %v", err)
	}
}

// The lock file is nobody else's to read or write.
func TestLockFileIsPrivate(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	a := appended{place: place{root: root}}
	if got, err := a.dotlock("box.lock"); !got || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "box.lock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
