package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

const (
	sum = " 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"

	// signedZone has mail exchangers with TLSA records, and without.
	signedZone = "@ MX 10 mx\nmx A 127.0.0.1\n_25._tcp.mx TLSA 3 1 1" + sum +
		"_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@example.org\"\n" +
		"bare MX 10 mx.bare\nmx.bare A 127.0.0.1\n" +
		"alias MX 10 mx.alias\nmx.alias CNAME mx\n" +
		"self A 127.0.0.1\n_25._tcp.self TLSA 2 0 1" + sum +
		"pkix MX 10 mx.pkix\nmx.pkix A 127.0.0.1\n_25._tcp.mx.pkix TLSA 1 1 1" + sum +
		"outer MX 10 mx.plain.example.\n"
)

// spoil changes a zone behind the back of its signatures: another record, another exchanger, and one that is gone.
func spoil(file string) string {
	return strings.NewReplacer("_25._tcp.mx.spoiled", "_26._tcp.mx.spoiled", "TLSA\t2 0 1 01", "TLSA\t2 0 1 02",
		"\tMX\t10 mx.bare.", "\tMX\t10 mallory.").Replace(file)
}

// A real Unbound says what is authentic: what mx makes of each kind of zone.
func TestValidated(t *testing.T) {
	program := filepath.Join(mailtest.Build(t, "mx"), "mx")
	dns := mailtest.Validated(t, map[string]mailtest.ZoneBelow{
		"good.example":    {Text: signedZone},
		"plain.example":   {Text: signedZone + "hosted MX 10 mx.good.example.\n", Unsigned: true},
		"stale.example":   {Text: signedZone, Signed: time.Now().AddDate(-1, 0, 0)},
		"spoiled.example": {Text: signedZone, Spoil: spoil},
	})
	const (
		found   = "it has TLSA records at _25._tcp.mx.good.example\n"
		failure = ": server failure\n"
	)
	refused := func(name string) string {
		return `  refused  secure  loopback  look up TLSA "_25._tcp.` + name + `.spoiled.example" at ` + dns + failure
	}
	for _, tt := range []struct {
		domain, out, talk string
		status            int
	}{
		{"good.example", "10  mx.good.example.  127.0.0.1  dane  secure  loopback  " + found, "", 0},
		{"bare.good.example", "  opportunistic  secure  loopback  it has no authenticated TLSA records\n", "", 0},
		{"alias.good.example", "10  mx.alias.good.example.  127.0.0.1  dane  secure  cname,loopback  " + found, "", 0},
		{"self.good.example", "0  self.good.example.  127.0.0.1  dane  secure  loopback  it has TLSA records at _25._tcp.self.", "", 0},
		{"pkix.good.example", "  required  secure  loopback  none of its TLSA records at _25._tcp.mx.pkix.good.example is of use", "", 0},
		{"outer.good.example", "10  mx.plain.example.  127.0.0.1  opportunistic  insecure  loopback  no DANE, ", "", 0},
		{"plain.example", "10  mx.plain.example.  127.0.0.1  opportunistic  insecure  loopback  no DANE, ", "", 0},
		{"hosted.plain.example", "10  mx.good.example.  127.0.0.1  opportunistic  insecure  loopback  no DANE, ", "", 0},
		{"stale.example", "", `look up MX "stale.example" at ` + dns + failure, 75},
		{"bare.spoiled.example", "", `look up MX "bare.spoiled.example" at ` + dns + failure, 75},
		{"self.spoiled.example", refused("self"), failure, 75},
		{"spoiled.example", refused("mx"), failure, 75},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			cmd := exec.Command(program, "-l", "--resolver", dns, tt.domain)
			var out, talk strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &talk
			cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != tt.status || !strings.Contains(out.String(), tt.out) || !strings.Contains(talk.String(), tt.talk) {
				t.Errorf("exit %d, want %d, stdout %q, want %q in it, stderr %q, want %q in it", got, tt.status, &out, tt.out, &talk, tt.talk)
			}
		})
	}
}
