package postoffice

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"pennypost/internal/scram"
	"pennypost/internal/status"
)

const (
	scramForm = "{SCRAM-SHA-256}" // ITERATIONS,SALT,STOREDKEY,SERVERKEY, the last three in base64
	plainForm = "{PLAIN}"         // the password itself, up to the end of the line

	scramIterations = 100_000 // of new secrets: some 30 ms a login, for client or server
	maxIterations   = 10_000_000
	maxSalt         = 255
)

// parseKeys reads a secret that begins with scramForm.
func parseKeys(secret string) (k scram.Keys, ok bool) {
	text, ok := strings.CutPrefix(secret, scramForm)
	field := strings.Split(text, ",")
	if !ok || len(field) != 4 {
		return scram.Keys{}, false
	}
	n, err := strconv.Atoi(field[0])
	if err != nil || n < 1 || n > maxIterations {
		return scram.Keys{}, false
	}
	var b [3][]byte
	for i := range b {
		if b[i], err = base64.StdEncoding.DecodeString(field[i+1]); err != nil {
			return scram.Keys{}, false
		}
	}
	k = scram.Keys{Salt: b[0], Iterations: n, StoredKey: b[1], ServerKey: b[2]}
	return k, len(k.Salt) > 0 && len(k.Salt) <= maxSalt && len(k.StoredKey) == sha256.Size && len(k.ServerKey) == sha256.Size
}

// formatKeys is the secret as it stands in passwd.
func formatKeys(k scram.Keys) string {
	enc := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d,%s,%s,%s", scramForm, k.Iterations, enc(k.Salt), enc(k.StoredKey), enc(k.ServerKey))
}

// makeKeys is a new secret for a password.
func makeKeys(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	k, err := scram.Derive(password, salt, scramIterations)
	return formatKeys(k), err
}

// Account finds the mailbox of a login name, as Authenticate does, for somebody who has proved by other means than a password
// to be the user. A name that is unknown is the error of a wrong password. The caller closes the mailbox.
func (o *Office) Account(user string) (*Mailbox, error) {
	if len(user) > maxLogin {
		return nil, errBadLogin()
	}
	m, _, err := o.account(user)
	if err != nil && status.Of(err).Class == status.Permanent {
		return nil, errBadLogin()
	}
	return m, err
}

// ScramKeys returns the keys of a user for SCRAM-SHA-256. For a name that is unknown, and a user who has no such secret, it
// makes up keys that nobody can match; they look like those of the first user of the domain (or else of the office) who has
// some, and are the same each time. Trouble with the files is a temporary error.
func (o *Office) ScramKeys(user string) (scram.Keys, error) {
	if len(user) > maxLogin {
		user = user[:maxLogin] // there is no such user
	}
	m, domain, err := o.account(user)
	if err != nil && status.Of(err).Class != status.Permanent {
		return scram.Keys{}, err
	}
	var lines []string
	if domain != "" {
		if lines, err = o.readPasswd(domain); err != nil {
			if m != nil {
				m.Close()
			}
			return scram.Keys{}, err
		}
	}
	if m != nil {
		defer m.Close()
		if k, ok := findKeys(lines, func(name string) bool { return name == m.Address.Local }); ok {
			return k, nil
		}
	}
	return o.madeUp(user, lines)
}

// findKeys returns the first keys of a name that is wanted.
func findKeys(lines []string, want func(name string) bool) (scram.Keys, bool) {
	for _, line := range lines {
		if name, secret, ok := splitSecret(line); ok && want(name) {
			if k, ok := parseKeys(secret); ok {
				return k, true
			}
		}
	}
	return scram.Keys{}, false
}

// madeUp makes keys for a name of which there are none, modelled on those of lines.
func (o *Office) madeUp(user string, lines []string) (scram.Keys, error) {
	anybody := func(string) bool { return true }
	model, ok := findKeys(lines, anybody)
	if !ok {
		domains, err := o.Domains()
		if err != nil {
			return scram.Keys{}, err
		}
		for i := 0; !ok && i < len(domains); i++ {
			if lines, err = o.readPasswd(domains[i]); err != nil {
				return scram.Keys{}, err
			}
			model, ok = findKeys(lines, anybody)
		}
	}
	if !ok {
		return scram.Keys{}, errBadLogin()
	}
	folded, _ := fold(user)
	salt := pseudorandom(model.ServerKey, "salt", folded)
	for len(salt) < len(model.Salt) {
		salt = append(salt, pseudorandom(model.ServerKey, "more", string(salt))...)
	}
	k := scram.Keys{Salt: salt[:len(model.Salt)], Iterations: model.Iterations, StoredKey: make([]byte, sha256.Size), ServerKey: make([]byte, sha256.Size)}
	rand.Read(k.StoredKey)
	rand.Read(k.ServerKey)
	return k, nil
}

func pseudorandom(key []byte, what, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(what + "\x00" + text))
	return mac.Sum(nil)
}

// AllScram tells whether every user of the office who has a secret has one for SCRAM-SHA-256, and there is one at all. Only
// then is it fair to offer that mechanism: a client takes the best that is offered, and does not try another.
func (o *Office) AllScram() (bool, error) {
	domains, err := o.Domains()
	if err != nil {
		return false, err
	}
	some := false
	for _, domain := range domains {
		lines, err := o.readPasswd(domain)
		if err != nil {
			return false, err
		}
		users := map[string]bool{}
		for _, line := range lines {
			if name, secret, ok := splitSecret(line); ok && !locked(secret) {
				_, good := parseKeys(secret)
				users[name] = users[name] || good
			}
		}
		for _, good := range users {
			if !good {
				return false, nil
			}
			some = true
		}
	}
	return some, nil
}

// Cleartext returns the password of a user whose secret is in the form {PLAIN}; for anybody else the error is that of a wrong
// password.
func (o *Office) Cleartext(user string) (string, error) {
	m, err := o.Account(user)
	if err != nil {
		return "", err
	}
	defer m.Close()
	lines, err := o.readPasswd(m.Address.Domain)
	if err != nil {
		return "", err
	}
	for _, line := range lines {
		name, secret, ok := splitSecret(line)
		if password, plain := strings.CutPrefix(secret, plainForm); ok && plain && name == m.Address.Local && password != "" {
			return password, nil
		}
	}
	return "", errBadLogin()
}

// matcher returns how a password is compared with a secret; ok is false for a secret of a kind that this version does not
// know.
func (o *Office) matcher(secret string) (match func(password string) bool, ok bool) {
	if plain, is := strings.CutPrefix(secret, plainForm); is {
		return func(password string) bool { return plain != "" && hmac.Equal([]byte(plain), []byte(password)) }, true
	}
	if k, is := parseKeys(secret); is {
		return k.Match, true
	}
	return o.Hashes.Matcher(secret)
}
