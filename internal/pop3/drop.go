package pop3

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"pennypost/internal/maildir"
)

// drop is the mailbox as it was when the session began (RFC 1939 section 4).
// Message n is items[n-1] until the session ends.
type drop struct{ items []*item }

type item struct {
	entry   maildir.Entry
	size    int64 // with CRLF line ends
	uid     string
	deleted bool
}

func openDrop(d *maildir.Dir) (*drop, error) {
	entries, err := d.Scan()
	if err != nil {
		return nil, err
	}
	m := &drop{}
	for _, e := range entries {
		size, err := d.VSize(e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, err
		}
		m.items = append(m.items, &item{entry: e, size: size})
	}
	m.name()
	return m, nil
}

// name gives the messages their unique-ids. Two files whose names differ only in
// the sizes get ids made of the whole names.
func (d *drop) name() {
	count := map[string]int{}
	for _, it := range d.items {
		it.uid = uniqueID(it.entry.Key)
		count[it.uid]++
	}
	for _, it := range d.items {
		if count[it.uid] > 1 {
			it.uid = hashID(it.entry.Key)
		}
	}
}

// maxUID is the length of a unique-id (RFC 1939 section 7).
const maxUID = 70

// uniqueID makes the unique-id of a message from the unchanging part of its file
// name: without the sizes, which some programs add later, and hashed if the rest
// is too long or has bytes that an id cannot have.
func uniqueID(key string) string {
	id := withoutSizes(key)
	if id == "" || len(id) > maxUID {
		return hashID(id)
	}
	for i := range len(id) {
		if id[i] < 0x21 || id[i] > 0x7e {
			return hashID(id)
		}
	}
	return id
}

func hashID(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// withoutSizes takes the fields ,S=NUMBER and ,W=NUMBER out of a key.
func withoutSizes(key string) string {
	parts := strings.Split(key, ",")
	kept := parts[:1]
	for _, p := range parts[1:] {
		number, ok := strings.CutPrefix(p, "S=")
		if !ok {
			number, ok = strings.CutPrefix(p, "W=")
		}
		if !ok || number == "" || strings.Trim(number, "0123456789") != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ",")
}

// message finds the message that an argument names. It is nil if there is none or it is marked as deleted.
func (d *drop) message(arg string) *item {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil || n == 0 || n > uint64(len(d.items)) || d.items[n-1].deleted {
		return nil
	}
	return d.items[n-1]
}

// each calls f for the messages that are not marked as deleted.
func (d *drop) each(f func(n int, it *item)) {
	for i, it := range d.items {
		if !it.deleted {
			f(i+1, it)
		}
	}
}

func (d *drop) total() (count int, size int64) {
	d.each(func(_ int, it *item) {
		count++
		size += it.size
	})
	return count, size
}
