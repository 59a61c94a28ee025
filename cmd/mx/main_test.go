package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

func TestMain(m *testing.M) { mailtest.Main(m) }

func TestScripts(t *testing.T) { mailtest.Scripts(t, "testdata/script", "mx") }

// TestServer: mx asks a real server, named by flag or environment.
func TestServer(t *testing.T) {
	program := filepath.Join(mailtest.Build(t, "mx"), "mx")
	addr := mailtest.DNS(t, `
		example.org.      MX 10 mx.example.org.
		mx.example.org.   A  192.0.2.1
		;! truncate       example.org.
		;! timeout        silent.example.
		;! servfail       broken.example.
		;! refused        closed.example.
	`)
	for _, tt := range []struct {
		name   string
		args   []string
		env    string
		out    string
		talk   string
		status int
	}{
		{"by flag", []string{"--resolver", addr, "-a", "example.org"}, "", "10 mx.example.org. 192.0.2.1\n", "", 0},
		{"by environment", []string{"example.org"}, addr, "10 mx.example.org.\n", "", 0},
		{"flag before environment", []string{"--resolver", addr, "example.org"}, "127.0.0.1:1", "10 mx.example.org.\n", "", 0},
		{"no such domain", []string{"none.example"}, addr, "", "mx: none.example: no such domain\n", 68},
		{"silent", []string{"--timeout", "20ms", "silent.example"}, addr, "",
			"mx: silent.example: look up MX \"silent.example\" at " + addr + ": no answer in time: context deadline exceeded\n", 75},
		{"broken", []string{"broken.example"}, addr, "",
			"mx: broken.example: look up MX \"broken.example\" at " + addr + ": server failure\n", 75},
		{"closed", []string{"closed.example"}, addr, "",
			"mx: closed.example: look up MX \"closed.example\" at " + addr + ": refused by the server\n", 75},
		{"bad environment", []string{"example.org"}, "nonsense:x", "", "mx: resolver \"nonsense:x\": bad port\ntry 'mx --help'\n", 64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(program, tt.args...)
			var out, talk bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &talk
			cmd.Env = append(os.Environ(), "MAIL_RESOLVER="+tt.env)
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != tt.status || out.String() != tt.out || talk.String() != tt.talk {
				t.Errorf("got  exit %d, stdout %q, stderr %q\nwant exit %d, stdout %q, stderr %q",
					got, out.String(), talk.String(), tt.status, tt.out, tt.talk)
			}
		})
	}
}

// TestOutputFails: a full disk behind stdout is not success.
func TestOutputFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	defer full.Close()
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "mx"), "mx"), "[192.0.2.1]")
	var talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = full, &talk
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 75 || !strings.Contains(talk.String(), "write result") {
		t.Errorf("got %v, %q", err, talk.String())
	}
}
