package maildir

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Names of the files that keep UIDs. The second is Courier's and only read, when the first is missing.
const (
	uidListName    = "dovecot-uidlist"
	uidListTmp     = "dovecot-uidlist.tmp"
	uidListBackup  = "dovecot-uidlist.bak"
	uidListCourier = "courierimapuiddb"
)

// maxUID is the largest UID given out; the file form asks for less than 2^32-1.
const maxUID = math.MaxUint32 - 2

// A UIDRecord gives a UID to the message whose file name begins with Name.
type UIDRecord struct {
	UID    uint32
	Name   string   // the message's Key
	Fields []string // a letter and its value: W123, P..., kept as they are
}

// A UIDList is the content of dovecot-uidlist, version 3: which message has which UID.
type UIDList struct {
	Validity uint32      // 0 when the file told none
	Next     uint32      // the next UID to give; never 0, above every UID in Records
	GUID     string      // 32 hexadecimal digits or ""
	Extra    []string    // header fields of others
	Records  []UIDRecord // ascending by UID, each name once
	Damaged  bool        // something did not parse; what did is here
	version  int
	lines    int // records in the file, those replaced by later ones too
	byName   map[string]uint32
}

// UID returns the message's UID, 0 when it has none yet.
func (l *UIDList) UID(key string) uint32 { return l.byName[key] }

// maxUIDLine bounds a line of the file; a longer one counts as damage.
const maxUIDLine = 8 << 10

// ParseUIDList reads versions 1 (which is also courierimapuiddb) and 3. Damage is no error: every line
// that parses counts, the rest only raises Next so that no UID is given twice. Errors are those of r.
func ParseUIDList(r io.Reader) (*UIDList, error) {
	l := &UIDList{Next: 1, byName: make(map[string]uint32)}
	br := bufio.NewReaderSize(r, maxUIDLine)
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			l.Damaged = true
			for err == bufio.ErrBufferFull {
				_, err = br.ReadSlice('\n')
			}
			line = nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		whole := err == nil
		text := strings.TrimSuffix(string(line), "\n")
		switch {
		case first:
			l.parseHeader(text, whole)
		case text != "" || whole:
			l.parseRecord(text, whole)
		}
		if err == io.EOF {
			l.arrange()
			return l, nil
		}
	}
}

func (l *UIDList) parseHeader(line string, whole bool) {
	version, rest, _ := strings.Cut(line, " ")
	fields := strings.Fields(rest)
	l.version = 3
	if version == "1" && len(fields) == 2 {
		l.version, fields = 1, []string{"V" + fields[0], "N" + fields[1]}
	} else if version != "3" {
		l.Damaged = true
	}
	for _, f := range fields {
		n, err := strconv.ParseUint(f[1:], 10, 32)
		switch {
		case f[0] == 'V' && err == nil && n != 0:
			l.Validity = uint32(n)
		case f[0] == 'N' && err == nil && n != 0 && n <= maxUID+1:
			l.Next = uint32(n)
		case f[0] == 'G' && isGUID(f[1:]):
			l.GUID = f[1:]
		case f[0] == 'V' || f[0] == 'N' || f[0] == 'G':
			l.Damaged = true
		default:
			l.Extra = append(l.Extra, f)
		}
	}
	if l.Validity == 0 || !whole {
		l.Damaged = true
	}
}

func isGUID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// parseRecord reads `<uid>[ <K><value>]... :<name>`, or `<uid> <name>` in version 1.
func (l *UIDList) parseRecord(line string, whole bool) {
	number, rest, hasName := strings.Cut(line, " ")
	uid, err := strconv.ParseUint(number, 10, 32)
	if err != nil || uid == 0 || uid > maxUID || !hasName {
		l.Damaged = true
		return
	}
	if !whole { // written half: the UID may have been seen, the name is not all there
		l.Damaged = true
		l.raise(uint32(uid))
		return
	}
	rec := UIDRecord{UID: uint32(uid)}
	name := rest
	if l.version == 3 {
		var fields string
		fields, name, hasName = strings.Cut(" "+rest, " :")
		rec.Fields = strings.Fields(fields)
	}
	rec.Name, _, _ = splitName(name)
	if !hasName || rec.Name == "" || strings.ContainsAny(rec.Name, "/\x00") {
		l.Damaged = true
		l.raise(rec.UID)
		return
	}
	l.Records = append(l.Records, rec)
}

// raise keeps a UID of a damaged line from being given again, unless the line is so far off that the
// number can only be damage too.
func (l *UIDList) raise(uid uint32) {
	const plausible = 1 << 20
	if uid >= l.Next && uid-l.Next < plausible {
		l.Next = uid + 1
	}
}

// arrange sorts, lets the later record of a name win, and sees that Next is above all.
func (l *UIDList) arrange() {
	l.lines = len(l.Records)
	ascending := func(a, b UIDRecord) int { return cmp.Compare(a.UID, b.UID) }
	if !slices.IsSortedFunc(l.Records, ascending) {
		l.Damaged = true
		slices.SortStableFunc(l.Records, ascending)
	}
	kept := l.Records[:0]
	for _, r := range l.Records {
		if n := len(kept); n > 0 && kept[n-1].UID == r.UID {
			l.Damaged = true
			continue
		}
		kept = append(kept, r)
		l.byName[r.Name] = r.UID
	}
	l.Records = slices.DeleteFunc(kept, func(r UIDRecord) bool { return l.byName[r.Name] != r.UID })
	if n := len(l.Records); n > 0 {
		l.Next = max(l.Next, l.Records[n-1].UID+1)
	}
}

// add gives the message the next UID.
func (l *UIDList) add(key string) (UIDRecord, error) {
	if l.Next > maxUID {
		return UIDRecord{}, errors.New("all UIDs are used up")
	}
	r := UIDRecord{UID: l.Next, Name: key}
	l.Next++
	l.Records = append(l.Records, r)
	l.byName[key] = r.UID
	return r, nil
}

// AppendText writes the list in the form of version 3.
func (l *UIDList) AppendText(b []byte) ([]byte, error) {
	b = fmt.Appendf(b, "3 V%d N%d", l.Validity, l.Next)
	if l.GUID != "" {
		b = append(b, " G"+l.GUID...)
	}
	for _, x := range l.Extra {
		b = append(b, " "+x...)
	}
	b = append(b, '\n')
	for _, r := range l.Records {
		b = r.append(b)
	}
	return b, nil
}

func (r UIDRecord) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(r.UID), 10)
	for _, f := range r.Fields {
		b = append(b, " "+f...)
	}
	return append(append(append(b, " :"...), r.Name...), '\n')
}

// readUIDList reads the list without the lock: it is only ever appended to or replaced. nil when there
// is none.
func (d *Dir) readUIDList() (*UIDList, error) {
	for _, name := range []string{uidListName, uidListCourier} {
		f, err := open(d.root, name)
		if isNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		l, err := ParseUIDList(f)
		if err == nil && name == uidListCourier {
			l.version = 1
		}
		return l, err
	}
	return nil, nil
}

// writeUIDList replaces the file under the lock. The old one of a damaged list is kept beside it.
func (d *Dir) writeUIDList(l *UIDList, lock *uidLock) error {
	if l.Damaged {
		if err := d.backup(); err != nil {
			return err
		}
	}
	text, err := l.AppendText(nil)
	if err != nil {
		return err
	}
	if err := d.replace(uidListTmp, uidListName, text, lock); err != nil {
		return err
	}
	l.Damaged, l.version, l.lines = false, 3, len(l.Records)
	return nil
}

// backup gives the present list a second name, in place of an older backup.
func (d *Dir) backup() error {
	if err := d.ops.remove(d.root, uidListBackup); err != nil && !isNotExist(err) {
		return err
	}
	err := d.ops.link(d.root, uidListName, uidListBackup)
	if isNotExist(err) {
		return nil
	}
	return err
}

// replace writes a small state file so that either the old or the new one is there, whole.
func (d *Dir) replace(tmp, name string, text []byte, lock *uidLock) error {
	if err := d.ops.remove(d.root, tmp); err != nil && !isNotExist(err) {
		return err
	}
	f, err := d.ops.create(d.root, tmp)
	if err != nil {
		return err
	}
	_, err = d.ops.write(f, text)
	if err == nil {
		err = d.ops.sync(f)
	}
	if cerr := d.ops.close(f); err == nil {
		err = cerr
	}
	if err == nil {
		err = lock.check()
	}
	if err == nil {
		err = d.ops.rename(d.root, tmp, name)
	}
	if err != nil {
		return errors.Join(err, removed(d.ops.remove(d.root, tmp)))
	}
	return d.ops.syncDir(d.root, ".")
}

// removed is the error of a removal, but nil when there was nothing to remove.
func removed(err error) error {
	if isNotExist(err) {
		return nil
	}
	return err
}

// appendUIDs adds records to the end of the file under the lock, in one write.
func (d *Dir) appendUIDs(records []UIDRecord, lock *uidLock) error {
	f, err := d.root.OpenFile(uidListName, appendFlags, 0o600)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, r := range records {
		b.Write(r.append(nil))
	}
	if err = lock.check(); err == nil {
		_, err = d.ops.write(f, b.Bytes())
	}
	if err == nil {
		err = d.ops.sync(f)
	}
	if cerr := d.ops.close(f); err == nil {
		err = cerr
	}
	return err
}
