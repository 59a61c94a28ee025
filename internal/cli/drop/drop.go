// Package drop gives a server the flags by which it gives up what it does not need: the rights of root, new privileges, and
// with them the files that are none of its business.
//
// It guarantees that nothing is given up before sockets and office are open, that no connection is served before all is given
// up, and that a server which cannot give up what it was told to does not serve at all.
package drop

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/serve"
	"pennypost/internal/status"
)

// Options are the flags, and what the program needs in spite of them.
type Options struct {
	runAs   string
	sandbox bool
	serve   *serve.Options

	write []string // directories
	read  []string // directories
}

// Flags adds --run-as and --sandbox. What they ask for is done by o.Confine, once the sockets are open.
func Flags(cmd *cobra.Command, o *serve.Options) *Options {
	d := &Options{serve: o}
	f := cmd.Flags()
	f.StringVar(&d.runAs, "run-as", "", "with the sockets open become the user `NAME[:GROUP]`")
	f.BoolVar(&d.sandbox, "sandbox", false, "keep to the files of the office and run no program")
	return d
}

// Need names directories that the program changes, and files that it reads, perhaps again after they were replaced; empty
// names are none. It must be called before the server starts. runs says that programs will be run: a sandbox would bind them
// too, so that is an error of usage.
func (d *Options) Need(runs bool, dirs []string, files ...string) error {
	if d.sandbox && runs {
		return cli.Usagef("--sandbox does not go with a program to run, which would be in it too")
	}
	if d.runAs == "" && !d.sandbox {
		return nil
	}
	d.write = append(slices.Clone(dirs), os.TempDir(), d.serve.LimitDir)
	d.write = slices.DeleteFunc(d.write, func(s string) bool { return s == "" })
	for _, f := range files {
		if f == "" {
			continue
		}
		d.read = append(d.read, filepath.Dir(f))
		if real, err := filepath.EvalSymlinks(f); err == nil {
			d.read = append(d.read, filepath.Dir(real))
		}
	}
	d.serve.Confine = d.confine
	return nil
}

// identity is who the process becomes.
type identity struct {
	uid, gid int
	groups   []int
}

// identify looks up NAME or NAME:GROUP, each a name or a number. Without GROUP the user has all groups that it is in, with it
// only that one.
func identify(spec string) (identity, error) {
	name, group, given := strings.Cut(spec, ":")
	u, err := user.Lookup(name)
	if _, number := strconv.Atoi(name); err != nil && number == nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return identity{}, cli.Usagef("--run-as: no user %q", name)
	}
	groups := []string{group}
	if given {
		g, err := user.LookupGroup(group)
		if _, number := strconv.Atoi(group); err != nil && number == nil {
			g, err = user.LookupGroupId(group)
		}
		if err != nil {
			return identity{}, cli.Usagef("--run-as: no group %q", group)
		}
		groups[0] = g.Gid
	} else if groups, err = u.GroupIds(); err != nil || len(groups) == 0 {
		groups = []string{u.Gid}
	}
	id := identity{gid: -1}
	if id.uid, err = strconv.Atoi(u.Uid); err != nil {
		return id, status.Errorf(status.OSErr, "run as %q: its user id %q is no number", name, u.Uid)
	}
	for _, g := range groups {
		n, err := strconv.Atoi(g)
		if err != nil {
			return id, status.Errorf(status.OSErr, "run as %q: its group id %q is no number", name, g)
		}
		id.groups = append(id.groups, n)
	}
	id.gid = id.groups[0]
	if !given {
		if id.gid, err = strconv.Atoi(u.Gid); err != nil {
			return id, status.Errorf(status.OSErr, "run as %q: its group id %q is no number", name, u.Gid)
		}
	}
	if id.uid == 0 {
		return id, cli.Usagef("--run-as %s: that user is root", name)
	}
	return id, nil
}
