//go:build unix

package main

import (
	"os"
	"syscall"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// becomeOwner makes a process of root that of the mailboxes' owner, for good and before anything of his is opened. Recipients
// who are not there are left for the delivery to refuse. Homes of root leave it root, which runs no commands; homes of two
// owners cannot be served at once.
func (d *destination) becomeOwner(recipients []envelope.Address) error {
	if os.Geteuid() != 0 || d.find == nil {
		return nil
	}
	var owner *syscall.Stat_t
	for _, r := range recipients {
		box, err := d.find(r)
		if err != nil {
			continue
		}
		info, err := box.Home().Stat(".")
		box.Close()
		if err != nil {
			return status.Errorf(status.Config, "whose is the mailbox of %s: %w", r.Path(), err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok:
			return status.Errorf(status.OSErr, "whose is the mailbox of %s: not known here", r.Path())
		case owner != nil && (owner.Uid != st.Uid || owner.Gid != st.Gid):
			return status.Errorf(status.Config, "the mailboxes of these recipients have different owners: deliver to one at a time")
		}
		owner = st
	}
	if owner == nil || owner.Uid == 0 {
		return nil
	}
	return become(int(owner.Uid), int(owner.Gid))
}

// become gives up root: groups first, the user last.
func become(uid, gid int) error {
	err := syscall.Setgroups(nil)
	if err == nil {
		err = syscall.Setgid(gid)
	}
	if err == nil {
		err = syscall.Setuid(uid)
	}
	if err == nil && (os.Geteuid() != uid || os.Getegid() != gid || syscall.Setuid(0) == nil) {
		err = syscall.EPERM
	}
	if err != nil {
		return status.Errorf(status.OSErr, "become user %d: %w", uid, err)
	}
	syscall.Umask(0o077)
	return nil
}
