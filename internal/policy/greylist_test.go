package policy

import (
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// grey is a greylist of one minute in an empty directory with a clock that is moved by hand. It starts at the true time, which
// is what a file has for the moment between its making and its being given a time.
func grey(t *testing.T) (g *Greylist, dir string, pass func(time.Duration)) {
	t.Helper()
	office := t.TempDir()
	root, err := os.OpenRoot(office)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	now := time.Now().Truncate(time.Second)
	g = &Greylist{Root: root, Dir: "grey", Delay: time.Minute, Now: func() time.Time { return now }}
	return g, filepath.Join(office, "grey"), func(d time.Duration) { now = now.Add(d) }
}

func files(t *testing.T, dir, ending string) int {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*", "*"+ending))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestGreylist(t *testing.T) {
	g, dir, pass := grey(t)
	from, to := envelope.Address{Local: "a", Domain: "from.example"}, envelope.Address{Local: "bob", Domain: "to.example"}
	step := func(name, ip string, want string) {
		t.Helper()
		if got := line(g.Accept(netip.MustParseAddr(ip), from, to)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	const again = "451 4.7.1 <bob@to.example>: greylisted, try again in "
	step("first", "192.0.2.7", again+"1m1s")
	pass(20 * time.Second)
	step("too early, from the same network", "192.0.2.200", again+"41s")
	step("another network", "198.51.100.7", again+"1m1s")
	pass(40 * time.Second)
	step("in time", "192.0.2.7", "")
	step("known", "192.0.2.9", "")
	step("known, as IPv6", "::ffff:192.0.2.9", "")
	if files(t, dir, known) != 1 || files(t, dir, waiting) != 1 {
		t.Errorf("got %d known and %d waiting, want 1 and 1", files(t, dir, known), files(t, dir, waiting))
	}
	pass(34 * 24 * time.Hour)
	step("known for a month", "192.0.2.7", "")
	pass(34 * 24 * time.Hour)
	step("and another", "192.0.2.7", "")
	step("waited too long", "198.51.100.7", again+"1m1s")
	pass(36 * 24 * time.Hour)
	step("forgotten", "192.0.2.7", again+"1m1s")
	from = envelope.Address{}
	step("null sender", "192.0.2.7", again+"1m1s")
	step("IPv6", "2001:db8::1", again+"1m1s")
	pass(2 * time.Minute)
	step("IPv6 of the same /64", "2001:db8::ffff:0:0:1", "")
	step("IPv6 of another /64", "2001:db8:0:1::1", again+"1m1s")
}

// A sweep leaves what is still of use, and its own mark.
func TestGreylistSweep(t *testing.T) {
	g, dir, pass := grey(t)
	if err := os.MkdirAll(filepath.Join(dir, "ab"), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name string) {
		if err := g.touch("grey/ab/"+name, g.Now()); err != nil {
			t.Fatal(err)
		}
	}
	put("1" + waiting)
	put("1" + known)
	put("other")
	pass(49 * time.Hour)
	put("2" + waiting)
	put("2" + known)
	if err := g.begin("grey/ab/3", g.Now()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"1.new": false, "1.ok": true, "2.new": true, "2.ok": true, "3.new": true, "other": true, swept: true} {
		if _, err := os.Stat(filepath.Join(dir, "ab", name)); (err == nil) != want {
			t.Errorf("%s: got %v, want there %v", name, err, want)
		}
	}
	pass(34 * 24 * time.Hour)
	if err := g.begin("grey/ab/4", g.Now()); err != nil {
		t.Fatal(err)
	}
	if files(t, dir, known) != 1 || files(t, dir, waiting) != 1 {
		t.Errorf("got %d known and %d waiting, want 1 and 1", files(t, dir, known), files(t, dir, waiting))
	}
}

// Many at once agree, and trouble with the directory is temporary.
func TestGreylistTogether(t *testing.T) {
	g, dir, pass := grey(t)
	ip, a := netip.MustParseAddr("192.0.2.7"), envelope.Address{Local: "a", Domain: "b.example"}
	all := func() (refused int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 16 {
			wg.Go(func() {
				err := g.Accept(ip, a, a)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused++
					if e := status.Of(err); e.Code != 451 {
						t.Errorf("got %v", err)
					}
				}
			})
		}
		wg.Wait()
		return refused
	}
	if n := all(); n != 16 {
		t.Errorf("first: %d of 16 refused", n)
	}
	pass(time.Minute)
	if n := all(); n != 0 {
		t.Errorf("second: %d of 16 refused", n)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := status.Of(g.Accept(ip, a, envelope.Address{})); e == nil || e.Class != status.Temporary || e.Code != 451 {
		t.Errorf("without a directory: got %v", e)
	}
}
