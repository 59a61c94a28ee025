package main

import (
	"os"
	"strings"

	"pennypost/internal/cli"
	"pennypost/internal/mbox"
)

// location is a SOURCE or DEST.
type location struct {
	maildir bool
	format  mbox.Format // if not a Maildir
	path    string      // "-" for standard input or output
}

func (l location) standard() bool { return l.path == "-" && !l.maildir }

// parse reads the two arguments.
func parse(from, to string) (src, dst location, err error) {
	if src, err = parseLocation(from); err != nil {
		return src, dst, err
	}
	if dst, err = parseLocation(to); err != nil {
		return src, dst, err
	}
	if src.maildir && dst.maildir && same(src.path, dst.path) {
		return src, dst, cli.Usagef("SOURCE and DEST are the same Maildir %q", src.path)
	}
	return src, dst, nil
}

func parseLocation(arg string) (l location, err error) {
	scheme, path, _ := strings.Cut(arg, ":")
	if path == "" {
		return l, cli.Usagef("%q is none of mbox:PATH, mboxrd:PATH, mboxo:PATH, maildir:PATH", arg)
	}
	l.path = path
	switch scheme {
	case "mbox", "mboxrd":
		l.format = mbox.RD
	case "mboxo":
		l.format = mbox.O
	case "maildir":
		l.maildir = true
	default:
		return l, cli.Usagef("unknown format %q in %q: want mbox, mboxrd, mboxo or maildir", scheme, arg)
	}
	if l.maildir && path == "-" {
		return l, cli.Usagef("a Maildir cannot be standard input or output")
	}
	return l, nil
}

func same(a, b string) bool {
	ia, erra := os.Stat(a)
	ib, errb := os.Stat(b)
	return erra == nil && errb == nil && os.SameFile(ia, ib)
}
