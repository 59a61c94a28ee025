package delivery

import (
	"path"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// Kind is what an instruction does with the message.
type Kind string

const (
	Maildir Kind = "maildir" // a copy into the Maildir Arg
	Mbox    Kind = "mbox"    // a copy at the end of the file Arg
	MH      Kind = "mh"      // a copy into the MH folder Arg
	Stdout  Kind = "stdout"  // a copy on standard output
	LMTP    Kind = "lmtp"    // to the server that the URL Arg names (RFC 2033)
	Command Kind = "command" // Arg is a line for sh(1)
	Forward Kind = "forward" // to the address Arg, through the queue
)

// An Instruction is one thing to do with a message. The files of dot-qmail(5) and .forward are read into them, targets
// named by hand and rules are made into them, and an interpreter of another language would produce them too.
type Instruction struct {
	Kind     Kind
	Arg      string
	Folder   string   // of a Maildir: the Maildir++ folder, "Archive.2026", as maildir.FolderName takes it; made when missing
	Flags    string   // of a Maildir: letters out of DFPRST
	Keywords []string // of a Maildir
	Line     int      // where it stands in its file, 0 when it does not
}

// String is the instruction as dot-qmail(5) writes it, or as a target where that has no line for it.
func (i Instruction) String() string {
	switch i.Kind {
	case Command:
		return "|" + i.Arg
	case Forward:
		return "&" + i.Arg
	case Maildir:
		return dotted(i.Arg) + "/"
	case MH, LMTP, Stdout:
		return i.target()
	}
	return dotted(i.Arg)
}

func dotted(p string) string {
	if path.IsAbs(p) {
		return p
	}
	return "./" + p
}

// maxSteps bounds the instructions of one delivery.
const maxSteps = 1000

// parse reads the text of an instruction file. Nothing at all is the Maildir; only comments is nowhere.
func parse(f postoffice.Instructions) ([]Instruction, error) {
	if f.Name == "" || f.Text == "" {
		return []Instruction{{Kind: Maildir, Arg: "Maildir"}}, nil
	}
	read := qmailLine
	if f.Forward {
		read = forwardLine
	}
	var all []Instruction
	for n, line := range strings.Split(f.Text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		if line == "" && n == 0 && !f.Forward {
			return nil, mistake(f, 1, line, "the first line is blank")
		}
		if line == "" || line[0] == '#' {
			continue
		}
		got, why := read(line)
		for _, i := range got {
			if f.Exec && i.Kind != Forward {
				why = "the file is executable (chmod -x), which allows forwards only"
			}
			i.Line = n + 1
			all = append(all, i)
		}
		if len(all) > maxSteps {
			why = "too many instructions"
		}
		if why != "" {
			return nil, mistake(f, n+1, line, why)
		}
	}
	return all, nil
}

// mistake is what the owner did wrong. It is temporary: he may mend it.
func mistake(f postoffice.Instructions, line int, text, why string) error {
	return status.Errorf(status.Config, "%s line %d: %q: %s", f.Path, line, status.Escape(text, 80), why)
}

// qmailLine reads a line of dot-qmail(5); why is what is wrong with it.
func qmailLine(line string) (list []Instruction, why string) {
	if strings.ContainsRune(line, 0) {
		return nil, "it has a NUL"
	}
	switch c := line[0]; {
	case c == '|':
		if strings.TrimLeft(line[1:], " \t") == "" {
			return nil, "there is no command"
		}
		return []Instruction{{Kind: Command, Arg: line[1:]}}, ""
	case c == '&':
		return address(strings.TrimLeft(line[1:], " \t"))
	case c == '.' || c == '/':
		return file(line)
	case c == '+':
		return nil, "lines with + are reserved"
	}
	return address(line)
}

func address(s string) ([]Instruction, string) {
	a, err := envelope.Parse(s)
	if err != nil || a.IsNull() {
		return nil, "not an address"
	}
	return []Instruction{{Kind: Forward, Arg: a.String()}}, ""
}

// file reads a line that names a Maildir (final slash) or an mbox.
func file(line string) ([]Instruction, string) {
	p := path.Clean(line)
	if p == "." || p == ".." || p == "/" || strings.HasPrefix(p, "../") {
		return nil, "it leads out of the mailbox"
	}
	if strings.HasSuffix(line, "/") {
		if err := maildir.CheckFolderPath(p); err != nil {
			return nil, err.Error()
		}
		return []Instruction{{Kind: Maildir, Arg: p}}, ""
	}
	return []Instruction{{Kind: Mbox, Arg: p}}, ""
}

// forwardLine reads a line of a .forward as sendmail(8) has them: addresses, "|command" and /files, separated by commas,
// each perhaps in double quotes; \user is the owner's own Maildir.
func forwardLine(line string) (list []Instruction, why string) {
	for item := range items(line) {
		switch {
		case item == "":
		case item[0] == '\\':
			list = append(list, Instruction{Kind: Maildir, Arg: "Maildir"})
		case strings.HasPrefix(item, ":include:"):
			return nil, ":include: is not carried out"
		default:
			got, why := qmailLine(item)
			if why != "" {
				return nil, why
			}
			list = append(list, got...)
		}
	}
	return list, ""
}

// items splits at commas outside double quotes, and takes quotes around a whole item away.
func items(line string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		quoted, start := false, 0
		for i := 0; i <= len(line); i++ {
			switch {
			case i < len(line) && line[i] == '\\' && quoted:
				i++
			case i < len(line) && line[i] == '"':
				quoted = !quoted
			case i >= len(line) || line[i] == ',' && !quoted:
				if !yield(unquote(strings.Trim(line[start:min(i, len(line))], " \t"))) {
					return
				}
				start = i + 1
			}
		}
	}
}

func unquote(item string) string {
	if len(item) < 2 || item[0] != '"' || item[len(item)-1] != '"' {
		return item // also "a b"@example.org
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(item[1 : len(item)-1])
}
