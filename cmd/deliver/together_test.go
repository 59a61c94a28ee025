package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pennypost/internal/mailtest"
)

// Sixteen processes deliver into one mbox and one Maildir at once, while a reader moves what comes from new to cur: every
// message is there once.
func TestTogether(t *testing.T) {
	const processes, each = 16, 10
	bin, dir := mailtest.Build(t, "deliver"), t.TempDir()
	var wg sync.WaitGroup
	for p := range processes {
		wg.Go(func() {
			for n := range each {
				cmd := exec.Command(filepath.Join(bin, "deliver"), "-f", "a@example.com", "--to", "maildir:"+dir+"/Maildir", "--to", "mbox:"+dir+"/mbox")
				cmd.Stdin = strings.NewReader(fmt.Sprintf("Subject: letter %d-%d\n\nFrom here\n%s", p, n, strings.Repeat("text\n", 200*p)))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("deliver: %v: %s", err, out)
				}
			}
		})
	}
	done, moved := make(chan struct{}), make(chan int)
	go moveNew(filepath.Join(dir, "Maildir"), done, moved)
	wg.Wait()
	close(done)
	if n := <-moved; n == 0 {
		t.Error("the reader found nothing to move")
	}
	var files bytes.Buffer
	names, _ := filepath.Glob(filepath.Join(dir, "Maildir", "[cn][ue][rw]", "*"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files.Write(b)
	}
	mbox, err := os.ReadFile(filepath.Join(dir, "mbox"))
	if err != nil {
		t.Fatal(err)
	}
	for place, text := range map[string]string{"Maildir": files.String(), "mbox": string(mbox)} {
		for p := range processes {
			for n := range each {
				subject := fmt.Sprintf("\nSubject: letter %d-%d\n\n", p, n)
				_, rest, _ := strings.Cut(text, subject)
				body := strings.TrimPrefix(strings.TrimPrefix(rest, ">"), "From here\n")
				if c := strings.Count(text, subject); c != 1 || !strings.HasPrefix(body, strings.Repeat("text\n", 200*p)) {
					t.Errorf("%s: letter %d-%d is there %d times, or not whole", place, p, n, c)
				}
			}
		}
	}
	if n := strings.Count("\n"+string(mbox), "\nFrom a@example.com "); n != processes*each {
		t.Errorf("mbox has %d messages", n)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "Maildir", "tmp", "*")); len(left) > 0 {
		t.Errorf("left in tmp: %q", left)
	}
}

// moveNew moves files from new to cur, as a reader does, until done, and tells how many.
func moveNew(dir string, done <-chan struct{}, moved chan<- int) {
	n := 0
	for {
		names, _ := filepath.Glob(filepath.Join(dir, "new", "*"))
		for _, name := range names {
			if os.Rename(name, filepath.Join(dir, "cur", filepath.Base(name)+":2,S")) == nil {
				n++
			}
		}
		select {
		case <-done:
			moved <- n
			return
		default:
		}
	}
}
