package maildir

import (
	"strings"
	"sync"
	"testing"
)

func TestUniqueNameNeverRepeats(t *testing.T) {
	const goroutines, each = 8, 2000
	var mu sync.Mutex
	seen := make(map[string]bool)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				name := uniqueName()
				mu.Lock()
				if seen[name] {
					t.Errorf("%q twice", name)
				}
				seen[name] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for name := range seen {
		if strings.ContainsAny(name, "/:,\n") || !visible(name) {
			t.Fatalf("name %q", name)
		}
		if sec, _ := nameTime(name); sec == 0 {
			t.Fatalf("name %q has no time", name)
		}
	}
}

func TestUniqueNameWhenTheClockGoesBack(t *testing.T) {
	nameMu.Lock()
	saved := nameLast
	nameLast = 4102444800e6 + 999_999 // 2100-01-01, the last microsecond of a second
	nameMu.Unlock()
	defer func() { nameMu.Lock(); nameLast = saved; nameMu.Unlock() }()
	a, b := uniqueName(), uniqueName()
	if !strings.HasPrefix(a, "4102444801.M0P") || !strings.HasPrefix(b, "4102444801.M1P") {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestEscapeHost(t *testing.T) {
	for in, want := range map[string]string{
		"mail.example.org": "mail.example.org",
		"":                 "localhost",
		"a/b:c":            `a\057b\072c`,
		"a,S=1":            `a\054S\0751`,
		"new\nline":        `new\012line`,
		"h\u00f4te":        `h\303\264te`,
	} {
		if got := escapeHost(in); got != want {
			t.Errorf("escapeHost(%q) = %q, want %q", in, got, want)
		}
	}
	if got := escapeHost(strings.Repeat("x", 300)); len(got) > 70 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestSplitName(t *testing.T) {
	for _, c := range []struct{ name, key, flags, tail string }{
		{"1.M2P3.host", "1.M2P3.host", "", ""},
		{"1.M2P3.host:2,", "1.M2P3.host", "", ""},
		{"1.M2P3.host,S=5:2,SF", "1.M2P3.host,S=5", "FS", ""},
		{"1.host:2,SSaF", "1.host", "FSa", ""},
		{"1.host:2,XS", "1.host", "SX", ""},
		{"1.host:2,S,more,Z", "1.host", "S", ",more,Z"},
		{"1.host:1,abc", "1.host:1,abc", "", ""},
		{"1.host:2", "1.host:2", "", ""},
		{"1.host:", "1.host:", "", ""},
		{"a:b:2,S", "a:b", "S", ""},
		{"a:2,S:2,F", "a:2,S", "F", ""},
		{"a:2,S:x", "a:2,S:x", "", ""},
	} {
		key, flags, tail := splitName(c.name)
		if key != c.key || flags != c.flags || tail != c.tail {
			t.Errorf("splitName(%q) = %q %q %q, want %q %q %q", c.name, key, flags, tail, c.key, c.flags, c.tail)
		}
	}
}

func TestMergeFlags(t *testing.T) {
	for _, c := range []struct{ name, current, base, want, merged string }{
		{"set", "", "", "SF", "FS"},
		{"replace", "FS", "FS", "R", "R"},
		{"clear", "FRS", "FRS", "", ""},
		{"unknown letters stay", "FXS!", "FXS!", "", "!X"},
		{"another program's flag stays", "FRS", "S", "ST", "FRST"},
		{"taken away by both", "", "S", "", ""},
		{"set by both", "S", "", "S", "S"},
		{"keywords", "Sab", "Sab", "Sbc", "Sbc"},
		{"passed is never dropped by a change of others", "PS", "PS", "P", "P"},
	} {
		if got := mergeFlags(c.current, c.base, c.want); got != c.merged {
			t.Errorf("%s: mergeFlags(%q, %q, %q) = %q, want %q", c.name, c.current, c.base, c.want, got, c.merged)
		}
	}
}

func TestNameSize(t *testing.T) {
	for _, c := range []struct {
		key  string
		s, w int64
	}{
		{"1.host,S=10,W=12", 10, 12},
		{"1.host,W=12,S=10", 10, 12},
		{"1.host", -1, -1},
		{"1.host,S=", -1, -1},
		{"1.host,S=1x,W=2", -1, 2},
		{"1.host,S=1,S=2", 1, -1},
		{"1.host,S=-1", -1, -1},
		{"1.host,S=99999999999999999999", -1, -1},
		{"S=5", -1, -1},
	} {
		if s, w := nameSize(c.key, 'S'), nameSize(c.key, 'W'); s != c.s || w != c.w {
			t.Errorf("%q: S %d W %d, want %d %d", c.key, s, w, c.s, c.w)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"1.host", "1.host:2,S", "a:2,XS,tail", ":2,", "x:1,", "a:2,b:2,c", "\xff:2,\x00"} {
		f.Add(s, "FS", "S")
	}
	f.Fuzz(func(t *testing.T, name, base, want string) {
		key, flags, tail := splitName(name)
		if !strings.HasPrefix(name, key) {
			t.Fatalf("key %q of %q", key, name)
		}
		joined := joinName(key, flags, tail)
		k, fl, ta := splitName(joined)
		if !strings.Contains(tail, ":2,") && (k != key || fl != flags || ta != tail) {
			t.Fatalf("%q: %q %q %q came back as %q %q %q", name, key, flags, tail, k, fl, ta)
		}
		got := mergeFlags(flags, base, want)
		for i := range len(flags) {
			if !settable(flags[i]) && !contains(got, flags[i]) {
				t.Fatalf("letter %q lost: %q", flags[i], got)
			}
		}
		for i := range len(want) {
			if settable(want[i]) && !contains(base, want[i]) && !contains(got, want[i]) {
				t.Fatalf("letter %q not set: %q", want[i], got)
			}
		}
		if n := nameSize(key, 'S'); n < -1 {
			t.Fatalf("size %d", n)
		}
	})
}
