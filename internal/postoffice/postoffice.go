// Package postoffice answers who lives in the post office: which domains and mailboxes are here, what
// an address means, and whether a secret is right.
//
// It hides that all of this is a directory (postoffice(5)): a domain is a directory named like it, a
// mailbox a directory in that, an alias a symbolic link, and secrets are lines of DOMAIN/passwd. It
// guarantees that nothing outside the office is ever opened ([os.Root]), that a mistake of the operator
// (a broken link, an unreadable file) is a temporary error, and that an unknown user and a wrong
// password look the same. An empty office accepts nothing.
package postoffice

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// ErrNotLocal is wrapped by the error of Lookup for an address whose domain is not in the office.
var ErrNotLocal = errors.New("domain is not in the post office")

// errNoUser is wrapped by the error for a name that is not in its domain.
var errNoUser = errors.New("no such mailbox")

// maxName is the longest local part that is looked for; a file name must hold it.
const maxName = 200

// reserved are directories of the office that are no domains.
var reserved = []string{"queue", "tls", "greylist"}

// An Office is an open post office. Its methods may be used by several goroutines.
type Office struct {
	// Hashes has to be set before users log in by password or get a new one: crypt.Hashes.
	Hashes Hashes
	root   *os.Root
}

// Open opens the directory dir. That it is missing is a fault of the configuration, hence temporary.
func Open(dir string) (*Office, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, status.Errorf(status.Config, "open post office: %w", err)
	}
	return &Office{root: root}, nil
}

// Close gives the directory back. Mailboxes stay usable.
func (o *Office) Close() error { return o.root.Close() }

// Root is the office's directory; it stays the Office's.
func (o *Office) Root() *os.Root { return o.root }

// HasDomain tells whether mail for the domain is accepted. The domain may be in A-labels or U-labels and
// in any case. A directory that cannot be looked at counts as no.
func (o *Office) HasDomain(domain string) bool {
	_, err := o.domain(domain)
	return err == nil
}

// Domains lists the domains that are directories of their own, sorted; aliases of domains are left out.
func (o *Office) Domains() ([]string, error) {
	dir, err := o.root.Open(".")
	if err != nil {
		return nil, status.Errorf(status.Config, "list domains: %w", err)
	}
	defer dir.Close()
	var names []string
	for {
		batch, err := dir.ReadDir(256)
		for _, de := range batch {
			if info, err := o.root.Lstat(de.Name()); err == nil && info.IsDir() && isDomainName(de.Name()) {
				names = append(names, de.Name())
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, status.Errorf(status.Config, "list domains: %w", err)
		}
	}
	slices.Sort(names)
	return names, nil
}

// isDomainName tells whether a directory can be a domain by its name.
func isDomainName(name string) bool {
	if strings.HasPrefix(name, ".") || slices.Contains(reserved, name) {
		return false
	}
	folded, err := envelope.ParseDomain(name)
	return err == nil && folded == name
}

// domain finds the directory of a domain and returns its name after all links. Errors: a permanent one
// that wraps ErrNotLocal, or a temporary one.
func (o *Office) domain(domain string) (string, error) {
	notLocal := status.Errorf(status.NoHost, "%s: %w", status.Escape(domain, 300), ErrNotLocal)
	name, err := envelope.ParseDomain(domain)
	if err != nil || strings.HasPrefix(name, ".") {
		return "", notLocal
	}
	a := envelope.Address{Local: "postmaster", Domain: name}
	candidates := []string{name, a.Unicode().Domain}
	if ascii, err := a.ASCII(); err == nil {
		candidates = append(candidates, ascii.Domain)
	}
	for _, c := range slices.Compact(candidates) {
		if !isDomainName(c) {
			continue
		}
		path, info, err := resolve(o.root, "", c)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", err
		case !isDomainName(path):
			return "", status.Errorf(status.Config, "domain %q is a link to %q, which is no domain", c, path)
		case info.IsDir():
			return path, nil
		}
	}
	return "", notLocal
}

// resolve follows the symbolic links of a path by hand, so that the name at the end is known, and tells what is there. The path
// begins in dir below root, "" for root itself, which has no links in it. A path that is not there is fs.ErrNotExist; a link
// that leads nowhere, out of root or in a circle is a configuration error.
func resolve(root *os.Root, dir, path string) (string, fs.FileInfo, error) {
	const maxLinks = 16
	name := strings.TrimPrefix(dir+"/"+path, "/") // for errors
	var done []string
	if dir != "" {
		done = strings.Split(dir, "/")
	}
	var last fs.FileInfo // of done, nil when it was not looked at
	todo := strings.Split(path, "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(done) == 0 {
				return "", nil, status.Errorf(status.Config, "%q is a link that leaves the post office", name)
			}
			done, last = done[:len(done)-1], nil
			continue
		}
		at := strings.Join(append(done[:len(done):len(done)], part), "/")
		info, err := root.Lstat(at)
		if err != nil {
			return "", nil, resolveError(name, links, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done, last = append(done, part), info
			continue
		}
		if links++; links > maxLinks {
			return "", nil, status.Errorf(status.Config, "%q leads through more than %d links", name, maxLinks)
		}
		target, err := root.Readlink(at)
		if err != nil {
			return "", nil, resolveError(name, links, err)
		}
		if strings.HasPrefix(target, "/") {
			return "", nil, status.Errorf(status.Config, "%q is a link that leaves the post office: %q is absolute", name, target)
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	end := strings.Join(done, "/")
	if last == nil {
		var err error
		if last, err = root.Lstat(cmp.Or(end, ".")); err != nil {
			return "", nil, resolveError(name, 1, err)
		}
	}
	return end, last, nil
}

// resolveError keeps "not there" apart from the mistakes of the operator.
func resolveError(path string, links int, err error) error {
	switch {
	case links == 0 && (errors.Is(err, fs.ErrNotExist) || isNotDir(err)):
		return fs.ErrNotExist
	case errors.Is(err, fs.ErrNotExist) || isNotDir(err):
		// Not wrapped: for a caller "not there" would mean an unknown user.
		return status.Errorf(status.Config, "%q is a link that leads to nothing: %v", path, err)
	}
	return status.Errorf(status.Config, "look up %q: %w", path, err)
}

// fold gives the name under which a local part is looked for: lower case, NFC. It refuses what cannot be
// the name of a mailbox.
func fold(local string) (string, bool) {
	if local == "" || len(local) > maxName || !utf8.ValidString(local) {
		return "", false
	}
	name := norm.NFC.String(strings.ToLower(norm.NFC.String(local)))
	if name == "" || len(name) > maxName || name[0] == '.' || strings.ContainsRune(name, '/') ||
		strings.ContainsFunc(name, unicode.IsControl) {
		return "", false
	}
	return name, true
}
