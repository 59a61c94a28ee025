package serve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pennypost/internal/status"
)

// share counts sessions of all processes that use one directory.
//
// A file open-NNN has the peers of some networks, one slot of 16 bytes for each session. A session's slot is taken as long as
// the session holds a lock on the byte of that number; the lock belongs to the open file (OFD), so it ends with the process
// however that ends, and the slot is used again. A file rate-NNN has the rates. Whoever changes a file holds the lock on its
// byte shareMutex. A half-written record is an address that nobody has.
type share struct{ root *os.Root }

// openShare opens the directory and tries whether files can be made there.
func openShare(dir string) (*share, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, status.Errorf(status.Config, "open the directory for limits: %w", err)
	}
	s := &share{root}
	f, err := s.open("open", 0)
	if err != nil {
		root.Close()
		return nil, status.Errorf(status.Config, "use the directory for limits %q: %w", dir, err)
	}
	f.Close()
	return s, nil
}

func (s *share) close() { s.root.Close() }

func (s *share) open(kind string, number int) (*os.File, error) {
	return s.root.OpenFile(fmt.Sprintf("%s-%03d", kind, number), os.O_RDWR|os.O_CREATE, 0o600)
}

// enter takes a slot unless there are too many; why then says of what. leave gives the slot back. Zero limits mean none.
func (s *share) enter(k peerKeys, perAddress, perNetwork int) (leave func(), why string, err error) {
	f, err := s.open("open", k.file())
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if leave == nil {
			f.Close()
		}
	}()
	if err := lockShare(f); err != nil {
		return nil, "", err
	}
	slots, err := readShare(f, shareSlots*16)
	if err != nil {
		return nil, "", err
	}
	free, why, err := countSlots(f, slots, k, perAddress, perNetwork)
	if err != nil || why != "" {
		return nil, why, err
	}
	key := k.address.Addr().As16()
	if _, err := f.WriteAt(key[:], int64(free)*16); err != nil {
		return nil, "", err
	}
	if err := setLock(f, unix.F_WRLCK, int64(free)); err != nil {
		return nil, "", err
	}
	if err := setLock(f, unix.F_UNLCK, shareMutex); err != nil {
		return nil, "", err
	}
	return func() { f.Close() }, "", nil
}

// countSlots counts the sessions of a peer and finds a free slot.
func countSlots(f *os.File, slots []byte, k peerKeys, perAddress, perNetwork int) (free int, why string, err error) {
	free = len(slots) / 16
	address, network := 0, 0
	for i := len(slots)/16 - 1; i >= 0; i-- {
		taken, err := isLocked(f, int64(i))
		if err != nil {
			return 0, "", err
		}
		if !taken {
			free = i
			continue
		}
		at := fromBytes([16]byte(slots[i*16:]))
		if k.address.Contains(at) {
			address++
		}
		if k.network.Contains(at) {
			network++
		}
	}
	switch {
	case perAddress > 0 && address >= perAddress:
		why = tooManyAddress
	case perNetwork > 0 && network >= perNetwork, free >= shareSlots:
		why = tooManyNetwork
	}
	return free, why, nil
}

// rate counts a new connection and says whether it may come now.
func (s *share) rate(k peerKeys, limit int, now time.Time) (bool, error) {
	f, err := s.open("rate", k.file())
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := lockShare(f); err != nil {
		return false, err
	}
	table, err := readShare(f, shareRates*rateRecord)
	if err != nil {
		return false, err
	}
	key := k.address.Addr().As16()
	offset, next := rateTable(table).find(key, now)
	next, ok := allow(next, now, limit)
	if !ok {
		return false, nil
	}
	_, err = f.WriteAt(rateBytes(key, next), int64(offset))
	return err == nil, err
}

// readShare reads at most max bytes.
func readShare(f *os.File, max int64) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(f, 0, max))
}

// lockShare locks a file for a change. The lock ends with f at the latest.
func lockShare(f *os.File) error {
	for end := time.Now().Add(shareTimeout); ; time.Sleep(time.Millisecond) {
		err := setLock(f, unix.F_WRLCK, shareMutex)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("lock %q: somebody keeps it", f.Name())
		}
	}
}

func setLock(f *os.File, kind int16, at int64) error {
	return lockCall(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1})
}

func isLocked(f *os.File, at int64) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1}
	err := lockCall(f, unix.F_OFD_GETLK, &l)
	return l.Type != unix.F_UNLCK, err
}

func lockCall(f *os.File, cmd int, l *unix.Flock_t) error {
	return control(f, func(fd int) error {
		for {
			if err := unix.FcntlFlock(uintptr(fd), cmd, l); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
}
