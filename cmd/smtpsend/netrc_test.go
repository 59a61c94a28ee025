package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestNetrc(t *testing.T) {
	tests := []struct {
		name, text string
		host, user string
		want       netrcEntry
		err        string
	}{
		{"one line", "machine mx.example login me password secret\n", "MX.example", "", netrcEntry{"mx.example", "me", "secret"}, ""},
		{"the right machine", "machine a login x password 1\nmachine b\n\tlogin y\n\taccount z\n\tpassword 2", "b", "", netrcEntry{"b", "y", "2"}, ""},
		{"the right user", "machine a login x password 1 machine a login y password 2", "a", "y", netrcEntry{"a", "y", "2"}, ""},
		{"the default", "machine a login x password 1\ndefault login y password 2", "b", "", netrcEntry{"", "y", "2"}, ""},
		{"quotes", `machine a login "x y" password "\"\\ "`, "a", "", netrcEntry{"a", "x y", `"\ `}, ""},
		{"remarks and a macro", "# machine a login no password no\nmachine a login x\nmacdef init\nmachine a login no\n\npassword 1", "a", "", netrcEntry{"a", "x", "1"}, ""},
		{"nobody", "machine a login x password 1", "b", "", netrcEntry{}, `no login for machine "b"`},
		{"another user", "machine a login x password 1", "a", "y", netrcEntry{}, "no login"},
		{"an odd word", "machine a secret x", "a", "", netrcEntry{}, "not the form of netrc"},
		{"a value before a machine", "login x", "a", "", netrcEntry{}, "not the form of netrc"},
		{"an open quote", `machine a password "x`, "a", "", netrcEntry{}, "not closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "netrc")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readNetrc(file, tt.host, tt.user)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %+v, %v, want %+v, %s", got, err, tt.want, tt.err)
			}
			os.Chmod(file, 0o640)
			if _, err := readNetrc(file, tt.host, tt.user); err == nil || !strings.Contains(err.Error(), "others may read it") {
				t.Errorf("mode 640: got %v, want a refusal", err)
			}
		})
	}
}

// Entries written with all values in quotes are read as the same ones.
func FuzzNetrc(f *testing.F) {
	f.Add("machine a login x password 1\ndefault login \"y\\\" \" password 2")
	f.Add("macdef x\n\nmachine # a\nlogin")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseNetrc(text)
		if err != nil {
			return
		}
		var b strings.Builder
		quoted := strings.NewReplacer(`"`, `\"`, `\`, `\\`)
		for _, e := range entries {
			b.WriteString(`machine "` + quoted.Replace(e.machine) + `" login "` + quoted.Replace(e.user) + `" password "` + quoted.Replace(e.password) + "\"\n")
		}
		again, err := parseNetrc(b.String())
		if err != nil || !reflect.DeepEqual(again, entries) {
			t.Errorf("%q: %v, %v, want %v", b.String(), again, err, entries)
		}
	})
}
