package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// folderMark is the empty file by which delivery programs know a Maildir++ folder from a mailbox.
const folderMark = "maildirfolder"

// Folders lists the Maildir++ folders, sorted, by their names without the leading dot: "Sent", "A.B".
// A directory counts when its name starts with one dot and it has cur. The mailbox itself is not listed.
func (d *Dir) Folders() ([]string, error) {
	dir, err := open(d.root, ".")
	if err != nil {
		return nil, fmt.Errorf("list folders of %q: %w", d.Path(), err)
	}
	defer dir.Close()
	var names []string
	for {
		batch, err := dir.ReadDir(1024)
		for _, de := range batch {
			name, dotted := strings.CutPrefix(de.Name(), ".")
			if dotted && CheckFolder(name) == nil && isDir(d.root, de.Name()+"/"+subCur) {
				names = append(names, name)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list folders of %q: %w", d.Path(), err)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Folder opens a folder by its name without the leading dot; "" opens the mailbox itself a second time.
// The caller closes it. fs.ErrNotExist when there is none, fs.ErrInvalid for a name that cannot be one.
func (d *Dir) Folder(name string) (*Dir, error) {
	path := "."
	if name != "" {
		if err := CheckFolder(name); err != nil {
			return nil, fmt.Errorf("open folder %q: %w", name, err)
		}
		path = "." + name
		if !isDir(d.root, path+"/"+subCur) {
			return nil, fmt.Errorf("open folder %q: %w", name, fs.ErrNotExist)
		}
	}
	root, err := openDir(d.root, path)
	if err != nil {
		return nil, fmt.Errorf("open folder %q: %w", name, err)
	}
	return &Dir{root: root, ops: d.ops, path: filepath.Join(d.path, path)}, nil
}

// CreateFolder makes a folder and opens it. fs.ErrExist when it is there; a half-made one left by a crash
// is completed.
func (d *Dir) CreateFolder(name string) (*Dir, error) {
	if err := CheckFolder(name); err != nil {
		return nil, fmt.Errorf("create folder %q: %w", name, err)
	}
	path := "." + name
	if isDir(d.root, path+"/"+subCur) {
		return nil, fmt.Errorf("create folder %q: %w", name, fs.ErrExist)
	}
	if _, err := mkdir(d.root, path); err != nil {
		return nil, fmt.Errorf("create folder %q: %w", name, err)
	}
	f, err := d.root.OpenFile(path+"/"+folderMark, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create folder %q: %w", name, err)
	}
	f.Close()
	sub, err := Create(d.root, path)
	if err != nil {
		return nil, err
	}
	if err := d.ops.syncDir(d.root, "."); err != nil {
		sub.Close()
		return nil, fmt.Errorf("create folder %q: %w", name, err)
	}
	sub.ops = d.ops
	return sub.Named(filepath.Join(d.path, path)), nil
}

// CheckFolder refuses names that could not be read back or that lead elsewhere: parts are separated by
// '.', none is empty, and there is no '/' and no control byte.
func CheckFolder(name string) error {
	const most = 200
	switch {
	case name == "" || len(name) > most:
		return fmt.Errorf("%w: a name has 1 to %d bytes", fs.ErrInvalid, most)
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, ".."):
		return fmt.Errorf("%w: a part of the name is empty", fs.ErrInvalid)
	}
	for i := range len(name) {
		if c := name[i]; c == '/' || c < ' ' || c == 0x7f {
			return fmt.Errorf("%w: byte %q in the name", fs.ErrInvalid, c)
		}
	}
	return nil
}

// tmpAge is how old a file in tmp must be before Clean takes it (maildir(5)).
const tmpAge = 36 * time.Hour

// Clean removes files from tmp that no living delivery can be writing: older than 36 hours at now, by
// the time in their name and by their modification time, whichever is later. It returns how many.
func (d *Dir) Clean(now time.Time) (int, error) {
	n := 0
	err := d.each(subTmp, func(e Entry) bool {
		info, err := d.root.Lstat(e.path())
		if err != nil {
			return true
		}
		last := info.ModTime()
		if sec, _ := nameTime(e.Key); sec > last.Unix() {
			last = time.Unix(sec, 0)
		}
		if now.Sub(last) > tmpAge && d.ops.remove(d.root, e.path()) == nil {
			n++
		}
		return true
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("clean tmp of %q: %w", d.Path(), err)
	}
	return n, nil
}
