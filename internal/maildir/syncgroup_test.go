package maildir

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
)

// While one sync runs, all who come share the next one, and its error.
func TestSyncIsShared(t *testing.T) {
	for _, want := range []error{nil, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			root, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if _, ok := identify(root, "."); !ok {
				t.Skip("directories cannot be told apart here")
			}
			g := syncGroup{dirs: make(map[dirID]*dirSync)}
			calls, release := 0, make(chan error)
			o := &ops{syncDir: func(*os.Root, string) error { calls++; return <-release }}
			var errs []error
			var mu sync.Mutex
			call := func() {
				err := g.dir(o, root, ".")
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
			go call()
			synctest.Wait()
			for range 5 {
				go call()
			}
			synctest.Wait()
			if calls != 1 {
				t.Errorf("%d syncs have begun, want 1", calls)
			}
			release <- nil
			synctest.Wait()
			go call() // too late for the second, which has begun
			synctest.Wait()
			if calls != 2 || len(errs) != 1 {
				t.Errorf("%d syncs have begun and %d callers are done, want 2 and 1", calls, len(errs))
			}
			release <- want
			synctest.Wait()
			if calls != 3 || len(errs) != 6 {
				t.Errorf("%d syncs have begun and %d callers are done, want 3 and 6", calls, len(errs))
			}
			release <- nil
			synctest.Wait()
			if len(errs) != 7 || len(g.dirs) != 0 {
				t.Fatalf("%d callers are done and %d directories are kept, want 7 and 0", len(errs), len(g.dirs))
			}
			if shared := slices.Compact(errs[1:6]); len(shared) != 1 || shared[0] != want || errs[0] != nil || errs[6] != nil {
				t.Errorf("errors %v, want %v for the second sync", errs, want)
			}
		})
	}
}

// Deliveries at the same time into one Maildir, each by a Dir of its own, while syncs fail now and then: what was
// acknowledged is there, and what was refused is not.
func TestSharedSyncFails(t *testing.T) {
	_, path := newDir(t)
	var n atomic.Int64
	failing := realOps
	failing.syncDir = func(root *os.Root, name string) error {
		if n.Add(1)%3 == 0 {
			return syscall.EIO
		}
		return syncDir(root, name)
	}
	var mu sync.Mutex
	var want []string
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				key, err := deliverOnce(path, &failing)
				switch {
				case err == nil:
					mu.Lock()
					want = append(want, "new/"+key)
					mu.Unlock()
				case !errors.Is(err, syscall.EIO):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got := files(t, path, "tmp", "new", "cur")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d files are there, %d were acknowledged", len(got), len(want))
	}
	if len(want) == 0 || len(want) == 160 {
		t.Errorf("%d of 160 succeeded", len(want))
	}
}

func deliverOnce(path string, o *ops) (key string, err error) {
	d, err := OpenPath(path)
	if err != nil {
		return "", err
	}
	defer d.Close()
	d.ops = o
	s, err := d.Stage(strings.NewReader("text\n"), StageOptions{})
	if err != nil {
		return "", err
	}
	return s.Key(), s.Commit()
}
