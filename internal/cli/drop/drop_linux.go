package drop

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"pennypost/internal/status"
)

// systemFiles are what name resolution and clocks read; those that do not exist are left out.
var systemFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/localtime", "/etc/passwd", "/etc/group"}

var systemDirs = []string{"/usr/share/zoneinfo", "/etc/ssl", "/run/systemd/resolve"}

// confine does what the flags ask for, for all threads: first the files, since the paths may be closed to the new user; then
// groups and user; and no program that is run gets back what was given up.
func (d *Options) confine() error {
	var id identity
	if d.runAs != "" {
		var err error
		if id, err = identify(d.runAs); err != nil {
			return err
		}
	}
	if d.sandbox {
		if err := d.restrict(); err != nil {
			return status.Errorf(status.OSErr, "keep to the office: %w", err)
		}
	}
	if d.runAs != "" {
		if err := id.become(); err != nil {
			return status.Errorf(status.OSErr, "run as %q: %w", d.runAs, err)
		}
	}
	if _, _, e := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return status.Errorf(status.OSErr, "give up new privileges: %w", e)
	}
	return nil
}

// restrict leaves the files in which the program works. A kernel without Landlock restricts nothing.
func (d *Options) restrict() error {
	return landlock.V6.BestEffort().RestrictPaths(
		landlock.RWDirs(d.write...).WithRefer().IgnoreIfMissing(),
		landlock.RODirs(d.read...).IgnoreIfMissing(),
		landlock.ROFiles(systemFiles...).IgnoreIfMissing(),
		landlock.RODirs(systemDirs...).IgnoreIfMissing(),
		landlock.RWFiles(os.DevNull).IgnoreIfMissing(),
	)
}

// become changes groups and user for good. A process that is not root can only stay what it is.
func (id identity) become() error {
	if os.Geteuid() != 0 {
		if os.Geteuid() == id.uid && os.Getuid() == id.uid && os.Getegid() == id.gid {
			return nil
		}
		return syscall.EPERM
	}
	if err := syscall.Setgroups(id.groups); err != nil {
		return err
	}
	if err := syscall.Setresgid(id.gid, id.gid, id.gid); err != nil {
		return err
	}
	if err := syscall.Setresuid(id.uid, id.uid, id.uid); err != nil {
		return err
	}
	now, err := syscall.Getgroups()
	slices.Sort(now)
	want := slices.Sorted(slices.Values(id.groups))
	if err != nil || os.Geteuid() != id.uid || os.Getegid() != id.gid || !slices.Equal(now, slices.Compact(want)) || syscall.Setuid(0) == nil {
		return errors.New("root is not gone")
	}
	return nil
}
