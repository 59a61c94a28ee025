package imap

import (
	"context"
	"fmt"
	"strings"

	"pennypost/internal/imap/wire"
	"pennypost/internal/maildir"
)

// copy is COPY and UID COPY (RFC 3501 section 6.4.7) with COPYUID (RFC 4315 section 3): all or none.
func (s *session) copy(c *command) error {
	rows, target, err := s.copyArgs(c)
	if err != nil {
		return err
	}
	defer target.Close()
	if len(rows) == 0 {
		return nil
	}
	c.code, err = s.box.copyTo(s.ctx, rows, target)
	return err
}

// copyArgs reads a set and a mailbox, and opens that.
func (s *session) copyArgs(c *command) ([]*row, *maildir.Dir, error) {
	if err := s.dec.SP(); err != nil {
		return nil, nil, err
	}
	set, err := s.dec.Set()
	if err != nil {
		return nil, nil, err
	}
	name, err := s.onlyMailbox()
	if err != nil {
		return nil, nil, err
	}
	picked, err := s.box.pick(set, c.uid)
	if err != nil {
		return nil, nil, err
	}
	rows := make([]*row, 0, len(picked))
	for _, n := range picked {
		rows = append(rows, s.box.msgs[n-1])
	}
	target, err := s.open(name, "TRYCREATE")
	return rows, target, err
}

// copyTo copies messages with flags and dates into target, durably, and returns the response code that tells
// the new UIDs. When it fails nothing is left in target.
func (b *mailbox) copyTo(ctx context.Context, rows []*row, target *maildir.Dir) (string, error) {
	var staged []*maildir.Staged
	abort := func() {
		for _, st := range staged {
			st.Abort()
		}
	}
	known := make(map[string]string) // flags here -> letters there
	for _, m := range rows {
		st, err := b.stage(ctx, m, target, known)
		if err != nil {
			abort()
			if notExist(err) {
				return "", no("EXPUNGEISSUED", "some messages are gone; nothing was copied")
			}
			return "", err
		}
		staged = append(staged, st)
	}
	if err := maildir.Commit(staged); err != nil {
		return "", err
	}
	x, err := target.Index(ctx, b.fresh)
	if err != nil {
		return "", err
	}
	return copyUID(x, rows, staged), nil
}

func (b *mailbox) stage(ctx context.Context, m *row, target *maildir.Dir, known map[string]string) (*maildir.Staged, error) {
	there, ok := known[m.entry.Flags]
	if !ok {
		var err error
		if there, err = letters(ctx, target, flagList(m.entry.Flags, &b.keywords)); err != nil {
			return nil, err
		}
		known[m.entry.Flags] = there
	}
	f, err := b.dir.OpenEntry(m.entry)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return target.Stage(f, maildir.StageOptions{Flags: there, Time: info.ModTime()})
}

// copyUID pairs the UIDs of source and copy. It is empty when another program took a copy away already.
func copyUID(x *maildir.Index, rows []*row, staged []*maildir.Staged) string {
	at := make(map[string]uint32, len(staged))
	for _, st := range staged {
		at[st.Key()] = 0
	}
	for _, m := range x.Messages {
		if _, ours := at[m.Key]; ours {
			at[m.Key] = m.UID
		}
	}
	var from, to strings.Builder
	for i, m := range rows {
		uid := at[staged[i].Key()]
		if uid == 0 {
			return ""
		}
		if i > 0 {
			from.WriteByte(',')
			to.WriteByte(',')
		}
		fmt.Fprintf(&from, "%d", m.uid)
		fmt.Fprintf(&to, "%d", uid)
	}
	return fmt.Sprintf("COPYUID %d %s %s", x.Validity, squeeze(from.String()), squeeze(to.String()))
}

// squeeze joins runs of a list of numbers, in which order counts.
func squeeze(list string) string {
	set, err := wire.ParseSet(list)
	if err != nil { // longer than a set may be
		return list
	}
	out := set[:0]
	for _, r := range set {
		if n := len(out); n > 0 && out[n-1].Hi+1 == r.Lo {
			out[n-1].Hi = r.Lo
			continue
		}
		out = append(out, r)
	}
	return out.String()
}
