package postoffice

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/status"
)

// A Mailbox is one home directory in the office. Close it.
type Mailbox struct {
	Address envelope.Address // the mailbox itself, USER@DOMAIN, after all aliases
	Ext     string           // what stood behind '+' or '-', or the whole local part for a catch-all
	Private bool             // not of an office: its instructions may name files anywhere

	to   envelope.Address // the address looked for, folded, aliases followed
	sep  byte             // '+', '-', '*' for a catch-all, '@' for one that is the domain's own, 0 for none
	path string           // DOMAIN/USER below the office, or DOMAIN
	dir  string           // the office's own path
	root *os.Root
}

// Lookup finds the mailbox for an address. The local part is folded to lower case and NFC. Tried in turn:
// the name itself; the longest mailbox before a '+', or before a '-' where the mailbox has a
// .qmail-EXT for it; the domain's catch-all. A bare postmaster (RFC 5321 section 4.5.1) is the postmaster
// of the first domain that has one, or else the first catch-all.
//
// The error is a *status.Error: 550 5.1.2 wrapping ErrNotLocal when the domain is not here, 550 5.1.1 when
// the user is not, and a temporary one for whatever is wrong with the office.
func (o *Office) Lookup(a envelope.Address) (*Mailbox, error) {
	if a.IsNull() {
		return nil, noUser(a)
	}
	if a.Domain == "" {
		return o.postmaster(a)
	}
	domain, err := o.domain(a.Domain)
	if err != nil {
		return nil, err
	}
	local, ok := fold(a.Local)
	if !ok {
		return nil, noUser(a)
	}
	return o.find(a, domain, local)
}

// IsNoUser tells whether err says that the domain is here and the user is not.
func IsNoUser(err error) bool { return errors.Is(err, errNoUser) }

func noUser(a envelope.Address) error {
	return status.Errorf(status.NoUser, "%s: %w", status.Escape(a.Path(), 300), errNoUser)
}

func (o *Office) postmaster(a envelope.Address) (*Mailbox, error) {
	domains, err := o.Domains()
	if err != nil {
		return nil, err
	}
	local, ok := fold(a.Local)
	if !ok || local != "postmaster" {
		return nil, noUser(a)
	}
	for _, d := range domains {
		if path, err := o.user(d, local); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return nil, err
			}
			return o.open(path, 0, "")
		}
	}
	for _, d := range domains {
		m, err := o.catchAll(d, local)
		if !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
	}
	return nil, noUser(a)
}

// find looks for the folded name in a domain directory; a is the address for the error.
func (o *Office) find(a envelope.Address, domain, local string) (*Mailbox, error) {
	path, err := o.user(domain, local)
	if err == nil {
		return o.open(path, 0, "")
	}
	for i := len(local) - 1; i > 0 && errors.Is(err, fs.ErrNotExist); i-- {
		sep := local[i]
		if sep != '+' && sep != '-' {
			continue
		}
		if path, err = o.user(domain, local[:i]); err != nil {
			continue
		}
		m, err := o.open(path, sep, local[i+1:])
		if err != nil || sep == '+' || m.hasExtension() {
			return m, err
		}
		m.Close()
		break
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m, err := o.catchAll(domain, local)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noUser(a)
	}
	return m, err
}

// user returns the path of a mailbox after all links, fs.ErrNotExist when there is none of that name.
func (o *Office) user(domain, name string) (string, error) {
	path, info, err := resolve(o.root, domain, name)
	if err != nil {
		return "", err
	}
	d, _, _ := strings.Cut(path, "/")
	if strings.Count(path, "/") != 1 || !isDomainName(d) {
		return "", status.Errorf(status.Config, "%q is a link to %q, which is no mailbox", domain+"/"+name, path)
	}
	if !info.IsDir() {
		return "", fs.ErrNotExist
	}
	return path, nil
}

// catchAll is who gets what nobody else does by the domain's .qmail-default. A link to a mailbox and the one line
// ./USER/Maildir/ name that mailbox; any other text makes the domain's directory itself a mailbox for the local part, whose
// instructions the file is. fs.ErrNotExist when there is no such file.
func (o *Office) catchAll(domain, local string) (*Mailbox, error) {
	file := domain + "/" + catchAllFile
	path, info, err := resolve(o.root, domain, catchAllFile)
	if err != nil {
		return nil, err
	}
	user := ""
	if info.IsDir() {
		domain, user, _ = strings.Cut(path, "/")
	} else {
		found := Instructions{Name: file}
		if err := found.read(o.root, path); err != nil {
			return nil, err
		}
		if user = catchAllUser(found.Text); user == "" {
			return o.openDomain(domain, local)
		}
	}
	if name, ok := fold(user); !ok || name != user {
		return nil, status.Errorf(status.Config, "catch-all %q: %q cannot be a mailbox", file, user)
	}
	target, err := o.user(domain, user)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, status.Errorf(status.Config, "catch-all %q: there is no mailbox %q", file, user)
	}
	if err != nil {
		return nil, err
	}
	return o.open(target, '*', local)
}

// openDomain makes the Mailbox of a catch-all that has instructions of its own.
func (o *Office) openDomain(domain, local string) (*Mailbox, error) {
	root, err := o.root.OpenRoot(domain)
	if err != nil {
		return nil, status.Errorf(status.Config, "open domain %q: %w", domain, err)
	}
	a := envelope.Address{Local: local, Domain: domain}
	return &Mailbox{Address: a, Ext: local, sep: '@', to: a, path: domain, dir: o.root.Name(), root: root}, nil
}

// open makes the Mailbox for a resolved path.
func (o *Office) open(path string, sep byte, ext string) (*Mailbox, error) {
	root, err := o.root.OpenRoot(path)
	if err != nil {
		return nil, status.Errorf(status.Config, "open mailbox %q: %w", path, err)
	}
	domain, user, _ := strings.Cut(path, "/")
	m := &Mailbox{Address: envelope.Address{Local: user, Domain: domain}, Ext: ext, sep: sep, path: path,
		dir: o.root.Name(), root: root}
	m.to = m.Address
	switch sep {
	case '+', '-':
		m.to.Local += string(sep) + ext
	case '*':
		m.to.Local = ext
	}
	return m, nil
}

// OpenHome makes a Mailbox of the home directory dir of somebody who has no office, for mail to a. What stands behind a '+' or
// '-' of the local part chooses instructions as in an office.
func OpenHome(dir string, a envelope.Address) (*Mailbox, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, status.Errorf(status.Config, "open home: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, status.Errorf(status.Config, "open home: %w", err)
	}
	m := &Mailbox{Address: a, Private: true, to: a, path: ".", dir: dir, root: root}
	if i := strings.IndexAny(a.Local, "+-"); i > 0 {
		m.Address.Local, m.Ext, m.sep = a.Local[:i], strings.ToLower(a.Local[i+1:]), '+'
	}
	return m, nil
}

// DeliveredTo is the address a delivery is for, folded, with its extension, for the Delivered-To field.
func (m *Mailbox) DeliveredTo() envelope.Address { return m.to }

// Home is the mailbox's directory; it stays the Mailbox's.
func (m *Mailbox) Home() *os.Root { return m.root }

// Path is the path of Home.
func (m *Mailbox) Path() string { return filepath.Join(m.dir, filepath.FromSlash(m.path)) }

// Close gives the directory back; Maildirs that were opened stay open.
func (m *Mailbox) Close() error { return m.root.Close() }

// Maildir opens the mailbox's Maildir, made when missing. The caller closes it.
func (m *Mailbox) Maildir() (*maildir.Dir, error) { return m.OpenMaildir(defaultMaildir) }

// OpenMaildir opens a Maildir below Home, made when missing. The caller closes it.
func (m *Mailbox) OpenMaildir(name string) (*maildir.Dir, error) {
	d, err := maildir.Create(m.root, name)
	if err != nil {
		return nil, status.Of(fmt.Errorf("mailbox %s: %w", m.Address, err))
	}
	return d.Named(filepath.Join(m.Path(), name)), nil
}
