package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// testMessage is what --message has for a message that is made here.
const testMessage = "test"

// testOptions are the flags about it.
type testOptions struct {
	subject, body   string
	attach, headers []string
}

func (o *testOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.subject, "subject", "", "`TEXT` of the subject of --message test")
	f.StringVar(&o.body, "body", "", "`TEXT` of the body of --message test; eicar and gtube are what filters of viruses and spam must find")
	f.StringArrayVar(&o.attach, "attach", nil, "attach `FILE` to --message test; may be repeated")
	f.StringArrayVar(&o.headers, "header", nil, "one more field, `'NAME: VALUE'`, of --message test; may be repeated, and takes the place of ours")
}

func (o *testOptions) check(wanted bool) error {
	if !wanted && (o.subject != "" || o.body != "" || len(o.attach) > 0 || len(o.headers) > 0) {
		return cli.Usagef("--subject, --body, --attach and --header are for --message test")
	}
	for _, text := range append([]string{o.subject}, o.headers...) {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return cli.Usagef("%q: a field cannot have control characters", text)
		}
	}
	for _, h := range o.headers {
		name, _, ok := strings.Cut(h, ":")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return cli.Usagef("--header %q: want NAME: VALUE", h)
		}
	}
	return nil
}

// The two texts that everyone has agreed to take for a virus and for spam, in pieces: this program is neither.
var (
	eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!" + `$H+H*`
	gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-" + "UBE-TEST-EMAIL*C.34X"
)

func (o *testOptions) text() string {
	switch o.body {
	case "eicar":
		return eicar
	case "gtube":
		return gtube
	case "":
		return "A test message, sent by smtpsend."
	}
	return o.body
}

// make writes the message for the envelope.
func (o *testOptions) make(e *envelope.Envelope, now time.Time) (*message.Message, error) {
	w := message.NewWriter(0)
	if err := o.write(w, e, now); err != nil {
		w.Discard()
		return nil, err
	}
	return w.Message()
}

func (o *testOptions) write(w io.Writer, e *envelope.Envelope, now time.Time) error {
	boundary := "=_" + rand.Text()
	kind := "text/plain; charset=utf-8"
	if len(o.attach) > 0 {
		kind = `multipart/mixed; boundary="` + boundary + `"`
	}
	fmt.Fprintf(w, "%sMIME-Version: 1.0\nContent-Type: %s\n", o.header(e, now), kind)
	if len(o.attach) == 0 {
		return writeText(w, o.text())
	}
	fmt.Fprintf(w, "\n--%s\nContent-Type: text/plain; charset=utf-8\n", boundary)
	if err := writeText(w, o.text()); err != nil {
		return err
	}
	for _, name := range o.attach {
		fmt.Fprintf(w, "\n--%s\n", boundary)
		if err := writeFile(w, name); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n--%s--\n", boundary)
	return err
}

// header is the fields, without those about the form of the body.
func (o *testOptions) header(e *envelope.Envelope, now time.Time) string {
	var to []string
	for _, r := range e.Recipients {
		to = append(to, r.String())
	}
	sender, domain := e.Sender.String(), e.Sender.Domain
	if sender == "" {
		sender, domain = "postmaster@localhost.invalid", "localhost.invalid"
	}
	subject := o.subject
	if subject == "" {
		subject = "test " + now.Format("2006-01-02 15:04:05")
	}
	ours := []string{
		"Date: " + now.Format(time.RFC1123Z), "From: " + sender, "To: " + strings.Join(to, ",\n "),
		"Subject: " + mime.QEncoding.Encode("utf-8", subject), "Message-ID: <" + rand.Text() + "@" + domain + ">",
	}
	var b strings.Builder
	for _, f := range ours {
		name, _, _ := strings.Cut(f, ":")
		if !o.has(name) {
			b.WriteString(f + "\n")
		}
	}
	for _, f := range o.headers {
		b.WriteString(f + "\n")
	}
	return b.String()
}

func (o *testOptions) has(name string) bool {
	for _, h := range o.headers {
		if given, _, _ := strings.Cut(h, ":"); strings.EqualFold(given, name) {
			return true
		}
	}
	return false
}

// writeText ends the header of a text and writes it: as it is when it is short lines of ASCII, so that a filter for such texts
// sees it.
func writeText(w io.Writer, text string) error {
	plain := true
	for line := range strings.SplitSeq(text, "\n") {
		plain = plain && len(line) <= 76 && !strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f })
	}
	if plain {
		_, err := io.WriteString(w, "\n"+text+"\n")
		return err
	}
	io.WriteString(w, "Content-Transfer-Encoding: quoted-printable\n\n")
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, text+"\n"); err != nil {
		return err
	}
	return q.Close()
}

// writeFile writes an attachment, in base64.
func writeFile(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return status.Errorf(status.NoInput, "attach: %w", err)
	}
	defer f.Close()
	kind := mime.TypeByExtension(filepath.Ext(name))
	if kind == "" || strings.HasPrefix(kind, "message/") || strings.HasPrefix(kind, "multipart/") {
		kind = "application/octet-stream"
	}
	fmt.Fprintf(w, "Content-Type: %s\nContent-Disposition: %s\nContent-Transfer-Encoding: base64\n\n", kind,
		mime.FormatMediaType("attachment", map[string]string{"filename": filepath.Base(name)}))
	e := base64.NewEncoder(base64.StdEncoding, &lines{w: w})
	if _, err := io.Copy(e, f); err != nil {
		return status.Errorf(status.IO, "attach: %w", err)
	}
	return e.Close()
}

// lines begins a new line after each 76 bytes.
type lines struct {
	w io.Writer
	n int
}

func (l *lines) Write(p []byte) (int, error) {
	var b bytes.Buffer
	for _, c := range p {
		if l.n == 76 {
			b.WriteByte('\n')
			l.n = 0
		}
		b.WriteByte(c)
		l.n++
	}
	_, err := l.w.Write(b.Bytes())
	return len(p), err
}
