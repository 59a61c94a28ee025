// Package signing reads what DKIM signing by a program needs from its flags.
package signing

import (
	"crypto"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"pennypost/internal/cli"
	"pennypost/internal/dkim"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// maxKeyFile is far more than a private key has.
const maxKeyFile = 64 << 10

// ReadKey reads a private key in PEM, which not everybody may read. Whatever is wrong with it is the operator's mistake, and so temporary for the message.
func ReadKey(file string) (crypto.Signer, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, status.Errorf(status.Config, "reading the private key: %w", err)
	}
	defer f.Close()
	if err := private(f); err != nil {
		return nil, status.Errorf(status.Config, "reading the private key %q: %w", file, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, status.Errorf(status.Config, "reading the private key: %w", err)
	}
	key, err := dkim.ParsePrivateKey(data)
	if err != nil {
		return nil, status.Errorf(status.Config, "reading the private key %q: %w", file, err)
	}
	return key, nil
}

// Parse reads DOMAIN:SELECTOR:FILE, for a signature as mailauth sign makes it without further flags.
func Parse(spec string) (dkim.SignOptions, error) {
	domain, rest, _ := strings.Cut(spec, ":")
	selector, file, _ := strings.Cut(rest, ":")
	o := dkim.SignOptions{Domain: domain, Selector: selector}
	if domain == "" || selector == "" || file == "" {
		return o, cli.Usagef("%q: want DOMAIN:SELECTOR:KEYFILE", spec)
	}
	var err error
	if o.Key, err = ReadKey(file); err != nil {
		return o, err
	}
	if err := o.Check(); err != nil {
		return o, cli.Usagef("%q: %w", spec, err)
	}
	return o, nil
}

// Sign puts a signature of each on top of m, the last one uppermost, with the time now.
func Sign(m *message.Message, all []dkim.SignOptions, now time.Time) (*message.Message, error) {
	for _, o := range all {
		o.Time = now
		field, err := dkim.Sign(m, o)
		if err != nil {
			return nil, fmt.Errorf("signing for %q: %w", o.Domain, err)
		}
		m = dkim.Prepend(m, field)
	}
	return m, nil
}
