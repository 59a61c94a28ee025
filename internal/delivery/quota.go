package delivery

import (
	"errors"
	"path"
	"path/filepath"
	"strings"

	"pennypost/internal/maildir"
	"pennypost/internal/status"
)

// counted is a staged copy that counts towards the quota of a mailbox.
type counted struct {
	main *maildir.Dir
	size int64
}

// counts tells whether a copy by this instruction counts: what is thrown into the bin at once does not.
func counts(i Instruction) bool { return i.Folder != "Trash" && !strings.Contains(i.Flags, "T") }

// overQuota is the answer for a mailbox that is full: a temporary one, since its owner may make room, or what the operator
// prefers.
func (j *job) overQuota(err error) error {
	switch {
	case err == nil || !errors.Is(err, maildir.ErrQuota):
		return err
	case j.opt.RefuseFull:
		return status.Errorf(status.NoPerm, "the mailbox is full: %w", err).WithReply(552, "5.2.2")
	}
	return status.Errorf(status.TempFail, "the mailbox is full: %w", err).WithReply(452, "4.2.2")
}

// fits tells of a plan's Maildir that is full, as far as it is there already.
func (j *job) fits(p *Plan, i Instruction) error {
	if i.Kind != Maildir || !counts(i) {
		return nil
	}
	var dir *maildir.Dir
	if p.box != nil && !path.IsAbs(i.Arg) {
		root, err := p.box.Home().OpenRoot(i.Arg + "/.") // which does not wait for a FIFO
		if err != nil {
			return nil
		}
		dir = maildir.Open(root)
	} else {
		var err error
		if dir, err = maildir.OpenPath(filepath.FromSlash(i.Arg)); err != nil {
			return nil
		}
	}
	defer dir.Close()
	return j.overQuota(dir.Fits(j.opt.Quota, j.m.Size()))
}
