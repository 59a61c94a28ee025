package dkim

import (
	"bytes"
	"strings"

	"pennypost/internal/lazy"
	"pennypost/internal/message"
)

// change is what a field may have been before.
type change struct {
	repair Repair
	raw    []byte
}

var (
	fold       = lazy.Regexp(`\r?\n[ \t]+`)
	afterComma = lazy.Regexp(`,\s*`)
	// subjectTag is a name of a list in brackets, or a mark of a filter between stars.
	subjectTag = lazy.Regexp(`\[[^\[\]\r\n]{1,100}\]\s*|\*{2,5}[^*\r\n]{1,100}\*{2,5}\s*`)
)

// changes are what a field may have been, by what is usually done to one of its name.
func changes(f message.Field, c Canon) []change {
	var out []change
	add := func(kind RepairKind, text string, raw []byte) {
		if !bytes.Equal(raw, f.Raw) {
			out = append(out, change{Repair{Kind: kind, Text: text}, raw})
		}
	}
	add(RepairUnfold, "", fold().ReplaceAll(f.Raw, []byte(" ")))
	add(RepairUnfold, "", fold().ReplaceAll(f.Raw, nil))
	switch name := strings.ToLower(f.Name); name {
	case "subject":
		for _, at := range subjectTag().FindAllIndex(f.Raw, 3) {
			tag := strings.TrimRight(string(f.Raw[at[0]:at[1]]), "\r\n")
			add(RepairTag, tag, append(bytes.Clone(f.Raw[:at[0]]), f.Raw[at[0]+len(tag):]...))
		}
	case "content-transfer-encoding":
		for _, e := range []string{"8bit", "7bit", "quoted-printable", "base64", "binary"} {
			add(RepairEncoding, e, []byte(f.Name+": "+e+"\r\n"))
		}
	case "from", "to", "cc", "reply-to":
		add(RepairCommas, "", afterComma().ReplaceAll(f.Raw, []byte(",")))
		add(RepairCommas, "", afterComma().ReplaceAll(f.Raw, []byte(", ")))
	}
	if c == Simple {
		line := fold().ReplaceAll(trimEOL(f.Raw), []byte(" "))
		add(RepairFold, "", refold(line, " "))
		add(RepairFold, "", refold(line, "\t"))
		add(RepairFold, "", append(bytes.ReplaceAll(line, []byte(", "), []byte(",\r\n ")), "\r\n"...))
	}
	return out
}

// refold puts line ends into a line so that none is longer than 78 bytes, as far as it has blanks (RFC 5322 section 2.1.1).
func refold(line []byte, with string) []byte {
	const width = 78
	var out []byte
	for len(line) > width {
		at := bytes.LastIndexByte(line[1:width], ' ')
		if at < 0 {
			break
		}
		out = append(append(out, line[:at+1]...), "\r\n"...)
		line = append([]byte(with), line[at+2:]...)
	}
	return append(append(out, line...), "\r\n"...)
}
