package dkim

import (
	"math/rand/v2"
	"strings"
	"testing"

	"pennypost/internal/message"
)

// randomText puts pieces of text together, most of which are the first.
func randomText(r *rand.Rand, size int, pieces ...string) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(pieces[int(float64(len(pieces))*r.Float64()*r.Float64()*r.Float64())])
	}
	return b.String()
}

// TestRandomBodies holds bodies of several pages, which are nearly in canonical form, against the slow form.
func TestRandomBodies(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		end := []string{"\r\n", "\n"}[i%2]
		pieces := []string{"a few words of text", " ", "word", end, "! ", end + end, "ümläut", "\r\n", "\n", "  ", "\t", " \r\n", "\x00", "\r", " \t"}
		s := randomText(r, r.IntN(12000), pieces[:8+r.IntN(len(pieces)-7)]...)
		cut := r.IntN(len(s) + 1)
		for _, c := range []Canon{Simple, Relaxed} {
			want := plainBody(c, s)
			if got := canonBody(c, s); got != want {
				t.Fatalf("%s, text %d %.300q: got %.300q, want %.300q", c, i, s, got, want)
			}
			if got := canonBody(c, s[:cut], s[cut:]); got != want {
				t.Fatalf("%s, text %d cut at %d: another form", c, i, cut)
			}
		}
	}
}

// plainField is the relaxed form of a field's value, one byte after the other.
func plainField(value string) string {
	value = strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", ""), "\n", "")
	words := strings.FieldsFunc(value, func(c rune) bool { return c == ' ' || c == '\t' })
	return strings.Join(words, " ")
}

func TestRandomFields(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		value := randomText(r, r.IntN(200), "text", " ", "\n ", "x", "  ", "\t", "\r\n\t", " \n", "\r", " \r", "\x00", " \x00", "\xff", "\n", "\r\n")
		want := "a:" + plainField(value) + "\r\n"
		if got := string(canonField(nil, []byte("A :"+value), Relaxed)); got != want {
			t.Fatalf("%q: got %q, want %q", value, got, want)
		}
	}
}

// TestManyNamesOfFields: an index finds each of many fields by its name, in any case, and no other.
func TestManyNamesOfFields(t *testing.T) {
	var b strings.Builder
	name := func(n int) string {
		return strings.Repeat("x", n%100) + string(rune('A'+n%26)) + strings.Repeat("y", n/100)
	}
	for n := range 3000 {
		b.WriteString(name(n) + ": 1\n" + name(n) + ": 2\n")
	}
	index := IndexFields(fieldsOf(t, b.String()))
	for n := range 3000 {
		upper := strings.ToUpper(name(n))
		got := index.Select([]string{upper, upper, upper})
		if len(got) != 2 || string(got[0]) != name(n)+": 2\n" || string(got[1]) != name(n)+": 1\n" || index.Count(upper) != 2 {
			t.Fatalf("%s: got %q", upper, got)
		}
	}
	if index.Count("z") != 0 || len(index.Select([]string{"z", ""})) != 0 || IndexFields(nil).Count("x") != 0 {
		t.Error("what is not there was found")
	}
}

func fieldsOf(t *testing.T, text string) []message.Field {
	t.Helper()
	h, err := message.Bytes([]byte(text)).Header()
	if err != nil {
		t.Fatal(err)
	}
	return h.Fields
}
