package pop3

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUniqueID(t *testing.T) {
	long := strings.Repeat("x", maxUID)
	for key, want := range map[string]string{
		"1.M2P3.host":             "1.M2P3.host",
		"1.M2P3.host,S=12,W=14":   "1.M2P3.host",
		"1.M2P3.host,W=14":        "1.M2P3.host",
		"1.host,S=12,U=7,W=14":    "1.host,U=7",
		"1.host,S=x,W=,S=1a":      "1.host,S=x,W=,S=1a",
		long:                      long,
		long + ",S=1":             long,
		long + "x":                hashID(long + "x"),
		"with blank":              hashID("with blank"),
		"caf\xc3\xa9,S=3":         hashID("caf\xc3\xa9"),
		",S=1":                    hashID(""),
		"bell\x07":                hashID("bell\x07"),
		"1.host,S=12,W=14,a=b,S=": "1.host,a=b,S=",
	} {
		got := uniqueID(key)
		if got != want {
			t.Errorf("uniqueID(%q): got %q, want %q", key, got, want)
		}
		if len(got) > maxUID {
			t.Errorf("uniqueID(%q) has %d bytes", key, len(got))
		}
	}
}

func TestUniqueIDsAreUnique(t *testing.T) {
	box := newBox(t)
	for _, name := range []string{"cur/5.h,S=1:2,", "cur/5.h,S=2:2,", "new/5.h"} {
		if err := os.WriteFile(filepath.Join(box, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, box)
	defer d.Close()
	m, err := openDrop(d)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, it := range m.items {
		if seen[it.uid] || it.uid == "5.h" {
			t.Errorf("unique-id %q of %q is not unique", it.uid, it.entry.Name)
		}
		seen[it.uid] = true
	}
	if len(seen) != 7 {
		t.Errorf("got %d messages, want 7", len(seen))
	}
}
