package dkim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"io"
	"mime/quotedprintable"
	"strings"

	"pennypost/internal/lazy"
)

// target is a hash that is looked for, and where to write what makes the body match it.
type target struct {
	want [sha256.Size]byte
	into *Damage
}

type targets []target

// maxBlank is how many empty lines are hashed on trial.
const maxBlank = 10

// found notes repairs for every target with this hash. The first that are found stay, but fewer lines removed are better.
func (t targets) found(sum [sha256.Size]byte, repairs ...Repair) {
	for _, x := range t {
		if x.want != sum {
			continue
		}
		old := x.into.Body
		if len(old) == 0 || len(old) == len(repairs) && old[len(old)-1].Kind == repairs[len(repairs)-1].Kind {
			x.into.Body = repairs
		}
	}
}

func (t targets) left() bool {
	for _, x := range t {
		if len(x.into.Body) == 0 {
			return true
		}
	}
	return false
}

// searchBody looks for what makes a body match hashes of its canonical form c: each change to it alone and with lines removed.
// Each change is one pass over the body, however many hashes and lines there are.
func searchBody(c Canon, text []byte, encoding string, wanted targets) {
	for _, t := range wanted {
		t.into.BodySearched = true
	}
	shorten(c, text, wanted)
	for _, v := range bodyChanges {
		if !wanted.left() {
			return
		}
		if changed, ok := v.make(text, encoding); ok && !bytes.Equal(changed, text) {
			shorten(c, changed, wanted, Repair{Kind: v.kind})
		}
	}
	decodeParts(text, func(changed []byte, how Repair) {
		if wanted.left() {
			shorten(c, changed, wanted, how)
		}
	})
	mistaken(c, text, wanted)
}

// bodyChanges are the ways to undo a change to the whole body; not ok where it cannot have been made.
var bodyChanges = []struct {
	kind RepairKind
	make func(text []byte, encoding string) ([]byte, bool)
}{
	{RepairDecode, decode},
	{RepairEncode, encode},
	{RepairTop, func(text []byte, _ string) ([]byte, bool) { return bytes.TrimLeft(text, "\r\n"), true }},
	{RepairNoTop, func(text []byte, _ string) ([]byte, bool) { return append([]byte("\r\n"), text...), true }},
	{RepairCR, func(text []byte, _ string) ([]byte, bool) { return crs().ReplaceAll(text, []byte("\r\n")), true }},
	{RepairBareCR, func(text []byte, _ string) ([]byte, bool) {
		return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n")), true
	}},
	{RepairBlanks, func(text []byte, _ string) ([]byte, bool) { return lineBlanks().ReplaceAll(text, []byte("\n")), true }},
}

var (
	crs        = lazy.Regexp(`\r+\n`)
	lineBlanks = lazy.Regexp(`[ \t]+\r?\n`)
)

func decode(text []byte, encoding string) ([]byte, bool) {
	var r io.Reader
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(text))
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text))
	default:
		return nil, false
	}
	out, err := io.ReadAll(r)
	return out, err == nil
}

func encode(text []byte, encoding string) ([]byte, bool) {
	switch strings.ToLower(encoding) {
	case "", "8bit", "7bit", "binary":
	default:
		return nil, false
	}
	var out bytes.Buffer
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write(text)
	_ = w.Close()
	return out.Bytes(), true
}

// shorten hashes the text, and on the way each beginning of it that lacks only a few lines, by itself and with the last boundary
// of a multipart behind it.
func shorten(c Canon, text []byte, wanted targets, before ...Repair) {
	with := func(kind RepairKind, n int) []Repair {
		return append(append([]Repair(nil), before...), Repair{Kind: kind, Lines: n})
	}
	at, count := tail(text)
	end := boundary(c, text)
	after := bytes.Count(text[len(bytes.TrimRight(text, "\r\n")):], []byte("\n")) // lines from the boundary on, its own included
	h := sha256.New()
	var b body
	b.reset(h, c)
	_, _ = b.Write(text[:at])
	for n := count; n > 0; n-- {
		b.flush()
		wanted.found(sumOf(h, &b), with(RepairLines, n)...)
		if end != nil && n > after && b.blank < maxBlank {
			wanted.found(sumBefore(h, &b, end), with(RepairPart, n-after)...)
		}
		next := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		_, _ = b.Write(text[at:next])
		at = next
	}
	_ = b.Close()
	if len(before) > 0 {
		var sum [sha256.Size]byte
		h.Sum(sum[:0])
		wanted.found(sum, before...)
	}
}

// tail is where the last lines begin, and how many there are, at most MaxRepairLines.
func tail(text []byte) (at, count int) {
	at = len(text)
	for at > 0 && count < MaxRepairLines {
		at = bytes.LastIndexByte(text[:at-1], '\n') + 1
		count++
	}
	return at, count
}

// sumOf is the hash of what was written to b, whose last line is complete, if that were all.
func sumOf(h hash.Hash, b *body) (sum [sha256.Size]byte) {
	if !b.any && !b.relaxed {
		return sha256.Sum256(lineEnds[:2])
	}
	h.Sum(sum[:0])
	return sum
}

// sumBefore is the same with one line more.
func sumBefore(h hash.Hash, b *body, line []byte) (sum [sha256.Size]byte) {
	copied, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic(err) // not SHA-256
	}
	_, _ = copied.Write(lineEnds[:2*b.blank])
	_, _ = copied.Write(line)
	copied.Sum(sum[:0])
	return sum
}

// boundary is the canonical last line of a multipart, nil if the text does not end in one.
func boundary(c Canon, text []byte) []byte {
	text = bytes.TrimRight(text, "\r\n")
	line := text[bytes.LastIndexByte(text, '\n')+1:]
	trimmed := bytes.TrimRight(line, " \t")
	if !bytes.HasPrefix(trimmed, []byte("--")) || !bytes.HasSuffix(trimmed, []byte("--")) || len(trimmed) < 5 || len(line) > 1000 {
		return nil
	}
	var out bytes.Buffer
	var b body
	b.reset(&out, c)
	_, _ = b.Write(line)
	_ = b.Close()
	return out.Bytes()
}

// mistaken tries the mistakes of signers: to hash LF line ends, and the empty lines at the end.
func mistaken(c Canon, text []byte, wanted targets) {
	crlf, lf := sha256.New(), sha256.New()
	var b body
	b.reset(io.MultiWriter(crlf, &withoutCR{w: lf}), c)
	_, _ = b.Write(text)
	_ = b.Close()
	var sum [sha256.Size]byte
	lf.Sum(sum[:0])
	wanted.found(sum, Repair{Kind: RepairLF})
	for range maxBlank {
		_, _ = crlf.Write(lineEnds[:2])
		crlf.Sum(sum[:0])
		wanted.found(sum, Repair{Kind: RepairBlankTail})
	}
}

// withoutCR drops every CR.
type withoutCR struct{ w io.Writer }

func (d *withoutCR) Write(p []byte) (int, error) {
	_, err := d.w.Write(bytes.ReplaceAll(p, []byte("\r"), nil))
	return len(p), err
}
