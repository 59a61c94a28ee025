package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// What a client asks for by DSN goes from smtpd through smtpsend and a real Postfix to the next smtpd, and reaches the environment
// of its command as it was given.
func TestPostfixDSN(t *testing.T) {
	bin, office := newOffice(t)
	found := filepath.Join(t.TempDir(), "found")
	const script = `cat >/dev/null; printf '%s\n' "$SENDER" "$RECIPIENTS" "$SMTP_RET" "$SMTP_ENVID" "$SMTP_NOTIFY" "$SMTP_ORCPT" >"$0"`
	last := listening(t, bin, office, "--", "/bin/sh", "-c", script, found)
	peer := passOn(t, "smtp:[127.0.0.1]:"+last, "smtp_tls_security_level = none", "smtp_destination_recipient_limit = 10")
	smtpsend := filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend")
	queue, next := filepath.Join(t.TempDir(), "queue"), "smtp+notls://127.0.0.1:"+peer.Port
	asked := []string{"a@example.com", "alice@example.org\nbob@example.org", "HDRS", "q+2B1+3Dx", "SUCCESS,DELAY\nNEVER",
		"rfc822;a+2Bl+3D@elsewhere.example\nrfc822;robert@elsewhere.example"}
	env := os.Environ()
	for i, name := range strings.Fields("SENDER RECIPIENTS SMTP_RET SMTP_ENVID SMTP_NOTIFY SMTP_ORCPT") {
		env = append(env, name+"="+asked[i])
	}
	do := func(args ...string) {
		t.Helper()
		cmd := exec.Command(smtpsend, args...)
		cmd.Stdin, cmd.Env = strings.NewReader("Subject: dsn\n\nbody\n"), env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("smtpsend: %v\n%s", err, out)
		}
	}
	for _, way := range [][]string{{"--server", next}, {"--queue", queue}} {
		first := listening(t, bin, office, append([]string{"--", smtpsend}, way...)...)
		do("--server", "smtp+notls://127.0.0.1:"+first)
		if way[1] == queue {
			do("--queue", queue, "run", "--server", next)
		}
		mailtest.Await(t, peer.Log, 2, `status=sent .*250 2\.0\.0`, "status=(bounced|deferred)|fatal|panic")
		got, err := os.ReadFile(found)
		want := strings.Join(asked, "\n") + "\n"
		if err != nil || string(got) != want {
			t.Errorf("by %s: got %v\n%s\nwant\n%s", way[0], err, got, want)
		}
		os.Remove(found)
	}
}
