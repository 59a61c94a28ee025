package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

const byHandZone = `
example.org.     MX 10 dead.example.org.
example.org.     MX 20 mx.example.org.
dead.example.org. A 127.0.0.9
mx.example.org.  A 127.0.0.1
mx.example.org.  AAAA ::1
`

// What mx tells, changed by a filter on the way, is where smtpsend goes: the example of it, with a server of ours.
func TestByHand(t *testing.T) {
	bin := mailtest.Build(t, "smtpsend", "mx")
	port, all := hosts(t, 1)
	got := make(chan string, 1)
	go func() {
		c, err := all[0].Accept()
		if err != nil {
			return
		}
		got <- take(c)
	}()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cmd := exec.Command("../../examples/by-hand.sh", write("letter", "Subject: x\n\nbody\n"), "you@example.org", "--zone", write("zone", byHandZone))
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"),
		`FILTER=grep -v dead | grep -v :: | sed "s/	25	/	`+port+`	/"`)
	out, err := cmd.CombinedOutput()
	if want := "K\tyou@example.org\tmx.example.org[127.0.0.1]:" + port + "\t250 taken\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
	if text := <-got; text != "Subject: x\r\n\r\nbody\r\n" {
		t.Errorf("the server got %q", text)
	}
}

// take is a server that takes one message and returns it.
func take(c net.Conn) string {
	defer c.Close()
	say := func(s string) { c.Write([]byte(s + "\r\n")) }
	say("220 mx")
	var text strings.Builder
	r := newLines(c)
	for {
		line, err := r()
		if err != nil {
			return text.String()
		}
		switch verb, _, _ := strings.Cut(line, " "); strings.ToUpper(verb) {
		case "DATA":
			say("354 go on")
			for line, err = r(); err == nil && line != "."; line, err = r() {
				text.WriteString(line + "\r\n")
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return text.String()
		default:
			say("250 fine")
		}
	}
}

func TestRoutesRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "routes")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const row = "example.org\t10\tmx.example.org\t25\t127.0.0.1\trefused\t-\t-\n"
	for name, c := range map[string]struct {
		args []string
		exit int
	}{
		"no message":     {[]string{"--routes", "-", "a@example.org"}, 64},
		"with a server":  {[]string{"--routes", file(row), "--server", "smtp://127.0.0.1", "a@example.org"}, 64},
		"with a port":    {[]string{"--routes", file(row), "--port", "26", "a@example.org"}, 64},
		"no file":        {[]string{"--routes", filepath.Join(dir, "none"), "a@example.org"}, 66},
		"refused host":   {[]string{"--routes", file(row), "a@example.org"}, 76},
		"another domain": {[]string{"--routes", file(row), "a@example.net"}, 78},
	} {
		out, exit := smtpsend(t, "Subject: x\n\n", c.args...)
		if exit != c.exit {
			t.Errorf("%s: exit %d, want %d (%s)", name, exit, c.exit, out)
		}
	}
	for _, text := range []string{"", "# nothing\n", "example.org 10 mx\n", strings.Replace(row, "refused", "whatever", 1)} {
		if out, exit := smtpsend(t, "x\n", "--routes", file(text), "a@example.org"); exit != 78 {
			t.Errorf("%q: exit %d (%s)", text, exit, out)
		}
	}
}

// newLines reads lines without their ends.
func newLines(c net.Conn) func() (string, error) {
	r := bufio.NewReader(c)
	return func() (string, error) {
		line, err := r.ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err
	}
}
