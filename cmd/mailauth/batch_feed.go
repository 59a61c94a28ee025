package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"pennypost/internal/cli"
	"pennypost/internal/maildir"
	"pennypost/internal/mbox"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// feed yields the messages of one source in order.
type feed interface {
	// next is the next message, which the caller closes, and where it is for those who want to find it; io.EOF at the end. An
	// *unreadable is about this message only; after any other error there are no more.
	next() (m *message.Message, place string, err error)
	progress() (at, of int64) // of is -1 if unknown
	close()
}

// unreadable is a message that cannot be read, where the next may be.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// splitSource reads FORMAT:PATH.
func splitSource(arg string) (format, path string, err error) {
	format, path, _ = strings.Cut(arg, ":")
	switch format {
	case "mbox", "mboxo", "nul":
	case "maildir":
		if path == "-" {
			return "", "", cli.Usagef("a Maildir cannot be standard input")
		}
	default:
		return "", "", cli.Usagef("%q is none of mbox:FILE, mboxo:FILE, maildir:DIR, nul:FILE", arg)
	}
	if path == "" {
		return "", "", cli.Usagef("%q names no file", arg)
	}
	return format, path, nil
}

// openFeed opens a source; the path - is standard input.
func openFeed(arg string, stdin io.Reader) (feed, error) {
	format, path, err := splitSource(arg)
	if err != nil {
		return nil, err
	}
	if format == "maildir" {
		return openMaildir(path)
	}
	in := &input{r: stdin, size: -1}
	if path != "-" {
		if err := in.open(path); err != nil {
			return nil, err
		}
	}
	switch format {
	case "nul":
		return &nulFeed{input: in, br: bufio.NewReaderSize(in, 64<<10)}, nil
	case "mboxo":
		return &mboxFeed{input: in, r: mbox.NewReader(in, mbox.O)}, nil
	}
	return &mboxFeed{input: in, r: mbox.NewReader(in, mbox.RD)}, nil
}

// input is a file or standard input, read once from its start.
type input struct {
	r        io.Reader
	f        *os.File // nil for standard input
	at, size int64
}

func (in *input) open(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return status.Errorf(status.NoInput, "read messages: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = status.Errorf(status.NoInput, "read messages: %q is a directory", path)
	}
	if err != nil {
		f.Close()
		return err
	}
	in.r, in.f = f, f
	if info.Mode().IsRegular() {
		in.size = info.Size()
	}
	return nil
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.at += int64(n)
	return n, err
}

func (in *input) progress() (at, of int64) { return in.at, in.size }

func (in *input) close() {
	if in.f != nil {
		in.f.Close()
	}
}

type mboxFeed struct {
	*input
	r *mbox.Reader
}

func (f *mboxFeed) next() (*message.Message, string, error) {
	raw, err := f.r.Next()
	if err != nil {
		return nil, "", err
	}
	m, err := message.Spool(raw.Body, 0)
	return m, fmt.Sprintf("byte %d", raw.Offset), err
}

// nulFeed has messages with a NUL between them, or behind each.
type nulFeed struct {
	*input
	br  *bufio.Reader
	off int64 // where the next message starts
}

func (f *nulFeed) next() (*message.Message, string, error) {
	if _, err := f.br.Peek(1); err != nil {
		return nil, "", err
	}
	place := fmt.Sprintf("byte %d", f.off)
	m, err := message.Spool(&toNUL{feed: f}, 0)
	return m, place, err
}

// toNUL reads up to the next NUL and takes that away.
type toNUL struct {
	feed *nulFeed
	done bool
}

func (t *toNUL) Read(p []byte) (n int, err error) {
	if t.done {
		return 0, io.EOF
	}
	if _, err := t.feed.br.Peek(1); err != nil { // fills the buffer
		return 0, err
	}
	part, _ := t.feed.br.Peek(min(t.feed.br.Buffered(), len(p)))
	for n < len(part) && part[n] != 0 {
		n++
	}
	copy(p, part[:n])
	used := n
	if n < len(part) {
		t.done = true
		used++
	}
	_, _ = t.feed.br.Discard(used)
	t.feed.off += int64(used)
	if n == 0 && t.done {
		return 0, io.EOF
	}
	return n, nil
}

type maildirFeed struct {
	dir     *maildir.Dir
	entries []maildir.Entry
	at      int
}

func openMaildir(path string) (feed, error) {
	d, err := maildir.OpenPath(path)
	if err != nil {
		return nil, status.Errorf(status.NoInput, "read messages: %w", err)
	}
	entries, err := d.Scan()
	if err != nil {
		d.Close()
		return nil, err
	}
	return &maildirFeed{dir: d, entries: entries}, nil
}

// next passes over messages that are gone since the directory was read.
func (f *maildirFeed) next() (*message.Message, string, error) {
	for f.at < len(f.entries) {
		e := f.entries[f.at]
		f.at++
		place := e.Sub + "/" + e.Name
		file, err := f.dir.OpenEntry(e)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, place, &unreadable{err}
		}
		// Read now, so that few files are open and what is renamed later does not matter.
		m, err := message.Spool(file, 0)
		file.Close()
		if err != nil {
			return nil, place, &unreadable{err}
		}
		return m, place, nil
	}
	return nil, "", io.EOF
}

func (f *maildirFeed) progress() (at, of int64) { return int64(f.at), int64(len(f.entries)) }

func (f *maildirFeed) close() { f.dir.Close() }
