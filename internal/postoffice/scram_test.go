package postoffice

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pennypost/internal/postoffice/crypt"
	"pennypost/internal/scram"
)

// scramOffice has users with a SCRAM secret, with another one, and with none.
func scramOffice(t *testing.T, passwd string) *Office {
	t.Helper()
	dir := t.TempDir()
	for _, user := range []string{"alice", "bob", "carol"} {
		if err := os.MkdirAll(filepath.Join(dir, "example.org", user), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "example.org", "passwd"), []byte(passwd), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Hashes = crypt.Hashes{}
	t.Cleanup(func() { o.Close() })
	return o
}

func secretOf(t *testing.T, password string) string {
	t.Helper()
	k, err := scram.Derive(password, []byte("a salt of sixteen"[:16]), 4096)
	if err != nil {
		t.Fatal(err)
	}
	return formatKeys(k)
}

func TestParseKeys(t *testing.T) {
	good := secretOf(t, "pencil")
	k, ok := parseKeys(good)
	if !ok || formatKeys(k) != good || !k.Match("pencil") || k.Match("pencil ") || k.Match("") {
		t.Errorf("%q: ok %v, printed as %q", good, ok, formatKeys(k))
	}
	part := strings.Split(strings.TrimPrefix(good, scramForm), ",")
	join := func(p ...string) string { return scramForm + strings.Join(p, ",") }
	for name, bad := range map[string]string{
		"empty":             "",
		"form alone":        scramForm,
		"no form":           strings.Join(part, ","),
		"other form":        strings.Replace(good, "256", "1", 1),
		"no iterations":     join("0", part[1], part[2], part[3]),
		"negative":          join("-1", part[1], part[2], part[3]),
		"too many":          join("10000001", part[1], part[2], part[3]),
		"not a number":      join("4096x", part[1], part[2], part[3]),
		"no salt":           join(part[0], "", part[2], part[3]),
		"not base64":        join(part[0], "!", part[2], part[3]),
		"short stored key":  join(part[0], part[1], "YQ==", part[3]),
		"short server key":  join(part[0], part[1], part[2], "YQ=="),
		"a field too many":  good + ",YQ==",
		"a field too few":   join(part[0], part[1], part[2]),
		"salt without end":  join(part[0], strings.Repeat("YWFh", 100), part[2], part[3]),
		"blank at the end":  good + " ",
		"blank in the form": strings.Replace(good, "}", "} ", 1),
	} {
		if k, ok := parseKeys(bad); ok {
			t.Errorf("%s: %q was taken as %v", name, bad, k)
		}
	}
}

// Who has no keys gets some that look like a neighbour's, the same ones each time, and whatever the case of the name.
func TestUnknownUsersLookLikeOthers(t *testing.T) {
	o := scramOffice(t, "alice:"+secretOf(t, "pencil")+"\n")
	real, err := o.ScramKeys("alice@example.org")
	if err != nil || !real.Match("pencil") {
		t.Fatalf("alice: %v", err)
	}
	seen := map[string]string{string(real.Salt): "alice"}
	for _, name := range []string{"bob@example.org", "nobody@example.org", "nobody@elsewhere.example", "no address", strings.Repeat("x", 5000)} {
		first, err := o.ScramKeys(name)
		if err != nil {
			t.Fatalf("%.30s: %v", name, err)
		}
		again, err := o.ScramKeys(strings.ToUpper(name))
		if err != nil || !bytes.Equal(first.Salt, again.Salt) || first.Iterations != again.Iterations {
			t.Errorf("%.30s: another salt the second time, %v", name, err)
		}
		if len(first.Salt) != len(real.Salt) || first.Iterations != real.Iterations || len(first.StoredKey) != len(real.StoredKey) {
			t.Errorf("%.30s: does not look like alice's: %v", name, first)
		}
		if other := seen[string(first.Salt)]; other != "" {
			t.Errorf("%.30s has the salt of %.30s", name, other)
		}
		seen[string(first.Salt)] = name
		if first.Match("") || first.Match("pencil") || reflect.DeepEqual(first.StoredKey, real.StoredKey) {
			t.Errorf("%.30s: a password fits keys that were made up", name)
		}
	}
}

func TestAllScram(t *testing.T) {
	scram := secretOf(t, "pencil")
	for name, tt := range map[string]struct {
		passwd string
		want   bool
	}{
		"nobody has a secret": {"", false},
		"one":                 {"alice:" + scram + "\n", true},
		"two":                 {"alice:" + scram + "\nbob:" + scram + "\n", true},
		"one of two":          {"alice:" + scram + "\nbob:$6$x$y\n", false},
		"both forms":          {"alice:$6$x$y\nalice:" + scram + "\n", true},
		"damaged":             {"alice:" + scramForm + "1,2,3\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := scramOffice(t, tt.passwd).AllScram(); got != tt.want || err != nil {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// What parses prints as itself, but for the numeral, and is within the bounds.
func FuzzParseKeys(f *testing.F) {
	f.Add("{SCRAM-SHA-256}4096,YQ==,YQ==,YQ==")
	f.Add("{SCRAM-SHA-256}1,YWFh,n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=,n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=")
	f.Fuzz(func(t *testing.T, s string) {
		k, ok := parseKeys(s)
		if !ok {
			return
		}
		again, ok := parseKeys(formatKeys(k))
		if !ok || !reflect.DeepEqual(k, again) || k.Iterations < 1 || k.Iterations > maxIterations || len(k.Salt) > maxSalt {
			t.Errorf("%q: %v, printed and read as %v", s, k, again)
		}
	})
}
