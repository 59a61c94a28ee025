package internal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

func TestMain(m *testing.M) { mailtest.Main(m) }

var programs = []string{"mx", "smtpsend", "smtpd", "deliver", "popd", "imapd", "mailauth", "mboxconv"}

var (
	helpFlag = regexp.MustCompile(`(?m)^ +(?:(-\w), )?--([a-z][a-z0-9-]*)`)
	helpSub  = regexp.MustCompile(`(?m)^  ([a-z]+) +\S`)
	pageFlag = regexp.MustCompile(`\bFl ((?:Fl )?[A-Za-z0-9][A-Za-z0-9-]*)`)
)

// Every flag of a program and of its commands is in its page, and every flag of the page is one of the program's.
func TestPagesAgreeWithHelp(t *testing.T) {
	bin := mailtest.Build(t, programs...)
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			help := flagsOfHelp(t, filepath.Join(bin, name), nil)
			page := flagsOfPage(t, name)
			for _, f := range help {
				if !slices.Contains(page, f) {
					t.Errorf("%s is in --help but not in the page", f)
				}
			}
			for _, f := range page {
				if !slices.Contains(help, f) {
					t.Errorf("%s is in the page but not in --help", f)
				}
			}
		})
	}
}

func flagsOfHelp(t *testing.T, program string, sub []string) []string {
	t.Helper()
	out, err := exec.Command(program, append(sub, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v --help: %v\n%s", program, sub, err, out)
	}
	text := string(out)
	if !strings.Contains(text, "Examples:") {
		t.Errorf("%s %v --help has no example", program, sub)
	}
	var flags []string
	for _, m := range helpFlag.FindAllStringSubmatch(text, -1) {
		if m[1] != "" && m[2] != "help" && m[2] != "version" {
			flags = append(flags, m[1])
		}
		if m[2] != "help" && m[2] != "version" {
			flags = append(flags, "--"+m[2])
		}
	}
	if _, list, ok := strings.Cut(text, "Available Commands:"); ok && len(sub) == 0 {
		list, _, _ = strings.Cut(list, "\n\n")
		for _, m := range helpSub.FindAllStringSubmatch(list, -1) {
			flags = append(flags, flagsOfHelp(t, program, []string{m[1]})...)
		}
	}
	return flags
}

// flagsOfPage reads the page's own flags: those in its SYNOPSIS and in the items of its lists.
func flagsOfPage(t *testing.T, name string) []string {
	t.Helper()
	found, _ := filepath.Glob("../man/" + name + ".[18]")
	if len(found) != 1 {
		t.Fatalf("pages of %s: %v", name, found)
	}
	src, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for line := range strings.Lines(string(src)) {
		if !strings.HasPrefix(line, ".It Fl") {
			continue
		}
		for _, m := range pageFlag.FindAllStringSubmatch(line, -1) {
			flag := "-" + m[1]
			if long, ok := strings.CutPrefix(m[1], "Fl "); ok {
				flag = "--" + long
			}
			if flag != "--help" && flag != "--version" && flag != "-h" {
				flags = append(flags, flag)
			}
		}
	}
	return flags
}

// Every page has what a reader looks for, and says nothing about the future.
func TestPagesAreComplete(t *testing.T) {
	pages, _ := filepath.Glob("../man/*.[1-8]")
	if len(pages) < 11 {
		t.Errorf("only %d pages", len(pages))
	}
	for _, page := range pages {
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		need := []string{".Sh NAME", ".Sh DESCRIPTION", ".Sh SEE ALSO"}
		if strings.HasSuffix(page, ".1") || strings.HasSuffix(page, ".8") {
			need = append(need, ".Sh SYNOPSIS", ".Sh EXIT STATUS", ".Sh EXAMPLES")
		}
		for _, section := range need {
			if !strings.Contains(string(src), section) {
				t.Errorf("%s has no %s", page, section)
			}
		}
	}
}
