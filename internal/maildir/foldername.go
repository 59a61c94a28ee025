package maildir

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// FolderName is the name of a folder as it stands on disk, in the modified UTF-7 of IMAP (RFC 3501 section 5.1.3), made of what
// a user wrote. He may write it so himself, and characters outside ASCII as they are, in UTF-8; a "&" is always "&-". The error
// is fs.ErrInvalid for a name that has no such form, or another than the one that every program writes, and as [CheckFolder] has it.
func FolderName(s string) (string, error) {
	text, err := decodeName(s)
	if err != nil {
		return "", fmt.Errorf("%w: %w", fs.ErrInvalid, err)
	}
	name := encodeName(text)
	return name, CheckFolder(name)
}

// CheckFolderPath refuses a path whose last part is that of a folder, as in Maildir/.Archive, when the folder's name is no
// modified UTF-7. Characters outside ASCII that stand there as themselves are left alone, as in every other path.
func CheckFolderPath(p string) error {
	folder, dotted := strings.CutPrefix(path.Base(p), ".")
	if !dotted || path.Dir(p) == "." || !strings.Contains(folder, "&") {
		return nil
	}
	if _, err := decodeName(folder); err != nil {
		return fmt.Errorf("folder %q: %w: %w", folder, fs.ErrInvalid, err)
	}
	return nil
}

// decodeName reads modified UTF-7 in which characters outside ASCII may stand as themselves.
func decodeName(s string) (string, error) {
	var b strings.Builder
	for coded := false; s != ""; { // coded: a section in base64 has just ended
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			return "", fmt.Errorf("byte %q is not UTF-8", s[:1])
		}
		if unicode.IsControl(r) {
			return "", fmt.Errorf("control character %q in the name", r)
		}
		if r != '&' {
			b.WriteRune(r)
			s, coded = s[n:], false
			continue
		}
		code, rest, closed := strings.Cut(s[1:], "-")
		switch {
		case !closed:
			return "", fmt.Errorf(`"&" without a "-" after it (a "&" of the name itself is written "&-")`)
		case code == "":
			b.WriteByte('&')
		case coded:
			return "", fmt.Errorf(`"&%s-" could be one with what is before it`, code)
		default:
			text, err := decodeSection(code)
			if err != nil {
				return "", fmt.Errorf(`"&%s-" is not modified UTF-7, %w (a "&" of the name itself is written "&-")`, code, err)
			}
			b.WriteString(text)
		}
		s, coded = rest, code != ""
	}
	return b.String(), nil
}

// nameCode is the base64 of modified UTF-7; bits that fill the last digit must be zero.
var nameCode = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// decodeSection reads what stands between "&" and "-": UTF-16 of characters that could not stand there otherwise.
func decodeSection(code string) (string, error) {
	raw, err := nameCode.DecodeString(code)
	switch {
	case err != nil || strings.ContainsAny(code, "\r\n"): // which the decoder passes over
		return "", fmt.Errorf("bad base64")
	case len(raw)%2 != 0:
		return "", fmt.Errorf("half a character")
	}
	var b strings.Builder
	for len(raw) > 0 {
		r := rune(raw[0])<<8 | rune(raw[1])
		if raw = raw[2:]; utf16.IsSurrogate(r) {
			if len(raw) == 0 {
				return "", fmt.Errorf("half a surrogate pair")
			}
			if r = utf16.DecodeRune(r, rune(raw[0])<<8|rune(raw[1])); r == unicode.ReplacementChar {
				return "", fmt.Errorf("half a surrogate pair")
			}
			raw = raw[2:]
		}
		if r < utf8.RuneSelf || unicode.IsControl(r) {
			return "", fmt.Errorf("%q in base64", r)
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// encodeName writes modified UTF-7, in its one form: each run of characters outside ASCII is one section.
func encodeName(s string) string {
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return r < utf8.RuneSelf })
		if n < 0 {
			n = len(s)
		}
		if n > 0 {
			var raw []byte
			for _, u := range utf16.Encode([]rune(s[:n])) {
				raw = append(raw, byte(u>>8), byte(u))
			}
			b.WriteString("&" + nameCode.EncodeToString(raw) + "-")
		}
		if s = s[n:]; s != "" {
			b.WriteByte(s[0])
			if s[0] == '&' {
				b.WriteByte('-')
			}
			s = s[1:]
		}
	}
	return b.String()
}
