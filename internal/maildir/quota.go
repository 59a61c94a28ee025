package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// ErrQuota says that a mailbox has no room for a message.
var ErrQuota = errors.New("over quota")

const (
	sizeFile    = "maildirsize"
	maxSizeFile = 5120             // bytes; a longer one is made anew
	freshSize   = 15 * time.Minute // within which a count of all messages is not repeated
	trashFolder = "Trash"          // does not count, nor do messages with the flag T
)

// A Quota is how much a mailbox may hold with its folders; 0 is no limit.
type Quota struct {
	Bytes, Messages int64
}

// ParseQuota reads "50M", "50M,1000C" or the form of Maildir++, "52428800S,1000C": octets, with K, M or G for 1024 of the unit
// before, and messages with C.
func ParseQuota(s string) (q Quota, err error) {
	for part := range strings.SplitSeq(s, ",") {
		digits := strings.TrimRight(part, "SCKMG")
		unit := part[len(digits):]
		n, perr := strconv.ParseInt(digits, 10, 64)
		to, shift := &q.Bytes, 0
		switch unit {
		case "", "S":
		case "K", "M", "G":
			shift = 10 * (1 + strings.Index("KMG", unit))
		case "C":
			to = &q.Messages
		default:
			perr = strconv.ErrSyntax
		}
		if perr != nil || n <= 0 || n > 1<<62>>shift || *to != 0 {
			return Quota{}, fmt.Errorf("%q is not a quota such as 50M or 50M,1000C", s)
		}
		*to = n << shift
	}
	return q, nil
}

// String is the first line of maildirsize.
func (q Quota) String() string {
	var parts []string
	if q.Bytes > 0 {
		parts = append(parts, strconv.FormatInt(q.Bytes, 10)+"S")
	}
	if q.Messages > 0 {
		parts = append(parts, strconv.FormatInt(q.Messages, 10)+"C")
	}
	return strings.Join(parts, ",")
}

func (q Quota) allows(u usage) bool {
	return (q.Bytes == 0 || u.bytes <= q.Bytes) && (q.Messages == 0 || u.messages <= q.Messages)
}

// usage is what a mailbox holds, or what is added to it.
type usage struct{ bytes, messages int64 }

func (u usage) plus(o usage) usage { return usage{u.bytes + o.bytes, u.messages + o.messages} }

// CheckQuota is an error that wraps ErrQuota when one more message of this size would not fit into the mailbox, of which d is
// the main Maildir, not a folder. The limit is want, which is then noted in maildirsize, or what maildirsize says when want is
// zero; without both there is none. The sum in that file is taken as it is while it allows the message; before the message is
// refused all messages are counted, unless that was done in the last quarter of an hour and none came or went since. This is
// the file of Maildir++, so other programs may share it; two deliveries at one time may together go over by one message.
func (d *Dir) CheckQuota(want Quota, size int64) error { return d.checkQuota(want, size, true) }

// Fits is CheckQuota that writes nothing.
func (d *Dir) Fits(want Quota, size int64) error { return d.checkQuota(want, size, false) }

func (d *Dir) checkQuota(want Quota, size int64, write bool) error {
	add := usage{size, 1}
	limit, used, fresh, err := d.readSize()
	if err != nil {
		return fmt.Errorf("quota of %q: %w", d.Path(), err)
	}
	stale := limit == Quota{} // nothing is known
	if want != (Quota{}) {
		stale = stale || limit != want
		limit = want
	}
	if limit == (Quota{}) {
		return nil
	}
	if stale || !limit.allows(used.plus(add)) && !fresh {
		if used, err = d.countAll(); err == nil && write {
			err = d.writeSize(limit, used)
		}
		if err != nil {
			return fmt.Errorf("quota of %q: %w", d.Path(), err)
		}
	}
	if !limit.allows(used.plus(add)) {
		return fmt.Errorf("%w: %d bytes in %d messages, and %d more are too many for %v", ErrQuota, used.bytes, used.messages, size, limit)
	}
	return nil
}

// CountMessage adds a message of this size to maildirsize, where there is one. It is no promise, and not synced: a count that
// is lost is made up for when all are counted.
func (d *Dir) CountMessage(size int64) {
	f, err := d.root.OpenFile(sizeFile, os.O_WRONLY|os.O_APPEND|noWait, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%d 1\n", size)
}

// readSize reads maildirsize. A file that is missing, damaged or too long, or that has no limit, is the zero limit. It is fresh
// when all messages were counted a short time ago and nothing has changed since.
func (d *Dir) readSize() (limit Quota, used usage, fresh bool, err error) {
	f, err := open(d.root, sizeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Quota{}, usage{}, false, nil
	}
	if err != nil {
		return Quota{}, usage{}, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Quota{}, usage{}, false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSizeFile+1))
	if err != nil {
		return Quota{}, usage{}, false, err
	}
	limit, used, lines := parseSize(text)
	counted := info.ModTime()
	return limit, used, lines <= 1 && time.Since(counted) < freshSize && !d.changedSince(counted), nil
}

// changedSince tells whether a message came or went in the mailbox or one of its folders after that time.
func (d *Dir) changedSince(then time.Time) bool {
	folders, err := d.Folders()
	if err != nil {
		return true
	}
	for _, name := range append(folders, "") {
		at := ""
		if name != "" {
			at = "." + name + "/"
		}
		for _, sub := range []string{subNew, subCur} {
			if info, err := d.root.Stat(at + sub); err == nil && info.ModTime().After(then) {
				return true
			}
		}
	}
	return false
}

// parseSize reads the text of maildirsize; lines are those after the first.
func parseSize(text []byte) (limit Quota, used usage, lines int) {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	limit, err := ParseQuota(strings.TrimRight(string(first), " \r"))
	if err != nil || len(text) > maxSizeFile {
		return Quota{}, usage{}, 0
	}
	for line := range strings.Lines(string(rest)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			return Quota{}, usage{}, 0
		}
		n, nerr := strconv.ParseInt(f[0], 10, 64)
		c, cerr := strconv.ParseInt(f[1], 10, 64)
		if nerr != nil || cerr != nil {
			return Quota{}, usage{}, 0
		}
		used = used.plus(usage{n, c})
		lines++
	}
	return limit, used, lines
}

// countAll adds up the messages of the mailbox and its folders.
func (d *Dir) countAll() (usage, error) {
	all, err := d.countOne()
	if err != nil {
		return usage{}, err
	}
	folders, err := d.Folders()
	if err != nil {
		return usage{}, err
	}
	for _, name := range folders {
		if name == trashFolder {
			continue
		}
		sub, err := d.Folder(name)
		if err != nil {
			continue // it was removed meanwhile
		}
		u, err := sub.countOne()
		sub.Close()
		if err != nil {
			return usage{}, err
		}
		all = all.plus(u)
	}
	return all, nil
}

// writeSize replaces maildirsize in one step.
func (d *Dir) writeSize(limit Quota, used usage) error {
	tmp := subTmp + "/" + uniqueName()
	text := fmt.Sprintf("%v\n%d %d\n", limit, used.bytes, used.messages)
	err := d.root.WriteFile(tmp, []byte(text), 0o600)
	if err == nil {
		err = d.ops.rename(d.root, tmp, sizeFile)
	}
	if err != nil {
		d.ops.remove(d.root, tmp)
	}
	return err
}

// countOne adds up the messages of one Maildir, by their names where these tell the size.
func (d *Dir) countOne() (u usage, err error) {
	for _, sub := range []string{subNew, subCur} {
		err := d.each(sub, func(e Entry) bool {
			if strings.Contains(e.Flags, "T") {
				return true
			}
			size := e.Size
			if size < 0 {
				info, err := d.root.Lstat(e.path())
				if err != nil {
					return true // gone
				}
				size = info.Size()
			}
			u = u.plus(usage{size, 1})
			return true
		})
		if err != nil {
			return usage{}, err
		}
	}
	return u, nil
}
