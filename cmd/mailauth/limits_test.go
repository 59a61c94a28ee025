package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pennypost/internal/arc"
	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/message"
	"pennypost/internal/spf"
)

// TestLimitsInManual: the limits that mailauth(1) names are those of the code.
func TestLimitsInManual(t *testing.T) {
	page, err := os.ReadFile("../../man/mailauth.1")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n.Sh LIMITS\n")
	section, _, _ := strings.Cut(rest, "\n.Sh ")
	section = strings.ReplaceAll(section, "\n", " ")
	for _, want := range []string{
		fmt.Sprintf("Header: %d MiB, %d fields", message.MaxHeader>>20, message.MaxFields),
		fmt.Sprintf("DKIM: %d signatures of a message, each of %d KiB with %d tags and %d names",
			dkim.MaxSignatures, dkim.MaxSignature>>10, dkim.MaxTags, dkim.MaxNames),
		fmt.Sprintf("keys of %d to %d bits", dkim.MinBits, dkim.MaxBits),
		fmt.Sprintf("ARC: %d sets, fields of %d KiB, %d MiB of header", arc.MaxSets, arc.MaxField>>10, arc.MaxCovered>>20),
		fmt.Sprintf("SPF: %d look-ups, %d of them void; %d hosts of an", spf.MaxLookups, spf.MaxVoids, spf.MaxMX),
		fmt.Sprintf("and %d names of a client; a sender of %d bytes; %.0f seconds", spf.MaxPTR, spf.MaxIdentity, spf.MaxTime.Seconds()),
		fmt.Sprintf("%d domains that SPF and DKIM vouch for; %.0f seconds", dmarc.MaxAuths, dmarc.MaxTime.Seconds()),
	} {
		if !strings.Contains(section, want) {
			t.Errorf("%q is not in the section", want)
		}
	}
}
