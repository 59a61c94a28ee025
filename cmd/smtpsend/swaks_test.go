package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// aside are the options of swaks that are about itself: what it shows, and where it has its options from.
var aside = strings.Fields(`--config --support --help --version --silent --output --output-file-stdout --output-file-stderr --hide-all
	--hide-informational --hide-receive --hide-send --no-hints --no-info-hints --no-receive-hints --no-send-hints --show-raw-text
	--show-time-lapse --protect-prompt --auth-hide-password --dump-as-body --dump-as-body-shows-password -g`)

// The table in smtpsend(1) has every option of the swaks that is installed, and no other.
func TestSwaksTable(t *testing.T) {
	out, err := exec.Command(mailtest.Peer(t, "swaks"), "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	page := string(mustRead(t, "../../man/smtpsend.1"))
	_, page, _ = strings.Cut(page, ".Ss For those who know swaks\n")
	page, _, _ = strings.Cut(page, ".Sh ")
	known := slices.Clone(aside)
	name := regexp.MustCompile(`-[-\w*]+`)
	for _, row := range regexp.MustCompile(`(?m)^\.It (-.*?) Ta `).FindAllStringSubmatch(page, -1) {
		known = append(known, name.FindAllString(row[1], -1)...)
	}
	var has []string
	for _, line := range regexp.MustCompile(`(?m)^(?: {7}| {11})(-[-\w]+(?:, -[-\w]+)*)`).FindAllStringSubmatch(string(out), -1) {
		names := name.FindAllString(line[1], -1)
		has = append(has, names...)
		if !slices.ContainsFunc(names, func(n string) bool { return covered(known, n) }) {
			t.Errorf("the table has nothing for %q", names)
		}
	}
	if len(has) < 100 {
		t.Fatalf("swaks lists %d names of options", len(has))
	}
	for _, n := range known[len(aside):] {
		if !slices.ContainsFunc(has, func(h string) bool { return covered([]string{n}, h) }) {
			t.Errorf("the table has %s, which swaks has not", n)
		}
	}
}

// covered tells whether name is among those known, whose star stands for any rest. One hyphen is as good as two.
func covered(known []string, name string) bool {
	name = strings.TrimLeft(name, "-")
	return slices.ContainsFunc(known, func(k string) bool {
		start, any := strings.CutSuffix(strings.TrimLeft(k, "-"), "*")
		return start == name || any && strings.HasPrefix(name, start)
	})
}
