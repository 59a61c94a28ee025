package dkim

import (
	"bytes"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"testing"

	"pennypost/internal/message"
)

// examined is the damage of the first signature of a message that was changed after it was signed.
func examined(t testing.TB, text string) Damage {
	t.Helper()
	m := message.Bytes([]byte(text))
	o := testZone(t).options()
	results, err := Verify(t.Context(), m, o)
	if err != nil || len(results) == 0 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	all, err := Examine(m, results)
	if err != nil || len(all) != len(results) {
		t.Fatalf("%d of %d examined, %v", len(all), len(results), err)
	}
	return all[0]
}

func quoted(s string) string {
	var out bytes.Buffer
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}

const (
	plain = "From: Alice <alice@example.org>\nTo: bob@example.net,carol@example.net\nSubject: Re: hello\n" +
		"Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\n" +
		"Hello all,\n\nthis is \xc3\xa4 line = that is it  \nend\n"
	parted = "From: Alice <alice@example.org>\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n\n--b--\n"
)

// two has a multipart within another, with two parts in 8bit.
const two = "From: Alice <alice@example.org>\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n" +
	"Content-Type: multipart/alternative; boundary=b2\n\n--b2\nContent-Type: text/plain; charset=utf-8\n" +
	"Content-Transfer-Encoding: 8bit\n\nErste \xc3\xa4\n\n--b2\nContent-Transfer-Encoding: 8bit\nContent-Type: text/html\n\n" +
	"<p>Zweite \xc3\xa4\n\n--b2--\n\n--b\nContent-Type: text/plain\n\nlast = last\n--b--\n"

// convert encodes the part with a text on its way, as a relay does that knows no 8BITMIME.
func convert(text string) func(string) string {
	return func(s string) string {
		before, after, found := strings.Cut(s, text)
		at := strings.LastIndex(before, "8bit")
		if !found || at < 0 {
			return "there is no such part"
		}
		return before[:at] + "quoted-printable" + before[at+len("8bit"):] + quoted(text) + after
	}
}

func replace(pairs ...string) func(string) string {
	return func(s string) string {
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(s, pairs[i]) {
				return fmt.Sprintf("there is no %q", pairs[i])
			}
			s = strings.Replace(s, pairs[i], pairs[i+1], 1)
		}
		return s
	}
}

// body changes the body only.
func changeBody(change func(string) string) func(string) string {
	return func(s string) string {
		header, body, _ := strings.Cut(s, "\n\n")
		return header + "\n\n" + change(body)
	}
}

var damages = []struct {
	name, form, text string
	change           func(string) string
	body, header     string // the repairs
}{
	{"untouched", "relaxed/relaxed", plain, replace(), "", ""},
	{"footer", "relaxed/relaxed", plain,
		func(s string) string { return s + "\n-- \nthe list\nhttp://list\n" }, "the last 3 lines are removed", ""},
	{"footer, simple, CRLF", "simple/simple", plain,
		func(s string) string { return crlf(s + "-- \nx\n\n") }, "the last 3 lines are removed", ""},
	{"one line", "relaxed/simple", plain, func(s string) string { return s + "x\n" }, "the last line is removed", ""},
	{"footer without a last line end", "relaxed/simple", plain,
		func(s string) string { return s + "y\nx" }, "the last 2 lines are removed", ""},
	{"part", "relaxed/relaxed", parted, replace("--b--", "--b\nContent-Type: text/plain\n\nfooter\n--b--"),
		"the 4 lines before the last boundary are removed", ""},
	{"part, blank lines after it", "simple/simple", parted, replace("--b--", "--b\n\nfooter\n--b--\n\n"),
		"the 3 lines before the last boundary are removed", ""},
	{"footer and tag", "relaxed/relaxed", plain,
		func(s string) string { return replace("Re: hello", "Re: [my list] hello")(s) + "x\n" },
		"the last line is removed", `"[my list] " is taken out of Subject`},
	{"mark", "simple/simple", plain, replace("Re: hello", "***SPAM*** Re: hello"), "", `"***SPAM*** " is taken out of Subject`},
	{"two tags", "relaxed/relaxed", plain, replace("Re: hello", "[a] Re: hello", "Alice", "[x] Alice"), "", "none"},
	{"wrapped", "simple/simple", plain, replace("net,carol", "net,\n\tcarol", ": Re: hello", ":\n Re: hello"), "",
		"To is put on one line, Subject is put on one line"},
	{"wrapped inside a word", "relaxed/relaxed", plain, replace("net,carol", "net,\n\tcarol"), "", "To is put on one line"},
	{"put on one line", "simple/simple", strings.Replace(plain, "net,carol", "net,\n carol", 1),
		replace("net,\n carol", "net, carol"), "", "To is folded"},
	{"commas", "relaxed/relaxed", plain,
		replace("net,carol", "net, carol"), "", "the blanks behind the commas of To are as they were"},
	{"reply-to added", "relaxed/relaxed", plain,
		replace("\nSubject", "\nReply-To: list@example.net\nSubject"), "", "a field Reply-To is removed"},
	{"second subject", "relaxed/relaxed", plain,
		replace("\nSubject", "\nSubject: other\nSubject"), "", "a field Subject is removed"},
	{"X- field added", "relaxed/relaxed", plain, replace("\nSubject", "\nX-Spam: no\nSubject"), "", ""},
	{"to quoted-printable", "relaxed/relaxed", plain,
		func(s string) string { return changeBody(quoted)(replace(": 8bit", ": quoted-printable")(s)) },
		"it is decoded, as it was before it was encoded on the way", "Content-Transfer-Encoding is 8bit"},
	{"to quoted-printable, and a footer", "relaxed/relaxed", plain,
		func(s string) string { return changeBody(quoted)(replace(": 8bit", ": quoted-printable")(s)) + "x\n" },
		"it is decoded, as it was before it was encoded on the way, the last line is removed", "Content-Transfer-Encoding is 8bit"},
	{"to 8bit", "relaxed/simple", changeBody(quoted)(replace(": 8bit", ": quoted-printable")(plain)),
		func(s string) string {
			_, was, _ := strings.Cut(plain, "\n\n")
			return changeBody(func(string) string { return was })(replace(": quoted-printable", ": 8bit")(s))
		}, "it is encoded as quoted-printable, as it was before it was decoded on the way",
		"Content-Transfer-Encoding is quoted-printable"},
	{"part to quoted-printable", "relaxed/relaxed", two, convert("Erste \xc3\xa4\n"),
		"every part in quoted-printable is 8bit, as it was before it was encoded on the way", ""},
	{"both parts to quoted-printable, and a footer", "simple/simple", two,
		func(s string) string { return convert("<p>Zweite \xc3\xa4\n")(convert("Erste \xc3\xa4\n")(s)) + "x\n" },
		"every part in quoted-printable is 8bit, as it was before it was encoded on the way, the last line is removed", ""},
	{"one of two parts to quoted-printable", "relaxed/simple", convert("Erste \xc3\xa4\n")(two),
		func(s string) string { return crlf(convert("<p>Zweite \xc3\xa4\n")(s)) },
		"part 2 in quoted-printable is 8bit, as it was before it was encoded on the way", ""},
	{"part to quoted-printable, and another text", "relaxed/relaxed", two,
		func(s string) string { return convert("Erste \xc3\xa4\n")(replace("Zweite", "Dritte")(s)) }, "none", ""},
	{"empty lines on top", "relaxed/relaxed", plain,
		changeBody(func(s string) string { return "\n\n" + s }), "the empty lines at its beginning are removed", ""},
	{"no empty line on top", "relaxed/simple", strings.Replace(plain, "Hello", "\nHello", 1),
		changeBody(func(s string) string { return s[1:] }),
		"an empty line is put at its beginning", ""},
	{"white space at line ends", "simple/simple", strings.Replace(plain, "it  \n", "it\n", 1),
		changeBody(replace("all,", "all, \t")),
		"the white space at the ends of its lines is removed", ""},
	{"doubled CR", "relaxed/simple", plain,
		changeBody(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\r\n") }), "doubled CRs are removed", ""},
	{"CR only", "relaxed/simple", plain,
		changeBody(func(s string) string { return strings.ReplaceAll(s, "\n", "\r") }), "each CR is a line end", ""},
	{"another text", "relaxed/relaxed", plain, replace("Hello", "Hullo", "Re: hello", "Re: hullo"), "none", "none"},
}

func TestRepair(t *testing.T) {
	for _, c := range damages {
		for _, key := range []string{"rsa", "ed"} {
			o := signer(key)
			o.Header, o.Body, _ = ParseCanon(c.form)
			d := examined(t, c.change(signed(t, c.text, o)))
			if got := told(d.Body, d.BodySearched); got != c.body {
				t.Errorf("%s, %s: body %q, want %q", c.name, key, got, c.body)
			}
			if got := told(d.Header, d.HeaderSearched); got != c.header {
				t.Errorf("%s, %s: header %q, want %q", c.name, key, got, c.header)
			}
			if key == "rsa" && (d.WantHeader == d.GotHeader) != (c.header == "") {
				t.Errorf("%s: header hash %s, signed %s", c.name, d.GotHeader, d.WantHeader)
			}
		}
	}
}

// told are repairs as a text; "none" when there are none and they were looked for.
func told(repairs []Repair, searched bool) string {
	var out []string
	for _, r := range repairs {
		out = append(out, r.String())
	}
	if searched && len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// A signature by another key than the one that is published says nothing of the header.
func TestForeignKey(t *testing.T) {
	text := strings.Replace(signed(t, plain, signer("rsa")), "\n b=", "\n b=AAAA", 1)
	if d := examined(t, text); !d.Foreign || d.HeaderSearched {
		t.Errorf("got %+v", d)
	}
}

// What is beyond the limits is not searched; what is within them, and made to cost much, comes to an end.
func TestRepairIsBounded(t *testing.T) {
	long := signed(t, plain, signer("rsa")) + strings.Repeat("x", MaxRepairBody)
	if d := examined(t, long); d.BodySearched || len(d.Body) > 0 {
		t.Errorf("a long body: %+v", d)
	}
	many := strings.Repeat("X: y\n", MaxRepairFields) + strings.Replace(signed(t, plain, signer("rsa")), "Alice", "Mallory", 1)
	if d := examined(t, many); d.HeaderSearched {
		t.Errorf("many fields: %+v", d)
	}
	var fields strings.Builder
	for i := range 100 {
		fmt.Fprintf(&fields, "Subject: [a] [b] [c] ***d*** %d,\n\te,\n\tf\n", i)
	}
	o := signer("ed")
	o.Header, o.Body = Simple, Simple
	sigs := strings.Repeat(strings.TrimSuffix(signed(t, fields.String()+plain, o), fields.String()+plain), MaxSignatures)
	hostile := sigs + strings.Replace(fields.String()+plain, "Alice", "Mallory", 1) +
		strings.Repeat("\n \r=\r\n", 120_000) + "--x--\n"
	m := message.Bytes([]byte(hostile))
	results, err := Verify(t.Context(), m, testZone(t).options())
	if err != nil {
		t.Fatal(err)
	}
	header, err := m.Header()
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSignature(header.Fields[0].Raw)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Examine(m, results)
	if err != nil || !all[0].BodySearched || !all[0].HeaderSearched || len(all[0].Body)+len(all[0].Header) > 0 {
		t.Fatalf("%+v, %v", all[0], err)
	}
	h := newHeaderSearch(header)
	for range MaxSignatures {
		h.search(&s, func([32]byte) bool { return false })
	}
	if h.tries != MaxRepairTries {
		t.Errorf("%d headers were tried, not %d", h.tries, MaxRepairTries)
	}
}

// Whatever a message is, a repair that is found is one: to search costs nothing else than time.
func FuzzExamine(f *testing.F) {
	o := signer("ed")
	for _, c := range damages {
		f.Add(c.change(signed(f, c.text, o)))
	}
	z := testZone(f).options()
	f.Fuzz(func(t *testing.T, text string) {
		m := message.Bytes([]byte(text))
		results, err := Verify(t.Context(), m, z)
		if err != nil {
			return
		}
		all, err := Examine(m, results)
		if err != nil || len(all) != len(results) {
			t.Fatalf("%d results, %d examined, %v", len(results), len(all), err)
		}
		for i, d := range all {
			if r := results[i]; r.BodyOK && len(d.Body) > 0 || r.HeaderOK && len(d.Header) > 0 || r.Verdict == Pass && d.Foreign {
				t.Errorf("%+v of a signature that matches: %+v", d, r)
			}
		}
	})
}
