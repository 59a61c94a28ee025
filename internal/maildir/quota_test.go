package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseQuota(t *testing.T) {
	for in, want := range map[string]Quota{
		"1000":            {Bytes: 1000},
		"1000S":           {Bytes: 1000},
		"50M":             {Bytes: 50 << 20},
		"2G,10C":          {2 << 30, 10},
		"10C,3K":          {3 << 10, 10},
		"52428800S,1000C": {52428800, 1000},
	} {
		got, err := ParseQuota(in)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
		if again, err := ParseQuota(got.String()); err != nil || again != got {
			t.Errorf("%q: printed as %q, read as %+v, %v", in, got, again, err)
		}
	}
	for _, in := range []string{"", "0", "-1", "M", "1X", "1KM", "1,2", "1C,2C", "1S,,2C", "99999999999G", "1 M", "5MS"} {
		if q, err := ParseQuota(in); err == nil {
			t.Errorf("%q: got %+v", in, q)
		}
	}
}

// mailbox is a Maildir with the messages, each of as many bytes as its text has, at its paths.
func mailbox(t *testing.T, files map[string]string) (*Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Maildir")
	d, err := CreatePath(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for name, text := range files {
		at := filepath.Join(path, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d, path
}

func TestCheckQuota(t *testing.T) {
	full := map[string]string{
		"new/1.a.h":              "0123456789",
		"cur/2.a.h,S=20,W=21:2,": "the name is believed",
		"cur/3.a.h:2,ST":         "of no account",
		".Archive.2026/cur/4.a":  "01234",
		".Trash/cur/5.a":         "of no account",
	}
	const all = "35 3\n" // of full
	for _, c := range []struct {
		name, file string
		age        time.Duration
		want       Quota
		size       int64
		over       bool
		left       string // of maildirsize after it
	}{
		{"no limit", "", 0, Quota{}, 1 << 40, false, ""},
		{"new limit, room", "", 0, Quota{Bytes: 45}, 10, false, "45S\n" + all},
		{"new limit, no room", "", 0, Quota{Bytes: 44}, 10, true, "44S\n" + all},
		{"messages", "", 0, Quota{Messages: 4}, 10, false, "4C\n" + all},
		{"too many messages", "", 0, Quota{Messages: 3}, 1, true, "3C\n" + all},
		{"limit of the file, room", "100S\n1 1\n", time.Hour, Quota{}, 10, false, "100S\n1 1\n"},
		{"limit of the file, sum is not true", "100S\n50 1\n48 1\n", 0, Quota{}, 10, false, "100S\n" + all},
		{"limit of the file, counted a moment ago", "100S\n98 9\n", 0, Quota{}, 10, true, "100S\n98 9\n"},
		{"limit of the file, counted long ago", "100S\n98 9\n", time.Hour, Quota{}, 10, false, "100S\n" + all},
		{"another limit", "100S\n98 9\n", 0, Quota{Bytes: 45}, 10, false, "45S\n" + all},
		{"damaged", "100S\nx\n", 0, Quota{Bytes: 100}, 10, false, "100S\n" + all},
		{"damaged, without another limit", "what\n98 9\n", 0, Quota{}, 1 << 40, false, "what\n98 9\n"},
		{"too long", "100S\n" + strings.Repeat("1 1\n", 2000), 0, Quota{Bytes: 100}, 10, false, "100S\n" + all},
		{"negative lines", "100S\n98 9\n-50 -1\n", 0, Quota{}, 10, false, "100S\n98 9\n-50 -1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, path := mailbox(t, full)
			at := filepath.Join(path, sizeFile)
			if c.file != "" {
				if err := os.WriteFile(at, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
				then := time.Now().Add(-c.age)
				if err := os.Chtimes(at, then, then); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.CheckQuota(c.want, c.size); errors.Is(err, ErrQuota) != c.over || err != nil && !c.over {
				t.Errorf("got %v", err)
			}
			left, _ := os.ReadFile(at)
			if string(left) != c.left {
				t.Errorf("%s is %q, want %q", sizeFile, left, c.left)
			}
			d.CountMessage(7)
			after, _ := os.ReadFile(at)
			if want := c.left + "7 1\n"; c.left != "" && string(after) != want {
				t.Errorf("after a message: %q, want %q", after, want)
			} else if c.left == "" && len(after) > 0 {
				t.Errorf("it was made: %q", after)
			}
		})
	}
}

// FuzzSizeFile: whatever stands there, the sum is that of the lines, or nothing is known.
func FuzzSizeFile(f *testing.F) {
	f.Add([]byte("100S,5C\n10 1\n-3 -1\n"))
	f.Add([]byte("100S\n10  1 \r\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		limit, used, lines := parseSize(text)
		if limit == (Quota{}) && (used != usage{} || lines != 0) {
			t.Errorf("%q: no limit, but %+v in %d lines", text, used, lines)
		}
		if limit != (Quota{}) && lines > strings.Count(string(text), "\n") {
			t.Errorf("%q: %d lines", text, lines)
		}
	})
}
