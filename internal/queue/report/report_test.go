package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

var update = flag.Bool("update", false, "write the .want files anew")

// testCase is a file testdata/*.facts, with the message beside it in *.msg.
type testCase struct {
	Sender, User, RemoteIP, EnvID, Ret, Postmaster string
	SMTPUTF8, RequireTLS                           bool
	Arrival, Now                                   time.Time
	Recipients                                     []struct {
		Address, Notify, ORCPT, Action, Error, Reply, Host string
		LastAttempt, RetryUntil                            time.Time
	}
}

func address(t testing.TB, s string) envelope.Address {
	t.Helper()
	a, err := envelope.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func facts(t testing.TB, stem string) Facts {
	t.Helper()
	src, err := os.ReadFile(stem + ".facts")
	if err != nil {
		t.Fatal(err)
	}
	var c testCase
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	msg, err := os.ReadFile(stem + ".msg")
	if err != nil {
		t.Fatal(err)
	}
	f := Facts{Host: "mail.example.org", Postmaster: address(t, c.Postmaster), Message: message.Bytes(msg),
		Arrival: c.Arrival, Now: c.Now, MessageID: "<1@mail.example.org>",
		Envelope: &envelope.Envelope{Sender: address(t, c.Sender), EnvID: c.EnvID, Ret: c.Ret, SMTPUTF8: c.SMTPUTF8,
			RequireTLS: c.RequireTLS, Conn: envelope.Connection{AuthUser: c.User, RemoteIP: c.RemoteIP}}}
	for _, r := range c.Recipients {
		var why *status.Error
		if r.Error != "" {
			var ok bool
			if why, ok = status.ParseLine(r.Error); !ok {
				t.Fatalf("error %q", r.Error)
			}
		}
		f.Recipients = append(f.Recipients, Recipient{Address: address(t, r.Address), Notify: r.Notify, ORCPT: r.ORCPT,
			Action: Action(r.Action), Err: why, Reply: r.Reply, Host: r.Host, LastAttempt: r.LastAttempt, RetryUntil: r.RetryUntil})
	}
	return f
}

func TestReports(t *testing.T) {
	stems, _ := filepath.Glob("testdata/*.facts")
	if len(stems) < 10 {
		t.Errorf("only %d cases", len(stems))
	}
	for _, file := range stems {
		stem := strings.TrimSuffix(file, ".facts")
		t.Run(filepath.Base(stem), func(t *testing.T) {
			f := facts(t, stem)
			m, e, err := Make(f)
			if err != nil {
				t.Fatal(err)
			}
			got := "nobody is told\n"
			if m != nil {
				text, _ := io.ReadAll(m.Reader())
				if err := wellFormed(text, f, e); err != nil {
					t.Error(err)
				}
				environ, err := e.Environ(nil)
				if err != nil {
					t.Error(err)
				}
				got = strings.Join(environ, "\n") + "\n\n" + string(text)
			}
			compare(t, stem+".want", got)
		})
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// wellFormed is the property of every report: what RFC 5322, 2046 and 3464 demand, by the eyes of another implementation.
func wellFormed(text []byte, f Facts, e *envelope.Envelope) error {
	if bytes.ContainsAny(text, "\r\x00") {
		return errors.New("a CR or NUL")
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		if len(line) > 998 {
			return fmt.Errorf("line %d has %d bytes", i+1, len(line))
		}
	}
	if e.Body == "7BIT" && !ascii(string(text)) {
		return errors.New("8-bit bytes in a 7-bit report")
	}
	if !e.Sender.IsNull() || len(e.Recipients) != 1 {
		return fmt.Errorf("envelope from %q to %q", e.Sender, e.Recipients)
	}
	wire := bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	top, err := gomessage.Read(bytes.NewReader(wire))
	if err != nil {
		return err
	}
	for _, name := range []string{"From", "To", "Subject", "Date", "Message-Id", "Auto-Submitted", "Mime-Version", "Content-Type"} {
		if n := len(top.Header.Values(name)); n != 1 {
			return fmt.Errorf("%d fields %s", n, name)
		}
	}
	if got := top.Header.Get("Auto-Submitted"); got != "auto-replied" {
		return fmt.Errorf("Auto-Submitted: %s", got)
	}
	if n := top.Header.Len(); n > 12 {
		return fmt.Errorf("%d header fields, so some were smuggled in", n)
	}
	kind, params, err := top.Header.ContentType()
	if err != nil || kind != "multipart/report" {
		return fmt.Errorf("type %q, %v", kind, err)
	}
	if n := bytes.Count(text, []byte("--"+params["boundary"])); n != 4 {
		return fmt.Errorf("the boundary stands there %d times", n)
	}
	return wellFormedParts(top.MultipartReader(), params["report-type"], f)
}

func wellFormedParts(mr gomessage.MultipartReader, reportType string, f Facts) error {
	kinds := []string{"text/plain", "message/" + reportType, ""}
	for i, want := range kinds {
		p, err := mr.NextPart()
		if err != nil && !gomessage.IsUnknownCharset(err) {
			return fmt.Errorf("part %d: %w", i+1, err)
		}
		kind, _, err := p.Header.ContentType()
		if err != nil || want != "" && kind != want {
			return fmt.Errorf("part %d: type %q, want %q: %v", i+1, kind, want, err)
		}
		body, err := io.ReadAll(p.Body)
		if err != nil {
			return fmt.Errorf("part %d: %w", i+1, err)
		}
		if i == 1 {
			if err := wellFormedStatus(string(body), f); err != nil {
				return fmt.Errorf("%w in\n%s", err, body)
			}
		}
	}
	if _, err := mr.NextPart(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("a fourth part: %v", err)
	}
	return nil
}

// wellFormedStatus reads the groups of fields, RFC 3464 section 2.1.
func wellFormedStatus(body string, f Facts) error {
	_, told := Decide(f)
	groups := strings.Split(strings.TrimSuffix(body, "\r\n"), "\r\n\r\n")
	if len(groups) != 1+len(told) {
		return fmt.Errorf("%d groups for %d recipients", len(groups), len(told))
	}
	for i, g := range groups {
		h, err := textproto.ReadHeader(newReader(g + "\r\n\r\n"))
		if err != nil {
			return err
		}
		need := []string{"Final-Recipient", "Action", "Status"}
		if i == 0 {
			need = []string{"Reporting-Mta"}
		}
		for _, name := range need {
			if len(h.Values(name)) != 1 || h.Get(name) == "" {
				return fmt.Errorf("group %d: %d fields %s", i, len(h.Values(name)), name)
			}
		}
		if max := 4; i == 0 && h.Len() > max || h.Len() > 9 {
			return fmt.Errorf("group %d has %d fields", i, h.Len())
		}
	}
	return nil
}

// Python's reader sees the same structure.
func TestPythonReadsReports(t *testing.T) {
	python := mailtest.Peer(t, "python3")
	const script = `
import sys, email, email.policy
for name in sys.argv[1:]:
    data = open(name, 'rb').read()
    if data == b'nobody is told\n': continue
    m = email.message_from_bytes(data.split(b'\n\n', 1)[1], policy=email.policy.default)
    kinds = [p.get_content_type() for p in m.iter_parts()]
    assert m.get_content_type() == 'multipart/report' and len(kinds) == 3, (name, kinds)
    defects = [d for p in m.walk() for d in p.defects]
    assert not defects, (name, defects)
    status = list(m.iter_parts())[1]
    if kinds[1] == 'message/delivery-status':
        groups = status.get_payload()
        assert groups[0]['Reporting-MTA'] and all(g['Final-Recipient'] and g['Status'] and g['Action'] for g in groups[1:]), name
    text = list(m.iter_parts())[0].get_content()
    assert 'This is the mail system at' in text, name
    if kinds[2] == 'message/rfc822':
        assert list(m.iter_parts())[2].get_content()['Subject'], name
print('fine')
`
	files, _ := filepath.Glob("testdata/*.want")
	out, err := exec.Command(python, append([]string{"-c", script}, files...)...).CombinedOutput()
	if err != nil || string(out) != "fine\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
