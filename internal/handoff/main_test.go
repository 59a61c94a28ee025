package handoff

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// The test binary is also the programs that the tests run: HANDOFF_PROGRAM says which.
func TestMain(m *testing.M) {
	switch os.Getenv("HANDOFF_PROGRAM") {
	case "":
		os.Exit(m.Run())
	case "stdin":
		os.Exit(describeStdin())
	case "filter":
		os.Exit(filter())
	}
	os.Exit(64)
}

// describeStdin prints what kind of file standard input is, its bytes, and its first byte again after seeking back.
func describeStdin() int {
	info, err := os.Stdin.Stat()
	if err != nil {
		return 70
	}
	at, _ := os.Stdin.Seek(0, io.SeekCurrent)
	b, _ := io.ReadAll(os.Stdin)
	if _, err := os.Stdin.Seek(0, io.SeekStart); err != nil {
		return 71
	}
	again, _ := io.ReadAll(os.Stdin)
	links := info.Sys().(*syscall.Stat_t).Nlink
	fmt.Printf("regular=%v links=%d offset=%d same=%v %q", info.Mode().IsRegular(), links, at, string(b) == string(again), b)
	return 0
}

// filter is a whole mailpipe program: it puts a field on top and hands on to the arguments after "--".
func filter() int {
	m, e, err := Receive(Input{Max: 1 << 20})
	if err == nil {
		var next []string
		if i := slices.Index(os.Args, "--"); i >= 0 {
			next = os.Args[i+1:]
		}
		os.Unsetenv("HANDOFF_PROGRAM")
		e.Conn.Helo = "changed.example"
		err = Next(context.Background(), next, m.Prepend([]byte("X-Filter: yes\n")), e, os.Stdout)
	}
	return status.ExitStatus(err)
}

// self is the test binary as a program, and the environment that makes it one.
func self(t *testing.T, program string) (path string, environ []string) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The race detector would wait a second at the end of each program.
	return path, append(os.Environ(), "GORACE=atexit_sleep_ms=0", "HANDOFF_PROGRAM="+program)
}

func mail(s string) *message.Message { return message.New(strings.NewReader(s), int64(len(s))) }

// letter is an envelope with everything in it.
func letter(t *testing.T, recipients ...string) *envelope.Envelope {
	t.Helper()
	e := &envelope.Envelope{Conn: envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.7", RemotePort: "4711", Helo: "client.example"}, Body: "8BITMIME"}
	from := "alice@example.org"
	if err := e.FromArgs(&from, recipients); err != nil {
		t.Fatal(err)
	}
	return e
}

// sh runs a shell script as the program and returns its standard output.
func sh(t *testing.T, c Command, script string, args ...string) (stdout string, fate error) {
	t.Helper()
	var out strings.Builder
	c.Args = append([]string{"/bin/sh", "-c", script, "sh"}, args...)
	if c.Stdout == nil {
		c.Stdout = &out
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	fate = c.Run(t.Context(), mail("Subject: x\n\nbody\n"), letter(t, "bob@example.net"))
	return out.String(), fate
}
