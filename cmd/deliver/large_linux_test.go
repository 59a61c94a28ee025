package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// A message of 200 MB needs no more than 20 MB of memory. Most of it is a hole in the file, so that it takes little time.
func TestLargeMessage(t *testing.T) {
	const size, most = 200 << 20, 20 << 10 // bytes, kB
	bin, dir := mailtest.Build(t, "deliver"), t.TempDir()
	in, err := os.Create(filepath.Join(dir, "message"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.WriteString("Subject: large\n\n" + strings.Repeat("a line\n", 200_000)); err != nil {
		t.Fatal(err)
	}
	if err := in.Truncate(size); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "deliver"), "-f", "", "--to", "maildir:"+dir+"/In", "--to", "-")
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Standard output comes after the copy for the Maildir, and the program waits for us to read it.
	want, used, got := int64(size+len("Return-Path: <>\n")), 0, int64(0)
	for err == nil {
		var n int64
		n, err = io.CopyN(io.Discard, out, want/4)
		if got += n; got < want {
			used = max(used, memory(t, cmd.Process.Pid))
		}
	}
	if err := cmd.Wait(); err != nil || got != want {
		t.Fatalf("%v, %d bytes on standard output", err, got)
	}
	if used == 0 || used > most {
		t.Errorf("it took %d kB of memory, want at most %d", used, most)
	}
	names, _ := filepath.Glob(dir + "/In/new/*")
	if len(names) != 1 || !strings.Contains(names[0], fmt.Sprintf(",S=%d,", want)) {
		t.Errorf("there is %q", names)
	}
}

// memory is the most that a process had up to now, in kB.
func memory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "VmHWM:")
	var kB int
	if _, err := fmt.Sscan(line, &kB); err != nil {
		t.Fatal(err)
	}
	return kB
}

// A delivery does not look through the messages that are there, however many: with 50,000 of them it takes as long as with none.
func TestFullMaildirIsNotRead(t *testing.T) {
	strace := mailtest.Peer(t, "strace")
	if out, err := exec.Command(strace, "-f", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v: %s", err, out)
	}
	bin, dir := mailtest.Build(t, "deliver"), t.TempDir()
	log := filepath.Join(dir, "log")
	for range 2 { // the second finds the Maildir there
		cmd := exec.Command(strace, "-f", "-q", "-y", "-o", log, "-e", "trace=getdents,getdents64", filepath.Join(bin, "deliver"), "--to", "maildir:"+dir+"/In")
		cmd.Stdin = strings.NewReader("Subject: x\n\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	read, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(read), dir+"/In/tmp>") || strings.Contains(string(read), "/In/new>") || strings.Contains(string(read), "/In/cur>") {
		t.Errorf("it reads directories:\n%s", read)
	}
}
