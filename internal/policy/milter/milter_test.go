package milter

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/d--j/go-milter"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// filter is a milter that does what addresses and the subject of a message say, and notes what it hears.
type filter struct {
	milter.NoOpMilter
	name  string
	heard *[]string
	todo  string
	body  int
}

func (f *filter) hear(format string, a ...any) {
	*f.heard = append(*f.heard, fmt.Sprintf(format, a...))
}

func (f *filter) Connect(host, family string, port uint16, addr string, m milter.Modifier) (*milter.Response, error) {
	f.hear("connect %s %s %d %s j=%s", host, family, port, addr, m.Get("j"))
	return milter.RespContinue, nil
}

func (f *filter) Helo(name string, m milter.Modifier) (*milter.Response, error) {
	f.hear("helo %s %s %s %s", name, m.Get("{tls_version}"), m.Get("{cipher}"), m.Get("{cipher_bits}"))
	return milter.RespContinue, nil
}

func (f *filter) MailFrom(from, _ string, m milter.Modifier) (*milter.Response, error) {
	f.hear("mail %s %s %s %s", from, m.Get("{auth_type}"), m.Get("{auth_authen}"), m.Get("{mail_host}"))
	switch local, _, _ := strings.Cut(from, "@"); local {
	case "reject":
		return milter.RespReject, nil
	case "tempfail":
		return milter.RespTempFail, nil
	case "accept":
		return milter.RespAccept, nil
	case "discard":
		return milter.RespDiscard, nil
	case "custom":
		return milter.RejectWithCodeAndReason(554, "5.7.9 not you\nnor you")
	case "break":
		return nil, fmt.Errorf("the connection is closed")
	}
	return milter.RespContinue, nil
}

func (f *filter) RcptTo(to, _ string, m milter.Modifier) (*milter.Response, error) {
	f.hear("rcpt %s i=%s", to, m.Get("i"))
	if strings.HasPrefix(to, "no@") {
		return milter.RespReject, nil
	}
	return milter.RespContinue, nil
}

func (f *filter) Header(name, value string, _ milter.Modifier) (*milter.Response, error) {
	f.hear("header %s:%s", name, value)
	if name == "Subject" {
		f.todo = strings.TrimSpace(value)
	}
	return milter.RespContinue, nil
}

func (f *filter) BodyChunk(b []byte, _ milter.Modifier) (*milter.Response, error) {
	f.body += len(b)
	if f.todo == "early" {
		return milter.RespReject, nil
	}
	return milter.RespContinue, nil
}

func (f *filter) EndOfMessage(m milter.Modifier) (*milter.Response, error) {
	f.hear("body %d", f.body)
	switch f.todo {
	case "change":
		m.AddHeader("X-End", "last\r\n folded\n\nunfolded")
		m.InsertHeader(0, "X-Top", "first")
		m.InsertHeader(1, "X-Second", "behind the first")
		m.ChangeHeader(2, "X-Two", "two")
		m.ChangeHeader(1, "X-Gone", "")
	case "replace":
		m.ReplaceBody(strings.NewReader("new\r\nbody\r\n"))
		m.ChangeFrom("other@sender.example", "")
		m.Quarantine("looks\nodd")
	case "recipient":
		m.AddRecipient("other@example.org", "")
	case "reject":
		return milter.RespReject, nil
	case "discard":
		return milter.RespDiscard, nil
	case "mark":
		m.AddHeader("X-Mark", f.name)
	}
	return milter.RespAccept, nil
}

// serve runs a filter on a unix socket.
func serve(t *testing.T, name string, heard *[]string) (addr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := milter.NewServer(milter.WithDynamicMilter(func(_ uint32, _ milter.OptAction, _ milter.OptProtocol, _ milter.DataSize) milter.Milter {
		return &filter{name: name, heard: heard}
	}), milter.WithActions(milter.AllClientSupportedActionMasks))
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	return "unix:" + path
}

// ask takes a message through filters and returns what is handed on.
func ask(t *testing.T, f *Filters, e *envelope.Envelope, text string) (string, error) {
	t.Helper()
	x, err := f.Begin(Session{Conn: e.Conn, Mechanism: "PLAIN"}, e.Sender)
	if err != nil {
		return "", err
	}
	defer x.Close()
	for _, to := range e.Recipients {
		if err := x.Rcpt("ID1", to); err != nil {
			return "", err
		}
	}
	m, err := x.Message(message.New(strings.NewReader(text), int64(len(text))), e)
	if err != nil || m == nil {
		return "dropped", err
	}
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

func parse(t *testing.T, s string) envelope.Address {
	t.Helper()
	a, err := envelope.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const trace = "Received: from x\n\tby mx.example.org; now\n"

func TestVerdicts(t *testing.T) {
	var heard []string
	addr := serve(t, "one", &heard)
	tests := []struct{ name, sender, to, in, want, refusal string }{
		{name: "as it is", in: "Subject: x\nReceived: y\n\nbody\n", want: trace + "Subject: x\nReceived: y\n\nbody\n"},
		{name: "no header", in: "body\n", want: trace + "body\n"},
		{name: "no body", in: "Subject: x\n", want: trace + "Subject: x\n"},
		{name: "sender refused", sender: "reject@a.example", refusal: "550 5.7.1 Command rejected"},
		{name: "sender later", sender: "tempfail@a.example", refusal: "451 4.7.1 Service unavailable - try again later"},
		{name: "reply of its own", sender: "custom@a.example", refusal: "554 5.7.9 not you nor you"},
		{name: "closed", sender: "break@a.example", refusal: "451 4.7.1 Service unavailable - try again later"},
		{name: "asked no more", sender: "accept@a.example", to: "no@example.org", in: "Subject: reject\n\nx\n", want: trace + "Subject: reject\n\nx\n"},
		{name: "sender dropped", sender: "discard@a.example", in: "Subject: reject\n\nx\n", want: "dropped"},
		{name: "recipient refused", to: "no@example.org", refusal: "550 5.7.1 Command rejected"},
		{name: "message refused", in: "Subject: reject\n\nx\n", refusal: "550 5.7.1 Command rejected"},
		{name: "refused before its end", in: "Subject: early\n\nx\n", refusal: "550 5.7.1 Command rejected"},
		{name: "message dropped", in: "Subject: discard\n\nx\n", want: "dropped"},
		{name: "recipients changed", in: "Subject: recipient\n\nx\n", refusal: "451 4.7.1 Service unavailable - try again later"},
		{name: "changes", in: "Subject: change\nX-Two: 1\nX-Gone: 1\nX-Two: 2\n\nbody\n",
			want: "X-Top: first\nX-Second: behind the first\n" + trace + "Subject: change\nX-Two: 1\nX-Two: two\nX-End: last\n folded\n\tunfolded\n\nbody\n"},
		{name: "a new body", in: "Subject: replace\n\nx\n", want: trace + "Subject: replace\n\nnew\nbody\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &Filters{Host: "mx.example.org", Log: slog.New(slog.DiscardHandler)}
			if err := f.Add(addr); err != nil {
				t.Fatal(err)
			}
			sender, to := "a@a.example", "alice@example.org"
			if tt.sender != "" {
				sender = tt.sender
			}
			if tt.to != "" {
				to = tt.to
			}
			e := &envelope.Envelope{Sender: parse(t, sender), Recipients: []envelope.Address{parse(t, to)}}
			got, err := ask(t, f, e, trace+tt.in)
			said := ""
			if err != nil {
				said = status.Of(err).Line()
			}
			if said != tt.refusal || err == nil && got != tt.want {
				t.Errorf("got %q, %q\nwant %q, %q", got, said, tt.want, tt.refusal)
			}
			if tt.name == "a new body" && (e.Quarantine != `looks\nodd` && e.Quarantine != "looks odd" || e.Sender.String() != "other@sender.example") {
				t.Errorf("got envelope %+v", e)
			}
		})
	}
}

// A filter hears who sends, and each filter sees what the one before it made.
func TestHeard(t *testing.T) {
	var one, two []string
	f := &Filters{Host: "mx.example.org", Log: slog.New(slog.DiscardHandler)}
	for _, addr := range []string{serve(t, "one", &one), serve(t, "two", &two)} {
		if err := f.Add(addr); err != nil {
			t.Fatal(err)
		}
	}
	e := &envelope.Envelope{Sender: parse(t, "a@a.example"), Recipients: []envelope.Address{parse(t, "b@example.org")},
		Conn: envelope.Connection{RemoteIP: "2001:db8::7", RemotePort: "1234", Helo: "client.example", AuthUser: "u@example.org", TLS: "TLSv1.3 TLS_AES_128_GCM_SHA256"}}
	body := strings.Repeat("x\n", 100000)
	got, err := ask(t, f, e, trace+"Subject: mark\nX-Folded: a\n\tb\n\n"+body)
	want := trace + "Subject: mark\nX-Folded: a\n\tb\nX-Mark: one\nX-Mark: two\n\n" + body
	if err != nil || got != want {
		t.Errorf("got %v, %d bytes %.200q\nwant %d", err, len(got), got, len(want))
	}
	lines := []string{"connect [2001:db8::7] tcp6 1234 2001:db8::7 j=mx.example.org", "helo client.example TLSv1.3 TLS_AES_128_GCM_SHA256 128",
		"mail a@a.example PLAIN u@example.org a.example", "rcpt b@example.org i=ID1", "header Subject:mark", "header X-Folded:a\n\tb"}
	if got, want := strings.Join(one, "|"), strings.Join(append(lines, "body 300000"), "|"); got != want {
		t.Errorf("the first heard\n%s\nwant\n%s", got, want)
	}
	if got, want := strings.Join(two, "|"), strings.Join(append(lines, "header X-Mark:one", "body 300000"), "|"); got != want {
		t.Errorf("the second heard\n%s\nwant\n%s", got, want)
	}
}

// A filter that is not there, or says what cannot be read, is passed over or makes the answer a temporary one.
func TestFailing(t *testing.T) {
	for name, says := range map[string]string{"nothing": "", "an empty packet": "\x00\x00\x00\x00", "nonsense": "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, says)
				c.Close()
			}
		}()
		for _, addr := range []string{"unix:" + path, "unix:" + path + ".no"} {
			f := &Filters{Host: "mx.example.org", Log: slog.New(slog.DiscardHandler)}
			if err := f.Add(addr); err != nil {
				t.Fatal(err)
			}
			e := &envelope.Envelope{Recipients: []envelope.Address{parse(t, "b@example.org")}}
			if _, err := ask(t, f, e, trace+"\n"); err == nil || status.Of(err).Code != 451 {
				t.Errorf("%s: got %v", name, err)
			}
			f.Accept = true
			if got, err := ask(t, f, e, trace+"\n"); err != nil || got != trace+"\n" {
				t.Errorf("%s: passed over, got %q, %v", name, got, err)
			}
		}
		l.Close()
		<-done
	}
}

// A field that a filter makes is one field, or none.
func TestPut(t *testing.T) {
	tests := []struct {
		name, value string
		raw         bool
		want        string
	}{
		{"X-A", "b", false, "X-A: b\n"},
		{"X-A", "b", true, "X-A:b\n"},
		{"X-A", "", false, "X-A:\n"},
		{"X-A", "b\n\nX-B: c\r\n\r\nbody", false, "X-A: b\n\tX-B: c\n\tbody\n"},
		{"X-A", "b\rc", false, "X-A: b\n\tc\n"},
		{"X-A", "b\x00c", false, ""},
		{"X A", "b", false, ""},
		{"X-A:", "b", false, ""},
		{"X-A\n\nbody", "b", false, ""},
		{"", "b", false, ""},
	}
	for _, tt := range tests {
		h := &edit{raw: tt.raw}
		err := h.add(tt.name, tt.value)
		got, _ := h.bytes(false)
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q: got %q, %v", tt.name, tt.value, got, err)
		}
	}
}

func TestAdd(t *testing.T) {
	for _, addr := range []string{"", "unix:", "11332", "host:", ":11332", "inet:11332@localhost"} {
		if err := new(Filters).Add(addr); err == nil {
			t.Errorf("%q was taken", addr)
		}
	}
	for _, addr := range []string{"localhost:11332", "inet:[::1]:11332", "unix:/run/s"} {
		if err := new(Filters).Add(addr); err != nil {
			t.Errorf("%q: %v", addr, err)
		}
	}
}
