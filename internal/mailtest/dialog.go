package mailtest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dialogPatience bounds one step of a dialog: a peer that says nothing fails the test instead of hanging it.
const dialogPatience = 20 * time.Second

// Dialog plays a script over c and fails the test at the first line that is not as written. Lines of a script:
//
//	-> TEXT     send TEXT and CRLF
//	=> TEXT     send TEXT, its Go escapes (\r \n \x00) resolved and nothing added
//	<- TEXT     the peer's next line is TEXT; with a final ... it begins with TEXT
//	<~ REGEXP   the peer's next line matches
//	<- EOF      the peer closes the connection
//	# ...       a remark, as is an empty line
func Dialog(t testing.TB, c net.Conn, script string) {
	t.Helper()
	d := dialog{t: t, conn: c, r: bufio.NewReader(c)}
	for n, line := range strings.Split(script, "\n") {
		line = strings.TrimRight(strings.TrimLeft(line, " \t"), "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		d.step(n+1, line)
	}
}

type dialog struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (d *dialog) step(n int, line string) {
	d.t.Helper()
	// A pipe between processes has no deadline; its peer ends with the test.
	_ = d.conn.SetDeadline(time.Now().Add(dialogPatience))
	op, text := line, ""
	if len(line) > 2 {
		op, text = line[:2], strings.TrimPrefix(line[2:], " ")
	}
	switch op {
	case "->":
		d.send(n, text+"\r\n")
	case "=>":
		raw, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
		if err != nil {
			d.t.Fatalf("dialog line %d: %q: %v", n, text, err)
		}
		d.send(n, raw)
	case "<-", "<~":
		d.expect(n, op, text)
	default:
		d.t.Fatalf("dialog line %d: %q is not a step", n, line)
	}
}

func (d *dialog) send(n int, s string) {
	d.t.Helper()
	if _, err := io.WriteString(d.conn, s); err != nil {
		d.t.Fatalf("dialog line %d: send %q: %v", n, s, err)
	}
}

func (d *dialog) expect(n int, op, want string) {
	d.t.Helper()
	got, err := d.r.ReadString('\n')
	if op == "<-" && want == "EOF" {
		var timeout net.Error
		if got != "" || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			d.t.Fatalf("dialog line %d: got %q, %v, want the end of the connection", n, got, err)
		}
		return
	}
	if err != nil {
		d.t.Fatalf("dialog line %d: got %q and %v, want %q", n, got, err, want)
	}
	if !strings.HasSuffix(got, "\r\n") {
		d.t.Fatalf("dialog line %d: %q does not end in CRLF", n, got)
	}
	got = strings.TrimSuffix(got, "\r\n")
	if !matches(op, want, got) {
		d.t.Fatalf("dialog line %d:\n got %q\nwant %q", n, got, want)
	}
}

func matches(op, want, got string) bool {
	if op == "<~" {
		return regexp.MustCompile(want).MatchString(got)
	}
	if prefix, ok := strings.CutSuffix(want, "..."); ok {
		return strings.HasPrefix(got, prefix)
	}
	return got == want
}
