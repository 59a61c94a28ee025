// Package internal_test holds the checks that are about the whole tree.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// layers says which packages stand on which. A package may import only packages of lower layers; what stands in one line
// does not import each other. A name covers the packages below it (imap covers imap/wire), which may import each other.
var layers = []string{
	"lazy",
	"status dialog scram",
	"envelope message",
	"resolver serve handoff maildir mailindex mbox mh dbox",
	"smtp pop3 imap route spf dkim arc dmarc queue postoffice sasl",
	"policy mailauth delivery relay",
	"cli",
}

// beside are the imports within a line that are meant: a set of ARC is two signatures of DKIM with other tags.
var beside = map[string]string{"arc": "dkim"}

// only says who may know a library: a package with those below it, or one directory of a package.
var only = map[string][]string{
	"github.com/spf13/cobra":              {"cli", "cmd"},
	"github.com/spf13/pflag":              {"cli", "cmd"},
	"github.com/d--j/go-milter":           {"policy/milter"},
	"github.com/miekg/dns":                {"resolver"},
	"github.com/pires/go-proxyproto":      {"serve"},
	"github.com/coreos/go-systemd":        {"serve"},
	"github.com/go-crypt":                 {"postoffice/crypt"},
	"github.com/landlock-lsm":             {"cli"},
	"kernel.org/pub/linux":                {"cli"},
	"github.com/xdg-go":                   {}, // an oracle in tests
	"github.com/emersion/go-mbox":         {}, // an oracle in tests
	"github.com/emersion/go-smtp":         {}, // a peer in tests
	"github.com/emersion/go-imap":         {}, // a peer in tests
	"github.com/emersion/go-msgauth":      {"dkim"},
	"blitiri.com.ar/go/spf":               {}, // a second opinion in tests
	"gopkg.in/yaml.v3":                    {}, // conformance data in tests
	"net/http":                            {"route/sts"},
	"pennypost/internal/mailtest":         {},
	"github.com/rogpeppe/go-internal":     {},
	"github.com/schollz/progressbar":      {"cmd"},
	"github.com/emersion/go-message/mail": {},
}

func TestLayers(t *testing.T) {
	rank := map[string]int{}
	for i, line := range layers {
		for _, name := range strings.Fields(line) {
			rank[name] = i
		}
	}
	seen := 0
	each(t, func(file, room string, imports []string) {
		seen++
		mine, ok := rank[room]
		if room == "cmd" {
			mine, ok = len(layers), true
		}
		if !ok {
			t.Errorf("%s: package %s is not in the table of layers", file, room)
			return
		}
		for _, path := range imports {
			checkLibrary(t, file, room, path)
			inner, ok := strings.CutPrefix(path, "pennypost/")
			if !ok {
				continue
			}
			other := roomOf(inner)
			if other == room && room != "cmd" || other == beside[room] {
				continue
			}
			if r, ok := rank[other]; !ok || r >= mine {
				t.Errorf("%s: %s imports %s, which is not below it", file, room, path)
			}
		}
	})
	if seen < 20 {
		t.Errorf("only %d files were looked at", seen)
	}
}

func checkLibrary(t *testing.T, file, room, path string) {
	for lib, rooms := range only {
		if path != lib && !strings.HasPrefix(path, lib+"/") {
			continue
		}
		allowed := false
		for _, r := range rooms {
			allowed = allowed || r == room || strings.HasPrefix(filepath.ToSlash(file), r+"/")
		}
		if !allowed {
			t.Errorf("%s: %s imports %s, which only %v may", file, room, path, rooms)
		}
	}
}

// each calls f for every Go file that is not a test; mailtest is for tests only and left out.
func each(t *testing.T, f func(file, room string, imports []string)) {
	t.Helper()
	for _, top := range []string{"../cmd", "."} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
			if err != nil {
				return err
			}
			var imports []string
			for _, spec := range parsed.Imports {
				p, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				imports = append(imports, p)
			}
			slash := filepath.ToSlash(strings.TrimPrefix(path, "../"))
			if top == "." {
				slash = "internal/" + slash
			}
			if room := roomOf(slash); room != "mailtest" {
				f(path, room, imports)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// roomOf is the name in the table: the directory below internal, or cmd.
func roomOf(path string) string {
	parts := strings.Split(path, "/")
	if parts[0] == "cmd" || len(parts) < 2 {
		return "cmd"
	}
	return parts[1]
}
