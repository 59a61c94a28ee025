package postoffice

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"pennypost/internal/envelope"
	"pennypost/internal/postoffice/crypt"
	"pennypost/internal/status"
)

// newOffice makes an office from lines: "a/b/" is a directory, "a/b -> c" a symbolic link, "a/b = text" a file
// (\n in the text is a line end).
func newOffice(t testing.TB, lines ...string) (*Office, string) {
	t.Helper()
	dir := t.TempDir()
	for _, line := range lines {
		name, target, isLink := strings.Cut(line, " -> ")
		name, text, isFile := strings.Cut(name, " = ")
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, path)
		case isFile:
			err = os.WriteFile(path, []byte(strings.ReplaceAll(text, `\n`, "\n")), 0o600)
		default:
			err = os.MkdirAll(path, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Hashes = crypt.Hashes{}
	t.Cleanup(func() { o.Close() })
	return o, dir
}

func address(t testing.TB, s string) envelope.Address {
	t.Helper()
	a, err := envelope.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var town = []string{
	"example.org/alice/",
	"example.org/bob/.qmail-lists = ",
	"example.org/bob-ross/",
	"example.org/carol/.qmail-x-default = ",
	"example.org/dora/.qmail-default = ",
	"example.org/jürgen/",
	"example.org/postmaster -> alice",
	"example.org/info -> ../example.com/eve",
	"example.org/chain -> info",
	"example.org/.hidden/",
	"example.org/a b/",
	"example.org/passwd = ",
	"example.org/outside -> ../../elsewhere",
	"example.org/absolute -> /etc",
	"example.org/dangling -> nobody",
	"example.org/circle -> circle",
	"example.org/deep -> alice/Maildir",
	"example.org/alice/Maildir/",
	"example.org/toqueue -> ../queue/mail",
	"example.com/eve/",
	"example.com/.qmail-default -> eve",
	"files.example/eve/",
	"files.example/.qmail-default = ./eve/Maildir/\\n",
	"forward.example/eve/",
	"forward.example/.qmail-default = &someone@example.net\\n",
	"nobody.example/.qmail-default = ./nobody/Maildir/\\n",
	"many.example/eve/",
	"many.example/.qmail-default = ./eve/Maildir/\\n./eve/Other/\\n",
	"alias.example -> example.org",
	"xn--bcher-kva.example/kafka/",
	"münchen.example/anna/",
	"outside.example -> ../..",
	"queue/mail/",
	"tls/mail/",
	"todo.example -> queue",
	".dot.example/alice/",
	"a-file.example = x",
}

func TestLookup(t *testing.T) {
	o, _ := newOffice(t, town...)
	for _, c := range []struct{ in, want, ext, to string }{
		{"alice@example.org", "alice@example.org", "", "alice@example.org"},
		{"ALICE@EXAMPLE.ORG", "alice@example.org", "", "alice@example.org"},
		{"alice+x@example.org", "alice@example.org", "x", "alice+x@example.org"},
		{"alice+x-y+z@example.org", "alice@example.org", "x-y+z", "alice+x-y+z@example.org"},
		{"bob-lists@example.org", "bob@example.org", "lists", "bob-lists@example.org"},
		{"bob-ross@example.org", "bob-ross@example.org", "", "bob-ross@example.org"},
		{"bob-ross+lists@example.org", "bob-ross@example.org", "lists", "bob-ross+lists@example.org"},
		{"carol-x-yz@example.org", "carol@example.org", "x-yz", "carol-x-yz@example.org"},
		{"dora-anything@example.org", "dora@example.org", "anything", "dora-anything@example.org"},
		{"J\u00dcRGEN@example.org", "j\u00fcrgen@example.org", "", "j\u00fcrgen@example.org"},
		{"ju\u0308rgen@example.org", "j\u00fcrgen@example.org", "", "j\u00fcrgen@example.org"},
		{`"a b"@example.org`, `"a b"@example.org`, "", `"a b"@example.org`},
		{"postmaster@example.org", "alice@example.org", "", "alice@example.org"},
		{"Postmaster", "alice@example.org", "", "alice@example.org"},
		{"info@example.org", "eve@example.com", "", "eve@example.com"},
		{"chain+x@example.org", "eve@example.com", "x", "eve+x@example.com"},
		{"alice@alias.example", "alice@example.org", "", "alice@example.org"},
		{"whoever@example.com", "eve@example.com", "whoever", "whoever@example.com"},
		{"eve-x@example.com", "eve@example.com", "eve-x", "eve-x@example.com"},
		{"Whoever@files.example", "eve@files.example", "whoever", "whoever@files.example"},
		{"x-y@forward.example", "x-y@forward.example", "x-y", "x-y@forward.example"},
		{"x@many.example", "x@many.example", "x", "x@many.example"},
		{"kafka@bücher.example", "kafka@xn--bcher-kva.example", "", "kafka@xn--bcher-kva.example"},
		{"kafka@xn--bcher-kva.example", "kafka@xn--bcher-kva.example", "", "kafka@xn--bcher-kva.example"},
		{"anna@xn--mnchen-3ya.example", "anna@münchen.example", "", "anna@münchen.example"},
		{"anna@MÜNCHEN.example", "anna@münchen.example", "", "anna@münchen.example"},
	} {
		m, err := o.Lookup(address(t, c.in))
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := m.Address.String(); got != c.want || m.Ext != c.ext || m.DeliveredTo().String() != c.to {
			t.Errorf("%s: got %s ext %q to %s, want %s %q %s", c.in, got, m.Ext, m.DeliveredTo(), c.want, c.ext, c.to)
		}
		m.Close()
	}
}

func TestLookupRefuses(t *testing.T) {
	o, _ := newOffice(t, town...)
	for _, c := range []struct {
		in   envelope.Address
		want string
	}{
		{envelope.Address{}, "550 5.1.1"},
		{address(t, "nobody@example.org"), "550 5.1.1"},
		{address(t, "bob-other@example.org"), "550 5.1.1"},
		{address(t, "bob-ross-x@example.org"), "550 5.1.1"},
		{address(t, "alice-x@example.org"), "550 5.1.1"},
		{address(t, "+alice@example.org"), "550 5.1.1"},
		{address(t, "passwd@example.org"), "550 5.1.1"},
		{address(t, `".hidden"@example.org`), "550 5.1.1"},
		{address(t, `"../example.com/eve"@example.org`), "550 5.1.1"},
		{address(t, `".."@example.org`), "550 5.1.1"},
		{address(t, `"alice/Maildir"@example.org`), "550 5.1.1"},
		{envelope.Address{Local: "a\nb", Domain: "example.org"}, "550 5.1.1"},
		{envelope.Address{Local: "\xff", Domain: "example.org"}, "550 5.1.1"},
		{envelope.Address{Local: strings.Repeat("x", 10_000), Domain: "example.org"}, "550 5.1.1"},
		{envelope.Address{Local: "abuse"}, "550 5.1.1"},
		{address(t, "x@elsewhere.example"), "550 5.1.2"},
		{address(t, "mail@queue"), "550 5.1.2"},
		{address(t, "mail@tls"), "550 5.1.2"},
		{address(t, "alice@[127.0.0.1]"), "550 5.1.2"},
		{envelope.Address{Local: "alice", Domain: ".dot.example"}, "550 5.1.2"},
		{envelope.Address{Local: "alice", Domain: "../x"}, "550 5.1.2"},
		{address(t, "alice@a-file.example"), "550 5.1.2"},
		{address(t, "outside@example.org"), "451 4.3.5"},
		{address(t, "absolute@example.org"), "451 4.3.5"},
		{address(t, "dangling@example.org"), "451 4.3.5"},
		{address(t, "circle@example.org"), "451 4.3.5"},
		{address(t, "deep@example.org"), "451 4.3.5"},
		{address(t, "toqueue@example.org"), "451 4.3.5"},
		{address(t, "x@nobody.example"), "451 4.3.5"},
		{address(t, "alice@outside.example"), "451 4.3.5"},
		{address(t, "mail@todo.example"), "451 4.3.5"},
	} {
		m, err := o.Lookup(c.in)
		if err == nil {
			t.Errorf("%s: found %s", c.in, m.Address)
			m.Close()
			continue
		}
		if got := status.Of(err).Line(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %s", c.in, got, c.want)
		}
		if notLocal := errors.Is(err, ErrNotLocal); notLocal != (c.want == "550 5.1.2") || IsNoUser(err) != (c.want == "550 5.1.1") {
			t.Errorf("%s: ErrNotLocal %v, IsNoUser %v", c.in, notLocal, IsNoUser(err))
		}
	}
}

func TestDomains(t *testing.T) {
	o, _ := newOffice(t, town...)
	for domain, want := range map[string]bool{
		"example.org": true, "EXAMPLE.org": true, "alias.example": true, "BÜCHER.example": true, "xn--mnchen-3ya.example": true,
		"queue": false, "tls": false, "todo.example": false, "outside.example": false, "": false, ".": false, "..": false,
		"elsewhere.example": false, "a-file.example": false,
	} {
		if got := o.HasDomain(domain); got != want {
			t.Errorf("HasDomain(%q) = %v", domain, got)
		}
	}
	got, err := o.Domains()
	want := []string{"example.com", "example.org", "files.example", "forward.example", "many.example",
		"münchen.example", "nobody.example", "xn--bcher-kva.example"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAnEmptyOfficeAcceptsNothing(t *testing.T) {
	o, _ := newOffice(t)
	for _, a := range []string{"alice@example.org", "postmaster", "x@localhost"} {
		if m, err := o.Lookup(address(t, a)); err == nil {
			t.Errorf("%s: found %s", a, m.Address)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); status.Of(err).Exit != int(status.Config) {
		t.Errorf("a missing office: %v", err)
	}
}

func TestInstructions(t *testing.T) {
	for _, c := range []struct {
		name, to string
		files    []string
		want     string // path, text and what default stands for, or the start of the error
	}{
		{"no file", "alice", nil, "||"},
		{"the usual", "alice", []string{".qmail = ./Maildir/\\n"}, "example.org/alice/.qmail|./Maildir/\n|"},
		{"before .forward", "alice", []string{".qmail = #", ".forward = bob"}, "example.org/alice/.qmail|#|"},
		{".forward", "alice", []string{".forward = bob"}, "example.org/alice/.forward|bob|"},
		{"plus takes the extension's file", "alice+x", []string{".qmail = a", ".qmail-x = b"}, "example.org/alice/.qmail-x|b|"},
		{"plus without its file", "alice+y", []string{".qmail = a", ".qmail-x = b"}, "example.org/alice/.qmail|a|"},
		{"dots become colons", "alice+v1.2", []string{".qmail-v1:2 = v"}, "example.org/alice/.qmail-v1:2|v|"},
		{"default of a part", "alice+a-b.c", []string{".qmail-a-default = ad", ".qmail-default = d"}, "example.org/alice/.qmail-a-default|ad|b.c"},
		{"default", "alice+b", []string{".qmail-a-default = ad", ".qmail-default = d"}, "example.org/alice/.qmail-default|d|b"},
		{"minus", "alice-x", []string{".qmail = a", ".qmail-x = x"}, "example.org/alice/.qmail-x|x|"},
		{"a directory", "alice", []string{".qmail/"}, `451 4.3.5 example.org/alice: ".qmail" is not a regular file`},
		{"a link out", "alice", []string{".qmail -> ../bob"}, "451"},
		{"too long", "alice", []string{".qmail = #" + strings.Repeat("x", maxInstructions)}, "451"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := []string{"example.org/alice/", "example.org/bob/"}
			for _, f := range c.files {
				lines = append(lines, "example.org/alice/"+f)
			}
			o, _ := newOffice(t, lines...)
			m, err := o.Lookup(address(t, c.to+"@example.org"))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			f, err := m.Instructions()
			got := f.Path + "|" + f.Text + "|" + f.Default
			if err != nil {
				got = status.Of(err).Line()
			}
			if got != c.want && !(err != nil && strings.HasPrefix(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Nobody writes into this FIFO: who opened it to read would wait for ever.
func TestInstructionsFIFO(t *testing.T) {
	for _, name := range []string{".qmail", ".forward"} {
		o, dir := newOffice(t, "example.org/alice/")
		if err := syscall.Mkfifo(filepath.Join(dir, "example.org/alice", name), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := o.Lookup(address(t, "alice@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Instructions(); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
		m.Close()
	}
}

// A home or a file that others may change, and a home on hold, make mail wait.
func TestInstructionsOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		mode os.FileMode
		want string
	}{
		"file":   {"example.org/alice/.qmail", 0o666, `".qmail" may be written to by everybody`},
		"home":   {"example.org/alice", 0o777, `may be written to by everybody`},
		"sticky": {"example.org/alice", 0o755 | os.ModeSticky, "on hold"},
	} {
		o, dir := newOffice(t, "example.org/alice/.qmail = #")
		if err := os.Chmod(filepath.Join(dir, c.path), c.mode); err != nil {
			t.Fatal(err)
		}
		m, err := o.Lookup(address(t, "alice@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Instructions()
		if err == nil || status.Of(err).Class != status.Temporary || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		m.Close()
	}
	o, dir := newOffice(t, "example.org/alice/.qmail = bob@example.net")
	if err := os.Chmod(filepath.Join(dir, "example.org/alice/.qmail"), 0o700); err != nil {
		t.Fatal(err)
	}
	m, _ := o.Lookup(address(t, "alice@example.org"))
	defer m.Close()
	if f, err := m.Instructions(); err != nil || !f.Exec {
		t.Errorf("executable: %+v, %v", f, err)
	}
}

func TestMaildirIsMadeAtFirstUse(t *testing.T) {
	o, dir := newOffice(t, town...)
	m, err := o.Lookup(address(t, "eve@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.Maildir()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m.Close()
	want := filepath.Join(dir, "example.com", "eve", "Maildir")
	if d.Path() != want {
		t.Errorf("path %q, want %q", d.Path(), want)
	}
	if list, err := d.Scan(); err != nil || len(list) != 0 {
		t.Errorf("scan after the mailbox was closed: %v, %v", list, err)
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range []string{"alice", "ALICE", "a/b", ".x", "ü", "u\u0308", "İ", "ǅ", "ﬁ", "\xff", "a\x00b", "\u212b", "Σς"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := fold(s)
		if !ok {
			return
		}
		if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00\n") || !utf8.ValidString(name) || !norm.NFC.IsNormalString(name) {
			t.Fatalf("fold(%q) = %q", s, name)
		}
		if again, ok := fold(name); !ok || again != name {
			t.Fatalf("fold(%q) = %q, and that folds to %q", s, name, again)
		}
	})
}
