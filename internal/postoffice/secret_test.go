package postoffice

import (
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/postoffice/crypt"
	"pennypost/internal/status"
)

// Hashes of "secret" made by libcrypt.
var foreign = map[string]string{
	"sha512":       "$6$saltsaltsalt$PMWE8DTlam1JU37Piyk43bHcMxTJq6sgu5DKB0/tGPjanN35jcY68QkpDfPFUGPWX5uCxIQkSPzMmqEiVNgts.",
	"sha512rounds": "$6$rounds=1000$saltsaltsalt$eX3bxJXT3.ujpABOqZ7ph4r9D9Fn0.qoDqJgZU6cTq8xPfk2.Fmq2bf1GgjAlb6X1QXE7sMOtwZRTxjI1OZvT1",
	"sha256":       "$5$saltsaltsalt$TihBZCRsJxAxHgKub.mCOdu9X7QLi980jJxe7T2aZg7",
	"bcrypt":       "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
	"yescrypt":     "$y$j75$saltsaltsalt$jyf/lxrpdyAIshWRo1x5DRC6KIE7sNRRtjcomR3PgHA",
}

func login(t *testing.T, o *Office, user, password string) string {
	t.Helper()
	m, err := o.Authenticate(user, password)
	if err != nil {
		return status.Of(err).Line()
	}
	defer m.Close()
	return m.Address.String()
}

const badLogin = "535 5.7.8 authentication failed"

func TestAuthenticateForeignHashes(t *testing.T) {
	lines := []string{}
	text := "# secrets\n\nnot a line\n"
	for name, hash := range foreign {
		lines = append(lines, "example.org/"+name+"/")
		text += name + ":" + hash + ":further:fields\n"
	}
	o, dir := newOffice(t, lines...)
	if err := os.WriteFile(filepath.Join(dir, "example.org", "passwd"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name := range foreign {
		if got, want := login(t, o, name+"@example.org", "secret"), name+"@example.org"; got != want {
			t.Errorf("%s: %s", name, got)
		}
		if got := login(t, o, name+"@example.org", "Secret"); got != badLogin {
			t.Errorf("%s with a wrong password: %s", name, got)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice/.qmail-x = ", "example.org/locked/", "example.org/star/", "example.org/empty/",
		"example.org/plain/", "example.org/scram/", "example.org/none/", "example.org/info -> alice", "example.org/.qmail-default -> alice",
		"example.org/broken -> nowhere")
	text := "locked:!$6$x$y\nstar:*\nempty:\nplain:$plaintext$secret\nscram:{SCRAM-SHA-256}4096,a,b,c\nghost:" + foreign["sha512"] + "\n"
	if err := os.WriteFile(filepath.Join(dir, "example.org", "passwd"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.SetSecret("alice@example.org", "secret"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ user, password, want string }{
		{"alice@example.org", "secret", "alice@example.org"},
		{"Alice@Example.ORG", "secret", "alice@example.org"},
		{"alice", "secret", "alice@example.org"},
		{"info@example.org", "secret", "alice@example.org"},
		{"alice@example.org", "secret ", badLogin},
		{"alice@example.org", "", badLogin},
		{"alice@example.org", strings.Repeat("x", 10_000), badLogin},
		{"alice+x@example.org", "secret", badLogin},
		{"alice-x@example.org", "secret", badLogin},
		{"whoever@example.org", "secret", badLogin},
		{"ghost@example.org", "secret", badLogin},
		{"alice@example.net", "secret", badLogin},
		{"none@example.org", "secret", badLogin},
		{"locked@example.org", "secret", badLogin},
		{"star@example.org", "*", badLogin},
		{"empty@example.org", "", badLogin},
		{"", "secret", badLogin},
		{"@", "secret", badLogin},
		{"../alice@example.org", "secret", badLogin},
		{"alice\x00@example.org", "secret", badLogin},
		{strings.Repeat("x", 10_000) + "@example.org", "secret", badLogin},
		{"plain@example.org", "secret", "454 4.7.0"},
		{"scram@example.org", "secret", "454 4.7.0"},
		{"broken@example.org", "secret", "451 4.3.5"},
	} {
		if got := login(t, o, c.user, c.password); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.40q %.40q: got %q, want %q", c.user, c.password, got, c.want)
		}
	}
}

func TestAuthenticateBareNameNeedsOneDomain(t *testing.T) {
	o, _ := newOffice(t, "example.org/alice/", "example.com/alice/", "alias.example -> example.org")
	if err := o.SetSecret("alice@alias.example", "secret"); err != nil {
		t.Fatal(err)
	}
	if got := login(t, o, "alice", "secret"); got != badLogin {
		t.Errorf("got %q", got)
	}
	if got := login(t, o, "alice@example.org", "secret"); got != "alice@example.org" {
		t.Errorf("got %q", got)
	}
}

// An unknown name costs what a known one with a wrong password costs.
func TestUnknownUserTakesAsLong(t *testing.T) {
	o, _ := newOffice(t, "example.org/alice/")
	if err := o.SetSecret("alice", "secret"); err != nil {
		t.Fatal(err)
	}
	cost := func(user string) time.Duration {
		start := time.Now()
		if got := login(t, o, user, "wrong"); got != badLogin {
			t.Fatal(got)
		}
		return time.Since(start)
	}
	for _, user := range []string{"nobody@example.org", "alice@elsewhere.example", "nobody", "a/b@example.org"} {
		// In turn, so that what else the machine does touches both, until the best of each are alike: they would never be, if
		// an unknown name were not checked against anything.
		known, unknown := time.Hour, time.Hour
		for range 20 {
			known, unknown = min(known, cost("alice@example.org")), min(unknown, cost(user))
			if unknown > known/2 && unknown < known*2 {
				break
			}
		}
		if unknown <= known/2 || unknown >= known*2 {
			t.Errorf("%s takes %v, a known user %v", user, unknown, known)
		}
	}
}

func TestSetSecret(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice/", "example.org/info -> alice", "example.org/bob/", "example.org/a:b/")
	passwd := filepath.Join(dir, "example.org", "passwd")
	old := "# a comment\nbob:$6$bob\nALICE:$6$old:more\nalice:{SCRAM-SHA-256}old\nodd line"
	if err := os.WriteFile(passwd, []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := o.SetSecret("info@example.org", "n\u00fc:w"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(passwd)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) != 5 || lines[0] != "# a comment" || lines[1] != "bob:$6$bob" || lines[3] != "odd line" || lines[4] != "" ||
		!strings.HasPrefix(lines[2], "alice:$6$rounds=50000$") {
		t.Errorf("passwd is %q", b)
	}
	if info, err := os.Stat(passwd); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(passwd + ".lock"); err == nil {
		t.Error("the lock is still there")
	}
	if got := login(t, o, "alice@example.org", "n\u00fc:w"); got != "alice@example.org" {
		t.Error(got)
	}
	for _, c := range []struct{ user, password string }{
		{"nobody@example.org", "x"}, {"alice@example.org", ""}, {"alice@example.org", "a\x00b"}, {"a:b@example.org", "x"},
		{"alice@example.org", strings.Repeat("x", 513)}, {strings.Repeat("x", 600), "x"}, {"alice@example.com", "x"},
	} {
		if err := o.SetSecret(c.user, c.password); err == nil {
			t.Errorf("SetSecret(%.30q, %.30q) succeeded", c.user, c.password)
		}
	}
	if now, _ := os.ReadFile(passwd); string(now) != string(b) {
		t.Error("a refused SetSecret changed passwd")
	}
}

func TestSetSecretAtTheSameTime(t *testing.T) {
	const n = 6
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("example.org/u%d/", i))
	}
	_, dir := newOffice(t, lines...)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			o, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer o.Close()
			o.Hashes = crypt.Hashes{}
			if err := o.SetSecret(fmt.Sprintf("u%d", i), "secret"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(filepath.Join(dir, "example.org", "passwd"))
	if err != nil || strings.Count(string(b), "\n") != n {
		t.Errorf("%v: %s", err, b)
	}
}

func TestPasswdTooLarge(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice/")
	passwd := filepath.Join(dir, "example.org", "passwd")
	if err := os.WriteFile(passwd, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(passwd, maxPasswd+1); err != nil {
		t.Fatal(err)
	}
	if got := login(t, o, "alice@example.org", "x"); !strings.HasPrefix(got, "451 4.3.5") {
		t.Errorf("got %q", got)
	}
	if err := o.SetSecret("alice@example.org", "x"); err == nil {
		t.Error("SetSecret succeeded")
	}
	if _, err := os.Stat(passwd + ".lock"); err == nil {
		t.Error("the lock is still there")
	}
}

func TestCertificate(t *testing.T) {
	_, dir := newOffice(t, "example.org/alice/")
	const n = 8
	var wg sync.WaitGroup
	got := make([]string, n)
	for i := range n {
		wg.Go(func() {
			o, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer o.Close()
			pair, err := o.Certificate("mail.example.org")
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = string(pair.Certificate[0])
		})
	}
	wg.Wait()
	for i := range n {
		if got[i] != got[0] {
			t.Errorf("certificate %d is another", i)
		}
	}
	leaf, err := x509.ParseCertificate([]byte(got[0]))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "mail.example.org", Roots: roots}); err != nil {
		t.Error(err)
	}
	for name, mode := range map[string]fs.FileMode{"tls": 0o700 | fs.ModeDir, "tls/key.pem": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if list, _ := os.ReadDir(filepath.Join(dir, "tls")); len(list) != 2 {
		t.Errorf("files in tls: %v", list)
	}
}

func TestCertificateNames(t *testing.T) {
	for name, want := range map[string]string{"127.0.0.1": "127.0.0.1", "": "localhost", "h.example": "h.example"} {
		o, _ := newOffice(t)
		pair, err := o.Certificate(name)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := leaf.VerifyHostname(want); err != nil {
			t.Error(err)
		}
	}
}

func TestCertificateThatIsBroken(t *testing.T) {
	for _, files := range [][]string{
		{"tls/cert.pem = nonsense", "tls/key.pem = nonsense"},
		{"tls/cert.pem = nonsense"},
		{"tls/key.pem = nonsense"},
		{"tls = a file"},
		{"tls -> ../elsewhere"},
	} {
		o, _ := newOffice(t, files...)
		if _, err := o.Certificate("h.example"); status.Of(err) == nil || status.Of(err).Exit != int(status.Config) {
			t.Errorf("%q: %v", files, err)
		}
	}
}

func FuzzPasswd(f *testing.F) {
	for _, s := range []string{"", "alice:x", "bob:y\nALICE:x:z\n#alice:w\n\nalice", ":\n::\n", "alice:\r\nbob"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		got := strings.Split(strings.TrimSuffix(string(withSecret(lines, "alice", "HASH")), "\n"), "\n")
		mine, theirs := 0, []string{}
		for _, line := range got {
			if name, hash, ok := splitSecret(line); ok && name == "alice" {
				mine++
				if hash != "HASH" {
					t.Fatalf("%q: hash %q", text, hash)
				}
				continue
			}
			theirs = append(theirs, line)
		}
		if mine != 1 {
			t.Fatalf("%q: %d lines for alice", text, mine)
		}
		for _, line := range lines {
			if name, _, ok := splitSecret(line); ok && name == "alice" {
				continue
			}
			if len(theirs) == 0 || theirs[0] != line {
				t.Fatalf("%q: line %q is lost or moved: %q", text, line, theirs)
			}
			theirs = theirs[1:]
		}
		if len(theirs) != 0 {
			t.Fatalf("%q: new lines %q", text, theirs)
		}
	})
}
