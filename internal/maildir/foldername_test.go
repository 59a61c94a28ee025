package maildir

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFolderName(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{ // want is the name on disk, or after a ! what is wrong
		{"ascii", "Archive.2026", "Archive.2026"},
		{"blanks and signs", "To do (later) ~ 50% *", "To do (later) ~ 50% *"},
		{"as it stands on disk", "Entw&APw-rfe", "Entw&APw-rfe"},
		{"in UTF-8", "Entwürfe", "Entw&APw-rfe"},
		{"both", "ü.Entw&APw-rfe", "&APw-.Entw&APw-rfe"},
		{"both, side by side", "ü&APw-", "&APwA,A-"},
		{"side by side the other way", "&APw-ü", "&APwA,A-"},
		{"two in a row", "日本", "&ZeVnLA-"},
		{"between ASCII", "Post 台北.日本 x", "Post &U,BTFw-.&ZeVnLA- x"},
		{"beyond the first plane", "💬", "&2D3crA-"},
		{"beyond the first plane, coded", "a&2D3crA-b", "a&2D3crA-b"},
		{"an ampersand", "R&-D", "R&-D"},
		{"an ampersand after a section", "&APw-&-", "&APw-&-"},
		{"two ampersands", "&-&-", "&-&-"},
		{"an ampersand in UTF-8", "ü&-", "&APw-&-"},
		{"a hyphen after a section", "&APw--", "&APw--"},
		{"no break space", "\u00a0", "&AKA-"},

		{"ampersand that is not closed", "R&D", `!"&" without a "-"`},
		{"ampersand at the end", "AT&", `!"&" without a "-"`},
		{"section that is not closed", "Entw&APw", `!"&" without a "-"`},
		{"closed by a dot", "&APw.x-", "!bad base64"},
		{"a digit that is none", "&A/w-", "!bad base64"},
		{"a blank in it", "R&D - x", "!bad base64"},
		{"padding", "&APw=-", "!bad base64"},
		{"bits that are not zero", "&APx-", "!bad base64"},
		{"a digit alone", "&APwA-", "!half a character"},
		{"an odd byte", "&AP-", "!bad base64"},
		{"one digit", "&A-", "!bad base64"},
		{"a letter", "&AGE-", `!'a' in base64`},
		{"an ampersand in base64", "&ACY-", `!'&' in base64`},
		{"a letter behind others", "&APwAYQ-", `!'a' in base64`},
		{"a dot", "&AC4-", `!'.' in base64`},
		{"a way out", "&AC4ALgAv-", `!'.' in base64`},
		{"a slash", "&AC8-", `!'/' in base64`},
		{"a line end", "&AAo-", `!'\n' in base64`},
		{"NUL", "&AAA-", `!'\x00' in base64`},
		{"a control character of Latin-1", "&AIU-", "!in base64"},
		{"the same in UTF-8", "\u0085", "!control character"},
		{"high half", "&2D0-", "!half a surrogate pair"},
		{"high half before a letter", "&2D0A,A-", "!half a surrogate pair"},
		{"low half", "&3Kw-", "!half a surrogate pair"},
		{"halves the wrong way", "&3KzYPQ-", "!half a surrogate pair"},
		{"two sections in a row", "&APw-&APw-", `!"&APw-" could be one`},
		{"a line end between digits", "&AP\nw-", "!bad base64"},
		{"Latin-1", "Entw\xfcrfe", `!byte "\xfc" is not UTF-8`},
		{"a surrogate in UTF-8", "\xed\xa0\xbd", `!is not UTF-8`},
		{"slash", "a/b", "!byte '/'"},
		{"way up", "../b", "!a part of the name is empty"},
		{"nothing", "", "!1 to 200 bytes"},
		{"empty part", "a..b", "!a part of the name is empty"},
		{"a line end", "a\nb", "!control character"},
		{"too long when it is coded", strings.Repeat("ü", 90), "!1 to 200 bytes"},
		{"as long as may be", strings.Repeat("x", 200), strings.Repeat("x", 200)},
	} {
		got, err := FolderName(c.in)
		why, fails := strings.CutPrefix(c.want, "!")
		switch {
		case fails && (err == nil || !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), why)):
			t.Errorf("%s: %q: got %q, %v, want an error with %s", c.name, c.in, got, err, why)
		case !fails && (err != nil || got != c.want):
			t.Errorf("%s: %q: got %q, %v, want %q", c.name, c.in, got, err, c.want)
		}
	}
}

// A path that ends in a folder has a name in it; others may hold what they like.
func TestCheckFolderPath(t *testing.T) {
	for path, fits := range map[string]bool{
		"Maildir/.Archive":     true,
		"Maildir/.Entw&APw-":   true,
		"Maildir/.R&-D":        true,
		"Maildir/.Entwürfe":    true,
		"Maildir/.R&D":         false,
		"Maildir/.&AGE-":       false,
		"/srv/Maildir/.&2D0-":  false,
		".R&D":                 true, // no folder
		"./.R&D":               true,
		"R&D/Maildir":          true,
		"Maildir/.R&D/Maildir": true,
	} {
		if err := CheckFolderPath(path); (err == nil) != fits || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// What a name on disk is, it stays; it is ASCII, its text is what was written, and every text comes back.
func FuzzFolderName(f *testing.F) {
	for _, s := range []string{"a.b", "Entwürfe", "Entw&APw-rfe", "R&-D", "ü&APw-", "💬&-", "&2D3crA-", "&APx-", "&AGE-", "&APw-&APw-", "a\u0085", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) {
			if text, err := decodeName(encodeName(s)); err == nil && text != s {
				t.Fatalf("%q comes back as %q", s, text)
			}
		}
		name, err := FolderName(s)
		if err != nil {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again, err := FolderName(name); again != name || err != nil {
			t.Fatalf("%q is %q and then %q, %v", s, name, again, err)
		}
		if CheckFolder(name) != nil || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q is %q", s, name)
		}
		if ascii := !strings.ContainsFunc(s, func(r rune) bool { return r > '~' }); ascii && name != s {
			t.Fatalf("%q is written %q: it has two forms", s, name)
		}
		text, _ := decodeName(s)
		if text2, err := decodeName(name); err != nil || text2 != text {
			t.Fatalf("%q means %q, its name %q means %q, %v", s, text, name, text2, err)
		}
	})
}
