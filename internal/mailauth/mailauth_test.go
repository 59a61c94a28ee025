package mailauth

import (
	"bytes"
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want AuthRes
	}{
		{"example.org; none", AuthRes{ID: "example.org", Version: 1}},
		{"example.org 1; none", AuthRes{ID: "example.org", Version: 1}},
		{" example.org\n\t(a (b \\) c)) 2 ;;", AuthRes{}}, // see below
		{"example.com;\n  auth=pass (cram-md5) smtp.auth=sender@example.net;\n  spf=pass smtp.mailfrom=example.net", AuthRes{
			ID: "example.com", Version: 1, Results: []MethodResult{
				{"auth", 1, "pass", "", []Property{{"smtp", "auth", "sender@example.net"}}},
				{"spf", 1, "pass", "", []Property{{"smtp", "mailfrom", "example.net"}}},
			}}},
		{"foo.example.net (foobar) 1 (baz);\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\n policy (A dot can go here) . (like that) expired (this surprised me) = (as I wasn't expecting it) 1362471462", AuthRes{
			ID: "foo.example.net", Version: 1, Results: []MethodResult{
				{"dkim", 1, "fail", "", []Property{{"policy", "expired", "1362471462"}}},
			}}},
		{`"a b"; dkim=FAIL reason="it; is \"bad\"" header.d="x y" header.b=a/b+c== header.i="j d"@example.org;`, AuthRes{
			ID: "a b", Version: 1, Results: []MethodResult{
				{"dkim", 1, "fail", `it; is "bad"`, []Property{{"header", "d", "x y"}, {"header", "b", "a/b+c=="}, {"header", "i", `"j d"@example.org`}}},
			}}},
		{"x; iprev=pass policy.iprev=2001:db8::1; dkim=none", AuthRes{ID: "x", Version: 1, Results: []MethodResult{
			{"iprev", 1, "pass", "", []Property{{"policy", "iprev", "2001:db8::1"}}}, {"dkim", 1, "none", "", nil}}}},
		{"x; dkim=pass reason = good header.d = y", AuthRes{ID: "x", Version: 1, Results: []MethodResult{
			{"dkim", 1, "pass", "good", []Property{{"header", "d", "y"}}}}}},
	} {
		got, err := ParseAuthRes(c.in)
		if c.want.ID == "" {
			if err == nil {
				t.Errorf("%q: got %+v, want an error", c.in, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%q:\ngot  %+v, %v\nwant %+v", c.in, got, err, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", `authserv-id: no value at ""`},
		{"; none", `authserv-id: no value at "; none"`},
		{"dkim=pass header.d=x", `want ";" at "=pass header.d=x"`},
		{"x; dkim", `want '=' at ""`},
		{"x; dkim=", `no result at ""`},
		{"x; dkim=pass (never ends", "comment without an end"},
		{`x; dkim=pass reason="never ends`, "quoted string without an end"},
		{`x; dkim=pass reason="never ends\`, "quoted string without an end"},
		{"x; dkim=pass header", `want '.' at ""`},
		{"x; dkim=pass header.=y", `no property at "=y"`},
		{"x; dkim/z=pass", `bad version ""`},
		{"x 99999999999999999999; none", `bad version "99999999999999999999"`},
		{"x;" + strings.Repeat("a=b;", maxResults+1), "more than 200 results"},
		{strings.Repeat("x", maxField+1), "longer than 65536 bytes"},
	} {
		if got, err := ParseAuthRes(c.in); err == nil || err.Error() != c.want {
			t.Errorf("%.40q: got %+v, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestFormat(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		in   AuthRes
		want string
	}{
		{AuthRes{ID: "example.org"}, "Authentication-Results: example.org; none\n"},
		{AuthRes{ID: "a;b", Version: 2}, "Authentication-Results: \"a;b\" 2; none\n"},
		{AuthRes{}, "Authentication-Results: localhost; none\n"},
		{AuthRes{ID: "x", Results: []MethodResult{{"dkim", 1, "pass", "", []Property{{"header", "d", "a.b"}, {"header", "b", "a/b="}}}, {"spf", 2, "none", "", nil}}},
			"Authentication-Results: x;\n\tdkim=pass header.d=a.b header.b=\"a/b=\";\n\tspf/2=none\n"},
		{AuthRes{ID: "x", Results: []MethodResult{{"dk\r\nim", 1, "", "a\r\nB: c\"\\\x00\xff", []Property{{"he ader", "", "\r\n.\r\n"}, {"smtp", "mailfrom", "jürgen@x"}}}}},
			"Authentication-Results: x;\n\tdkim=unknown reason=\"a??B: c\\\"\\\\??\" header.unknown=\"??.??\"\n\tsmtp.mailfrom=\"jürgen@x\"\n"},
		{AuthRes{ID: "x", Results: []MethodResult{{"dkim", 1, "fail", long, nil}}},
			"Authentication-Results: x;\n\tdkim=fail\n\treason=\"" + long[:maxValue] + "\"\n"},
	} {
		if got := string(c.in.Format()); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

// TestOracle: what we write is read alike by go-msgauth, as long as it needs
// no quotes, which that does not know.
func TestOracle(t *testing.T) {
	a := AuthRes{ID: "mx.example.org", Version: 1, Results: []MethodResult{
		{"dkim", 1, "pass", "", []Property{{"header", "d", "example.org"}, {"header", "i", "a@example.org"}}},
		{"spf", 1, "fail", "", []Property{{"smtp", "mailfrom", "example.net"}}},
	}}
	body := strings.TrimPrefix(string(a.Format()), FieldName+":")
	id, results, err := authres.Parse(body)
	if err != nil || id != a.ID || len(results) != 2 {
		t.Fatalf("got %q, %v, %v", id, results, err)
	}
	d, ok := results[0].(*authres.DKIMResult)
	if !ok || d.Value != authres.ResultPass || d.Domain != "example.org" || d.Identifier != "a@example.org" {
		t.Errorf("got %+v", results[0])
	}
}

func TestClaims(t *testing.T) {
	own := []string{"mx.example.org", "bücher.example"}
	for body, want := range map[string]bool{
		"mx.example.org; none":                       true,
		"MX.EXAMPLE.ORG 1; none":                     true,
		"mx.example.org.; none":                      true,
		"mx.example.org":                             true,
		"mx.example.org/1; none":                     true,
		"(c)(d (e)) mx.example.org; none":            true,
		`"mx.example.org"; none`:                     true,
		`"mx\.example.org"; none`:                    true,
		"xn--bcher-kva.example; none":                true,
		"BÜCHER.example; none":                       true,
		"(never ends mx.example.org; dkim=pass":      true,
		`"never ends mx.example.org; dkim=pass`:      true,
		"; dkim=pass policy.x=mx.example.org":        true,
		"mx.example.net; dkim=pass":                  false,
		"mx.example.org.evil; dkim=pass":             false,
		"example.org; dkim=pass":                     false,
		"mx.example.net; spf=pass (mx.example.org)":  false,
		"(mx.example.org) mx.example.net; dkim=pass": false,
		"":          false,
		"dkim=pass": false,
	} {
		if got := Claims(body, own); got != want {
			t.Errorf("%q: got %v", body, got)
		}
	}
}

func lookupNothing(context.Context, string) ([]string, error) {
	return nil, &net.DNSError{IsNotFound: true}
}

func check(t testing.TB, text string) (string, *Report) {
	t.Helper()
	m, r, err := Verify(context.Background(), message.Bytes([]byte(text)), Options{
		IDs: []string{"mx.example.org"}, DKIM: dkim.VerifyOptions{LookupTXT: lookupNothing}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(m.Reader()); err != nil {
		t.Fatal(err)
	}
	return b.String(), r
}

const none = "Authentication-Results: mx.example.org;\n\tdkim=none\n"

func TestVerify(t *testing.T) {
	forged := "Authentication-Results: mx.example.org;\n\tdkim=pass\n"
	for name, c := range map[string]struct{ in, want string }{
		"plain":                 {"From: a\n\nx\n", none + "From: a\n\nx\n"},
		"nothing":               {"", none},
		"twice":                 {forged + "From: a\n" + forged + "\nx", none + "From: a\n\nx"},
		"body":                  {"From: a\n\n" + forged, none + "From: a\n\n" + forged},
		"CRLF":                  {strings.ReplaceAll(forged, "\n", "\r\n") + "From: a\r\n\r\nx", none + "From: a\r\n\r\nx"},
		"after a line of junk":  {"junk\n" + forged + "\nx", none + "junk\n\nx"},
		"white space first":     {" ; dkim=pass\nx\n", none + "\n ; dkim=pass\nx\n"},
		"malformed signature":   {"DKIM-Signature: \xff\n\nx", strings.Replace(none, "none", "permerror reason=\"bad tag \\\"\\\\xff\\\"\"", 1) + "DKIM-Signature: \xff\n\nx"},
		"signature of one byte": {"DKIM-Signature:\n\nx", strings.Replace(none, "none", "permerror reason=\"bad tag \\\"\\\"\"", 1) + "DKIM-Signature:\n\nx"},
	} {
		if got, _ := check(t, c.in); got != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, c.want)
		}
	}
}

func TestMany(t *testing.T) {
	sig := "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\n"
	out, r := check(t, strings.Repeat(sig, 40)+"From: a\n\nx")
	if len(r.DKIM) != 40 || len(r.Field.Results) != dkim.MaxSignatures+1 {
		t.Errorf("%d signatures, %d results", len(r.DKIM), len(r.Field.Results))
	}
	if !strings.Contains(out, `dkim=neutral reason="not checked: more than 10 signatures"`) {
		t.Errorf("got %q", out)
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	m := message.New(failing{broken}, 1000)
	if _, _, err := Verify(context.Background(), m, Options{IDs: []string{"x"}}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// FuzzAuthRes: what is parsed and written again is parsed alike, in one field.
func FuzzAuthRes(f *testing.F) {
	f.Add("example.org 1; dkim=pass (x) reason=\"a\\\"b\" header.d=e.f header.i=\"q q\"@e.f; spf=none")
	f.Add("a;b=c d.e=\x00\xff")
	f.Add("\"\"; none")
	f.Add(strings.Repeat("\xb8", maxValue+1))
	f.Add(strings.Repeat("x", maxValue-1) + "\u00fc")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAuthRes(s)
		if err != nil {
			return
		}
		one := a.Format()
		checkField(t, one)
		b, err := ParseAuthRes(strings.TrimPrefix(string(one), FieldName+":"))
		if err != nil {
			t.Fatalf("%q: written as %q: %v", s, one, err)
		}
		if two := b.Format(); !bytes.Equal(one, two) {
			t.Errorf("%q: written as %q, then as %q", s, one, two)
		}
		if len(b.Results) != len(a.Results) {
			t.Errorf("%q: %d results became %d", s, len(a.Results), len(b.Results))
		}
	})
}

// FuzzFormat: no value breaks out of its place.
func FuzzFormat(f *testing.F) {
	f.Add("x", "dkim", "pass", "reason", "header", "d", "value")
	f.Add("x\r\n", "\n", ";", "\"\\\r\nFrom: x", "(", ")", "\xc3")
	f.Fuzz(func(t *testing.T, id, method, value, reason, ptype, name, pvalue string) {
		a := AuthRes{ID: id, Version: 1, Results: []MethodResult{{method, 1, value, reason, []Property{{ptype, name, pvalue}}}}}
		field := a.Format()
		checkField(t, field)
		b, err := ParseAuthRes(strings.TrimPrefix(string(field), FieldName+":"))
		if err != nil || len(b.Results) != 1 || len(b.Results[0].Properties) != 1 {
			t.Fatalf("%q: %+v, %v", field, b, err)
		}
		r := b.Results[0]
		if r.Reason != clean(reason) || r.Properties[0].Value != clean(pvalue) || r.Method != keep(method) {
			t.Errorf("%q: got %+v", field, b)
		}
	})
}

func checkField(t *testing.T, field []byte) {
	t.Helper()
	h, err := message.Bytes(append(field, "\nbody"...)).Header()
	if err != nil || len(h.Fields) != 1 || !h.Fields[0].Is(FieldName) || !h.Blank {
		t.Errorf("%q is not one field: %v", field, err)
	}
	for _, line := range bytes.Split(field, []byte("\n")) {
		if len(line) > 998 {
			t.Errorf("line of %d bytes", len(line))
		}
	}
}

// FuzzVerify: the message below our field is the message, but for claims.
func FuzzVerify(f *testing.F) {
	f.Add("From: a\nAuthentication-Results: mx.example.org; none\n\nx")
	f.Add(" x\n")
	f.Fuzz(func(t *testing.T, s string) {
		out, r := check(t, s)
		field := string(r.Field.Format())
		rest, ok := strings.CutPrefix(out, field)
		if !ok {
			t.Fatalf("%q does not start with %q", out, field)
		}
		if s != "" && (s[0] == ' ' || s[0] == '\t') {
			rest = strings.TrimPrefix(rest, "\n")
		}
		size := len(rest)
		for _, gone := range r.Removed {
			size += len(gone.Raw)
		}
		if size != len(s) || len(r.Removed) == 0 && rest != s {
			t.Errorf("%q became %q", s, rest)
		}
		if again, _ := check(t, out); again != out && len(r.DKIM) == 0 {
			t.Errorf("twice: %q became %q", out, again)
		}
	})
}
