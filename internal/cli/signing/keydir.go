package signing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pennypost/internal/dkim"
	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// keyExt is how the name of a key file in a KeyDir ends.
const keyExt = ".pem"

// maxKeys is how many keys one domain may have in a KeyDir.
const maxKeys = 10

// KeyDir is a directory of private keys, each in a file DOMAIN/SELECTOR.pem; domains are in lower case and A-labels.
type KeyDir string

// ErrNoKey says that a KeyDir has no key for a domain.
var ErrNoKey = errors.New("there is no key")

// Find returns what to sign with for an author of a domain: the keys of the domain, in the order of their selectors, or those of
// the nearest domain above it that has any, but not of a top-level domain. Without any the error wraps ErrNoKey.
func (d KeyDir) Find(domain string) ([]dkim.SignOptions, error) {
	name, err := envelope.ParseDomain(domain)
	if err != nil || strings.HasPrefix(name, "[") {
		return nil, status.Errorf(status.Config, "%w for %q in %q", ErrNoKey, domain, string(d))
	}
	// A missing directory would look like one without keys.
	if _, err := os.Stat(string(d)); err != nil {
		return nil, status.Errorf(status.Config, "reading the keys: %w", err)
	}
	for rest := dkim.ASCII(name); strings.Contains(rest, "."); _, rest, _ = strings.Cut(rest, ".") {
		keys, err := d.exactly(rest)
		if err != nil || len(keys) > 0 {
			return keys, err
		}
	}
	return nil, status.Errorf(status.Config, "%w for %q in %q", ErrNoKey, name, string(d))
}

// exactly returns the keys of one domain.
func (d KeyDir) exactly(domain string) ([]dkim.SignOptions, error) {
	dir := filepath.Join(string(d), domain)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, status.Errorf(status.Config, "reading the keys: %w", err)
	}
	var keys []dkim.SignOptions
	for _, e := range entries {
		selector, isKey := strings.CutSuffix(e.Name(), keyExt)
		if !isKey || selector == "" || selector[0] == '.' {
			continue
		}
		if len(keys) == maxKeys {
			return nil, status.Errorf(status.Config, "more than %d keys in %q", maxKeys, dir)
		}
		o := dkim.SignOptions{Domain: domain, Selector: selector}
		if o.Key, err = ReadKey(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
		if err := o.Check(); err != nil {
			return nil, status.Errorf(status.Config, "%s: %w", filepath.Join(dir, e.Name()), err)
		}
		keys = append(keys, o)
	}
	return keys, nil
}

// Domains are the domains that have a directory, in their order.
func (d KeyDir) Domains() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, status.Errorf(status.Config, "reading the keys: %w", err)
	}
	var all []string
	for _, e := range entries {
		if name := e.Name(); e.IsDir() && dkim.CheckName(name, "x") == nil {
			all = append(all, name)
		}
	}
	return all, nil
}

// All are all the keys there are.
func (d KeyDir) All() ([]dkim.SignOptions, error) {
	domains, err := d.Domains()
	if err != nil {
		return nil, err
	}
	var all []dkim.SignOptions
	for _, domain := range domains {
		keys, err := d.exactly(domain)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	return all, nil
}

// private refuses a key file that others than owner and group can read or write.
func private(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o006 != 0 {
		return fmt.Errorf("everybody can read or change it (mode %04o): chmod o-rw it, and make a new key if it was seen", mode)
	}
	return nil
}
