package postoffice

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

const (
	maxPasswd   = 4 << 20 // bytes of DOMAIN/passwd
	maxPassword = 512     // bytes of a password
	maxLogin    = 512     // bytes of a login name
)

// Hashes knows the hashes of crypt(5). It stands apart because only programs that let users in have need of it.
type Hashes interface {
	// Matcher returns how a password is compared with a hash; ok is false for one that it does not know.
	Matcher(hash string) (match func(password string) bool, ok bool)
	// Make is a new hash of a password.
	Make(password string) (string, error)
	// Dummy is a hash like those of Make that belongs to nobody.
	Dummy() string
}

// errBadLogin is the one answer to a wrong name and to a wrong password.
func errBadLogin() error {
	return status.Errorf(status.NoPerm, "authentication failed").WithReply(535, "5.7.8")
}

// Authenticate checks a password against the secret of user, USER@DOMAIN in any case, or an alias of it;
// the domain may be left out when the office has exactly one. Extensions and catch-alls do not log in.
//
// A name that is unknown and a password that is wrong give the same error, 535 5.7.8, after the same
// work: the hash of another user of the domain, or one made like those of SetSecret, is computed for
// nothing. Trouble with the files is a temporary error. The caller closes the mailbox. Hashes must be set.
func (o *Office) Authenticate(user, password string) (*Mailbox, error) {
	if len(user) > maxLogin || len(password) > maxPassword {
		o.burn(nil, "")
		return nil, errBadLogin()
	}
	m, domain, err := o.account(user)
	if err != nil && status.Of(err).Class != status.Permanent {
		return nil, err
	}
	if err != nil {
		var lines []string
		if domain != "" {
			lines, _ = o.readPasswd(domain)
		}
		o.burn(lines, password)
		return nil, errBadLogin()
	}
	if err := o.check(m, password); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// account finds the mailbox of a login name; domain is set as far as it is known.
func (o *Office) account(user string) (m *Mailbox, domain string, err error) {
	name, host := user, ""
	if i := strings.LastIndexByte(user, '@'); i >= 0 {
		name, host = user[:i], user[i+1:]
		domain, err = o.domain(host)
	} else {
		domain, err = o.onlyDomain()
	}
	if err != nil {
		return nil, "", err
	}
	a := envelope.Address{Local: name, Domain: domain}
	local, ok := fold(name)
	if !ok {
		return nil, domain, noUser(a)
	}
	path, err := o.user(domain, local)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, domain, noUser(a)
	}
	if err != nil {
		return nil, domain, err
	}
	m, err = o.open(path, 0, "")
	return m, domain, err
}

func (o *Office) onlyDomain() (string, error) {
	domains, err := o.Domains()
	if err != nil {
		return "", err
	}
	if len(domains) != 1 {
		return "", status.Errorf(status.NoUser, "a name without a domain, and the office has %d domains", len(domains))
	}
	return domains[0], nil
}

// check compares the password with the mailbox's secret. Of several lines for the name the first that this
// version can read counts.
func (o *Office) check(m *Mailbox, password string) error {
	lines, err := o.readPasswd(m.Address.Domain)
	if err != nil {
		return err
	}
	unreadable := false
	for _, line := range lines {
		name, hash, ok := splitSecret(line)
		if !ok || name != m.Address.Local || locked(hash) {
			continue
		}
		match, ok := o.matcher(hash)
		if !ok {
			unreadable = true
			continue
		}
		if !match(password) || password == "" {
			return errBadLogin()
		}
		return nil
	}
	if unreadable {
		return status.Errorf(status.Config, "secret of %s is of a kind that this version cannot check", m.Address).WithReply(454, "4.7.0")
	}
	o.burn(lines, password)
	return errBadLogin()
}

// locked tells whether a hash is one that no password has, as in shadow(5).
func locked(hash string) bool { return hash == "" || hash[0] == '!' || hash[0] == '*' }

// splitSecret reads a line NAME:HASH; further fields, as in shadow(5), are left out. ok is false for
// comments and what is no such line. A secret in the form {PLAIN} has everything up to the end of the line.
func splitSecret(line string) (name, hash string, ok bool) {
	name, hash, ok = strings.Cut(line, ":")
	if !ok || name == "" || name[0] == '#' {
		return "", "", false
	}
	folded, ok := fold(name)
	if strings.HasPrefix(hash, plainForm) {
		return folded, strings.TrimSuffix(hash, "\r"), ok
	}
	hash, _, _ = strings.Cut(hash, ":")
	return folded, strings.TrimSpace(hash), ok
}

// burn does the work of a check for nothing, with the first hash of lines that can be read.
func (o *Office) burn(lines []string, password string) {
	match, _ := o.matcher(o.Hashes.Dummy())
	for _, line := range lines {
		if _, hash, ok := splitSecret(line); ok && !locked(hash) {
			if m, ok := o.matcher(hash); ok {
				match = m
				break
			}
		}
	}
	match(password)
}

// readPasswd returns the lines of DOMAIN/passwd, none when there is no such file.
func (o *Office) readPasswd(domain string) ([]string, error) {
	f, err := o.root.Open(domain + "/passwd")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, status.Errorf(status.Config, "read secrets: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPasswd+1))
	if err != nil {
		return nil, status.Errorf(status.Config, "read secrets of %s: %w", domain, err)
	}
	if len(text) > maxPasswd {
		return nil, status.Errorf(status.Config, "secrets of %s are longer than %d bytes", domain, maxPasswd)
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	if len(text) == 0 {
		return nil, nil
	}
	return strings.Split(string(text), "\n"), nil
}

// SetSecret gives user (a login name as for Authenticate) a new password, or its first one: DOMAIN/passwd
// is written anew under the lock file passwd.lock, mode 0600, and replaced in one step. All old lines of
// the name go, every other line stays as it is. The mailbox must exist. Passwords have 1 to 512 bytes and
// no NUL, and for SCRAM none of what SASLprep (RFC 4013) forbids.
func (o *Office) SetSecret(user, password string) error { return o.SetSecretAs(Crypt, user, password) }

// Form is how a new secret is kept.
type Form uint8

const (
	Crypt Form = iota // a hash of crypt(5), as Hashes makes them
	Scram             // the keys of SCRAM-SHA-256, by which a password can be checked too
)

func (o *Office) makeSecret(form Form, password string) (string, error) {
	if form == Scram {
		return makeKeys(password)
	}
	return o.Hashes.Make(password)
}

// SetSecretAs is SetSecret with a choice of the form.
func (o *Office) SetSecretAs(form Form, user, password string) error {
	switch {
	case password == "":
		return status.Errorf(status.Data, "set password of %q: it is empty", user)
	case len(password) > maxPassword:
		return status.Errorf(status.Data, "set password of %q: it is longer than %d bytes", user, maxPassword)
	case strings.ContainsRune(password, 0):
		return status.Errorf(status.Data, "set password of %q: it holds a NUL", user)
	case len(user) > maxLogin:
		return status.Errorf(status.NoUser, "set password: a name of %d bytes", len(user))
	}
	m, _, err := o.account(user)
	if err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	defer m.Close()
	if strings.ContainsRune(m.Address.Local, ':') {
		return status.Errorf(status.Data, "set password of %s: a name with ':' cannot stand in passwd", m.Address)
	}
	hash, err := o.makeSecret(form, password)
	if err != nil {
		return status.Errorf(status.Data, "set password of %s: %w", m.Address, err)
	}
	if err := o.replaceSecret(m.Address, hash); err != nil {
		return fmt.Errorf("set password of %s: %w", m.Address, err)
	}
	return nil
}

// replaceSecret rewrites the domain's passwd with the line for a.
func (o *Office) replaceSecret(a envelope.Address, hash string) error {
	return o.rewrite(a.Domain+"/passwd", func() ([]byte, error) {
		lines, err := o.readPasswd(a.Domain)
		if err != nil {
			return nil, err
		}
		return withSecret(lines, a.Local, hash), nil
	})
}

// withSecret is the text of a passwd in which the one line for the name stands where its first was, or at the end.
func withSecret(lines []string, name, hash string) []byte {
	var b bytes.Buffer
	placed := false
	place := func() {
		if !placed {
			fmt.Fprintf(&b, "%s:%s\n", name, hash)
		}
		placed = true
	}
	for _, line := range lines {
		if n, _, ok := splitSecret(line); ok && n == name {
			place()
			continue
		}
		b.WriteString(line + "\n")
	}
	place()
	return b.Bytes()
}
