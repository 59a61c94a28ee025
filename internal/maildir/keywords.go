package maildir

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	keywordsName = "dovecot-keywords"
	keywordsTmp  = "dovecot-keywords.tmp"
)

// Keywords are the names behind the letters a to z in file names; "" where a letter has none.
type Keywords [26]string

// ErrKeywordsFull says that all 26 letters have a name.
var ErrKeywordsFull = errors.New("no more keywords can be made in this mailbox")

// maxKeyword bounds a keyword in bytes.
const maxKeyword = 128

// ParseKeywords reads lines "<n> <keyword>". Lines that are something else are passed over; of two
// with one number the first counts.
func ParseKeywords(r io.Reader) Keywords {
	var k Keywords
	s := bufio.NewScanner(io.LimitReader(r, 64<<10))
	for s.Scan() {
		number, name, ok := strings.Cut(s.Text(), " ")
		n, err := strconv.Atoi(number)
		if ok && err == nil && n >= 0 && n < len(k) && k[n] == "" && validKeyword(name) && k.Letter(name) == 0 {
			k[n] = name
		}
	}
	return k
}

// validKeyword is an IMAP atom that is no system flag.
func validKeyword(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(`(){%*"\]`, s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxKeyword
}

// Letter returns the letter of a keyword, in any case of letters, or 0.
func (k *Keywords) Letter(name string) byte {
	for i, have := range k {
		if have != "" && strings.EqualFold(have, name) {
			return 'a' + byte(i)
		}
	}
	return 0
}

// Name returns the keyword of a letter, "" when it has none.
func (k *Keywords) Name(letter byte) string {
	if letter < 'a' || letter > 'z' {
		return ""
	}
	return k[letter-'a']
}

// Keywords reads the mailbox's keywords. None at all is no error.
func (d *Dir) Keywords() (Keywords, error) {
	f, err := open(d.root, keywordsName)
	if isNotExist(err) {
		return Keywords{}, nil
	}
	if err != nil {
		return Keywords{}, fmt.Errorf("read the keywords of %q: %w", d.Path(), err)
	}
	defer f.Close()
	return ParseKeywords(f), nil
}

// AddKeywords gives letters to those names that have none, durably, and returns all. ErrKeywordsFull
// when there are not enough letters, and an error for what cannot be a keyword; then nothing is changed. A
// letter that is used in file names but has no name is not given away.
func (d *Dir) AddKeywords(ctx context.Context, names []string) (Keywords, error) {
	k, err := d.Keywords()
	if err != nil || hasAll(&k, names) {
		return k, err
	}
	lock, err := d.lockUIDs(ctx)
	if err != nil {
		return k, err
	}
	defer lock.release()
	if k, err = d.Keywords(); err != nil {
		return k, err
	}
	used, err := d.usedLetters()
	if err != nil {
		return k, err
	}
	grown := k
	for _, name := range names {
		if err := grown.add(name, used); err != nil {
			return k, fmt.Errorf("add keyword %q in %q: %w", name, d.Path(), err)
		}
	}
	var b bytes.Buffer
	for i, name := range grown {
		if name != "" {
			fmt.Fprintf(&b, "%d %s\n", i, name)
		}
	}
	if err := d.replace(keywordsTmp, keywordsName, b.Bytes(), lock); err != nil {
		return k, fmt.Errorf("write the keywords of %q: %w", d.Path(), err)
	}
	return grown, nil
}

func hasAll(k *Keywords, names []string) bool {
	for _, n := range names {
		if k.Letter(n) == 0 {
			return false
		}
	}
	return true
}

func (k *Keywords) add(name string, used [26]bool) error {
	if !validKeyword(name) {
		return errors.New("it is no keyword")
	}
	if k.Letter(name) != 0 {
		return nil
	}
	for i := range k {
		if k[i] == "" && !used[i] {
			k[i] = name
			return nil
		}
	}
	return ErrKeywordsFull
}

// usedLetters tells which letters stand in file names.
func (d *Dir) usedLetters() (used [26]bool, err error) {
	entries, err := d.Scan()
	if err != nil {
		return used, err
	}
	for i := range entries {
		for _, c := range []byte(entries[i].Flags) {
			if c >= 'a' && c <= 'z' {
				used[c-'a'] = true
			}
		}
	}
	return used, nil
}
