package imap

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pennypost/internal/imap/wire"
	"pennypost/internal/message"
)

// describe writes a part and those below it as one line: type, bytes as sent, lines, children.
func describe(p *part) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s:%d:%d", p.typ.typ, p.typ.subtype, p.end.wire-p.body.wire, p.end.lines-p.body.lines)
	if p.message != nil {
		fmt.Fprintf(&b, "<%s>", describe(p.message))
	}
	if len(p.children) > 0 {
		var list []string
		for _, c := range p.children {
			list = append(list, describe(c))
		}
		fmt.Fprintf(&b, "[%s]", strings.Join(list, " "))
	}
	return b.String()
}

func TestParseMessage(t *testing.T) {
	long := strings.Repeat("y", structureRead+10)
	tests := []struct{ name, in, want string }{
		{"empty", "", "text/plain:0:0"},
		{"no header", "\nbody\n", "text/plain:6:1"},
		{"no body", "Subject: x\n", "text/plain:0:0"},
		{"CRLF stays", "A: b\r\n\r\nx\r\ny\n", "text/plain:6:2"},
		{"no last line end", "A: b\n\nx", "text/plain:1:0"},
		{"two parts", "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: image/png\n\ntwo\n--b--\nepi\n",
			"multipart/mixed:66:10[text/plain:3:0 image/png:3:0]"},
		{"line break belongs to the boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n\n--b--\n", "multipart/mixed:21:5[text/plain:5:1]"},
		{"CRLF before the boundary", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n", "multipart/mixed:19:4[text/plain:3:0]"},
		{"blanks behind a boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\none\n--b-- \n", "multipart/mixed:22:4[text/plain:3:0]"},
		{"a longer line is no boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--bb\n--b--\n", "multipart/mixed:25:5[text/plain:9:1]"},
		{"never closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n", "multipart/mixed:12:3[text/plain:5:1]"},
		{"quoted boundary, comment", "Content-Type: multipart/mixed (c); x=1; boundary=\"b c\"\n\n--b c\n\none\n--b c--\n", "multipart/mixed:23:4[text/plain:3:0]"},
		{"no boundary named", "Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n", "text/plain:19:4"},
		{"boundary never comes", "Content-Type: multipart/mixed; boundary=b\n\nnothing\n", "text/plain:9:1"},
		{"only the end comes", "Content-Type: multipart/mixed; boundary=b\n\nx\n--b--\n", "text/plain:10:2"},
		{"boundary in a header", "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n--b--\n", "multipart/mixed:18:3[text/plain:0:0]"},
		{"outer boundary ends the inner", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--a\n\ny\n--a--\n",
			"multipart/mixed:77:10[multipart/mixed:8:2[text/plain:1:0] text/plain:1:0]"},
		{"same boundary inside", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a--\n",
			"multipart/mixed:67:7[multipart/mixed:17:4[text/plain:1:0]]"},
		{"a message", "Content-Type: message/rfc822\n\nSubject: in\n\nx\n", "message/rfc822:18:3<text/plain:3:1>"},
		{"a message in parts", "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: in\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--a--\n",
			"multipart/digest:89:10[message/rfc822:73:6<multipart/mixed:15:3[text/plain:1:0]>]"},
		{"message without content", "Content-Type: message/rfc822\n", "text/plain:0:0"},
		{"bad type", "Content-Type: nonsense\n\nx\n", "text/plain:3:1"},
		{"type with blanks", "Content-Type: text / html\n\nx\n", "text/html:3:1"},
		{"folded type", "Content-Type: multipart/mixed;\n\tboundary=b\n\n--b\n\none\n--b--\n", "multipart/mixed:19:4[text/plain:3:0]"},
		{"long lines", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + long + "--b\n" + long + "\n--b--\n", "multipart/mixed:" + fmt.Sprint(7+2*len(long)+3+2+2+7) + ":5[text/plain:" + fmt.Sprint(2*len(long)+5) + ":1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := parseMessage(strings.NewReader(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(p); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			checkParts(t, tt.in, p)
		})
	}
}

// checkParts asserts what holds for every message: places ascend and lie inside each other, and lengths are
// those of the bytes as they are sent.
func checkParts(t *testing.T, in string, p *part) {
	t.Helper()
	sent := func(a, b pos) int64 {
		n := &counter{}
		io.WriteString(message.ToCRLF(n), in[a.raw:b.raw])
		return n.n
	}
	if p.header.raw > p.body.raw || p.body.raw > p.end.raw || p.end.raw > int64(len(in)) {
		t.Fatalf("header %d, body %d, end %d of %d", p.header.raw, p.body.raw, p.end.raw, len(in))
	}
	if n := sent(p.header, p.body); n != p.body.wire-p.header.wire {
		t.Fatalf("header has %d bytes as sent, not %d: %q", n, p.body.wire-p.header.wire, in[p.header.raw:p.body.raw])
	}
	if n := sent(p.body, p.end); n != p.end.wire-p.body.wire {
		t.Fatalf("body has %d bytes as sent, not %d: %q", n, p.end.wire-p.body.wire, in[p.body.raw:p.end.raw])
	}
	below := p.children
	if p.message != nil {
		below = []*part{p.message}
	}
	at := p.body.raw
	for _, c := range below {
		if c.header.raw < at || c.end.raw > p.end.raw {
			t.Fatalf("part %d-%d is not within %d-%d", c.header.raw, c.end.raw, at, p.end.raw)
		}
		at = c.end.raw
		checkParts(t, in, c)
	}
}

// Bounds hold whatever the message is made of.
func TestParseMessageBounds(t *testing.T) {
	var deep strings.Builder
	for i := range 3 * maxDepth {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=%d\n\n--%d\n", i, i)
	}
	many := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 3*maxParts)
	rfc822 := strings.Repeat("Content-Type: message/rfc822\n\n", 3*maxDepth) + "x\n"
	header := "Subject: " + strings.Repeat("x", 3*maxKept) + "\nTo: a@b\n\n"
	for name, in := range map[string]string{"deep": deep.String(), "many": many, "messages": rfc822, "header": header} {
		t.Run(name, func(t *testing.T) {
			p, err := parseMessage(strings.NewReader(in))
			if err != nil {
				t.Fatal(err)
			}
			checkParts(t, in, p)
			depth, parts, kept := measureParts(p)
			if depth > maxDepth+1 || parts > maxParts || kept > maxKept {
				t.Errorf("depth %d, parts %d, kept %d", depth, parts, kept)
			}
			if p.end.raw != int64(len(in)) {
				t.Errorf("ends at %d of %d", p.end.raw, len(in))
			}
		})
	}
}

func measureParts(p *part) (depth, parts, kept int) {
	for _, v := range p.fields {
		kept += len(v)
	}
	below := p.children
	if p.message != nil {
		below = []*part{p.message}
	}
	for _, c := range below {
		d, n, k := measureParts(c)
		depth, parts, kept = max(depth, d), parts+n, kept+k
	}
	return depth + 1, parts + 1, kept
}

// FuzzStructure: every message has a structure, whose places are right, which does not depend on how it is
// read, and which the client can take apart.
func FuzzStructure(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n")
	f.Add("Content-Type: multipart/digest; boundary=\"b\"\n\n--b\n\nFrom: \"a\\\" (c) <x@y>, g: z;\n\nx\n--b\n--b--")
	f.Add("Content-Type: message/rfc822\nContent-Disposition: attachment; filename*=utf-8''x\n\nContent-Type: multipart/x\n\n")
	f.Add("\n\n--\n\r\r\n\x00")
	f.Fuzz(func(t *testing.T, in string) {
		p, err := parseMessage(strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		checkParts(t, in, p)
		if p.header.raw != 0 || p.end.raw != int64(len(in)) {
			t.Fatalf("the message is %d-%d of %d", p.header.raw, p.end.raw, len(in))
		}
		head, err := parseHeader(iotest.OneByteReader(strings.NewReader(in)))
		if err != nil || head.body != p.body {
			t.Fatalf("header alone ends at %v, %v, with the rest at %v", head.body, err, p.body)
		}
		var out bytes.Buffer
		w := wire.NewWriter(&out)
		writeEnvelope(w, p)
		writeStructure(w, p, true)
		writeStructure(w, p, false)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if n, err := lists(out.String()); n != 3 || err != nil {
			t.Fatalf("%d lists, %v: %q", n, err, out.String())
		}
	})
}

// lists counts the parenthesised lists on the outermost level and checks strings and literals inside.
func lists(s string) (n int, err error) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				n++
			}
			if depth < 0 {
				return n, fmt.Errorf("too many ) at %d", i)
			}
		case c == '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
				if i < len(s) && (s[i] < ' ' || s[i] > '~') {
					return n, fmt.Errorf("byte %q in a quoted string", s[i])
				}
			}
		case c == '{':
			var size int
			if _, err := fmt.Sscanf(s[i:], "{%d}\r\n", &size); err != nil {
				return n, err
			}
			i += strings.Index(s[i:], "\n") + size
			if i >= len(s) {
				return n, fmt.Errorf("a literal is too short")
			}
		case c != ' ' && (c < '0' || c > '9') && !strings.ContainsRune("NIL", rune(c)):
			return n, fmt.Errorf("byte %q at %d", c, i)
		}
	}
	if depth != 0 {
		return n, fmt.Errorf("%d lists are open", depth)
	}
	return n, nil
}

func TestParseAddresses(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"a@b", "||a|b"},
		{"Fred Foo <fred@example.org>", "Fred Foo||fred|example.org"},
		{`"Foo, Fred" <fred@example.org>, b@c`, "Foo, Fred||fred|example.org b@c"},
		{"a@b (Comment (nested))", "Comment (nested)||a|b"},
		{`"a@b"@c`, "||a@b|c"},
		{`<"a@b"@c>`, "||a@b|c"},
		{"<@x,@y:a@b>", "|@x,@y|a|b"},
		{"g: a@b, c@d;, e@f", "{g} a@b c@d {} e@f"},
		{"undisclosed-recipients:;", "{undisclosed-recipients} {}"},
		{"g: a@b", "{g} a@b {}"},
		{"Joe Blow j@x.y", "||Joe Blow j|x.y"},
		{"<j@x.y", "||j|x.y"},
		{"joe", "||joe|"},
		{"a@b, , c@d,", "a@b c@d"},
		{"=?utf-8?q?J=C3=BCrgen?= <j@x>", "=?utf-8?q?J=C3=BCrgen?=||j|x"},
		{"a@[192.168.1.1]", "||a|[192.168.1.1]"},
		{"<>", "|||"},
		{"M\xfcller <m@x>", "M\xfcller||m|x"},
		{`"unclosed <a@b>`, "||unclosed <a@b>|"},
	}
	for _, tt := range tests {
		if got := showAddresses(parseAddresses(tt.in)); got != tt.want && got != strings.ReplaceAll(tt.want, "Joe Blow j", "JoeBlowj") {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// showAddresses writes name|route|mailbox|host, or shorter mailbox@host where an entry is not the only one.
func showAddresses(list []address) string {
	var out []string
	for i, a := range list {
		switch {
		case !a.hasHost:
			out = append(out, "{"+a.mailbox+"}")
		case i > 0 || len(list) > 1 && !a.hasName:
			out = append(out, a.mailbox+"@"+a.host)
		default:
			out = append(out, strings.Join([]string{a.name, a.route, a.mailbox, a.host}, "|"))
		}
	}
	return strings.Join(out, " ")
}

func TestContentTypes(t *testing.T) {
	tests := []struct{ in, want string }{
		{`text/plain`, "{text plain [{charset us-ascii}]}"},
		{`TEXT/HTML; Charset="utf-8"; format=flowed`, "{TEXT HTML [{Charset utf-8} {format flowed}]}"},
		{`application/pdf; name="a;b\"c".pdf; x`, `{application pdf [{name a;b"c}]}`},
		{`application/pdf; name=two words.pdf; y=z`, "{application pdf [{name two words.pdf} {y z}]}"},
		{`image/png ;; name=`, "{image png [{name }]}"},
		{`/plain`, "{text plain [{charset us-ascii}]}"},
		{`(c) text (d) / (e) plain (f); (g) charset (h) = (i) x`, "{text plain [{charset x}]}"},
		{`application/x; filename*0*=utf-8''a; filename*1=b`, "{application x [{filename*0* utf-8''a} {filename*1 b}]}"},
	}
	for _, tt := range tests {
		if got := fmt.Sprint(parseContentType(tt.in, typePlain)); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
	}
	if d, ok := parseDisposition(" attachment; filename=x"); !ok || fmt.Sprint(d) != "{attachment  [{filename x}]}" {
		t.Errorf("got %v, %v", d, ok)
	}
	if _, ok := parseDisposition(" ; "); ok {
		t.Error("no disposition is one")
	}
	if got := parseLanguages("de, (x) en-GB ,,fr"); strings.Join(got, " ") != "de en-GB" {
		t.Errorf("got %q", got)
	}
	if typ := typePlain; len(typ.params) != 1 {
		t.Errorf("the default was changed: %v", typ)
	}
}
