package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	defaultNetrc = "~/.netrc"
	maxNetrc     = 1 << 20 // bytes of the file
)

// netrcEntry is what stands in a netrc file for a machine, "" for the default.
type netrcEntry struct{ machine, user, password string }

// readNetrc finds the entry for a host, of that user when one is named. The file must be readable by its owner only.
func readNetrc(name, host, user string) (netrcEntry, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return netrcEntry{}, err
		}
		name = filepath.Join(home, rest)
	}
	f, err := os.Open(name)
	if err != nil {
		return netrcEntry{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return netrcEntry{}, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return netrcEntry{}, fmt.Errorf("%s has mode %03o: others may read it, want 600", name, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxNetrc))
	if err != nil {
		return netrcEntry{}, err
	}
	entries, err := parseNetrc(string(text))
	if err != nil {
		return netrcEntry{}, fmt.Errorf("%s: %w", name, err)
	}
	for _, e := range entries {
		if (e.machine == "" || strings.EqualFold(e.machine, host)) && (user == "" || e.user == user) && e.user != "" {
			return e, nil
		}
	}
	return netrcEntry{}, fmt.Errorf("%s: no login for machine %q", name, host)
}

// parseNetrc reads the words of a netrc file: machine NAME or default, then login, password and account with their values;
// macdef runs up to an empty line. A value in double quotes may hold blanks, and \ before a quote or itself.
func parseNetrc(text string) ([]netrcEntry, error) {
	var entries []netrcEntry
	for {
		word, rest, err := netrcWord(text)
		if err != nil {
			return nil, err
		}
		if word == "" {
			return entries, nil
		}
		if text = rest; word == "default" {
			entries = append(entries, netrcEntry{})
			continue
		}
		value, rest, err := netrcWord(text)
		if err != nil {
			return nil, err
		}
		if text = rest; word == "macdef" {
			_, text, _ = strings.Cut(text, "\n\n")
			continue
		}
		if word == "machine" {
			entries = append(entries, netrcEntry{machine: value})
			continue
		}
		if len(entries) == 0 || !entries[len(entries)-1].set(word, value) {
			return nil, errors.New("not the form of netrc: want machine, login, password, account") // the word may be a password
		}
	}
}

func (e *netrcEntry) set(word, value string) bool {
	switch word {
	case "login":
		e.user = value
	case "password":
		e.password = value
	case "account":
	default:
		return false
	}
	return true
}

// netrcWord takes the next word off; "" is the end. A remark is a word that begins with # and all behind it on its line.
func netrcWord(text string) (word, rest string, err error) {
	const blanks = " \t\r\n"
	for {
		if text = strings.TrimLeft(text, blanks); !strings.HasPrefix(text, "#") {
			break
		}
		_, text, _ = strings.Cut(text, "\n")
	}
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, blanks)
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], nil
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("a quote is not closed")
}
