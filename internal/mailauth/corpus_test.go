package mailauth

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
)

// readings are the fields of the public examples, as they are to be read: comments gone, names in lower case, one line each.
// "!" and the error stand for those that cannot be read.
var readings = map[string][]string{
	"alignment-auid_not_in_sdid":    {"example.net; dkim=pass header.d=example.net header.i=joe@football.example.com"},
	"alignment-from_not_in_sdid":    {"example.net; dkim=pass header.d=unrelated.com"},
	"dkim-unknown_result":           {"example.net; dkim=timeout header.d=example.com"},
	"fakePayPal":                    {"example.net; dkim=pass header.d=unrelated.com"},
	"multiple_arh-newest_no_result": {"example.net; none", "unrelated.com; dkim=pass header.d=unrelated.com", "example.net; dkim=pass header.d=example.com"},
	"multiple_arh-newest_no_authserv": {`! want ";" at "=pass header.d=01.ex"`, "unrelated.com; dkim=pass header.d=unrelated.com",
		`! want ";" at "=pass header.d=02.ex"`},
	// An unquoted slash is not allowed in a value, but is in many.
	"multiple_arh-newest_parsing_error_01": {`example.net; dkim=pass header.d=error.example.com header.b="/d5r"`,
		"unrelated.com; dkim=pass header.d=unrelated.com", "example.net; dkim=pass header.d=example.com"},
	"multiple_arh-newest_parsing_error_02": {`! want ";" at "/net;  dkim=pass hea"`, "unrelated.com; dkim=pass header.d=unrelated.com",
		`! want ";" at "/net;  dkim=pass hea"`},
	"multiple_arh-newest_unknown_method": {"example.net; foo=pass", "unrelated.com; dkim=pass header.d=unrelated.com",
		"example.net; dkim=pass header.d=example.com"},
	"multiple_arh-same_and_different_authserv": {"example.net; spf=pass", "example.net; dkim=pass header.d=example.com",
		"example.net; dkim=pass header.d=football.example.com", "foo.example.net; dkim=pass header.d=foo.example.com",
		"unrelated.com; dkim=pass header.d=unrelated.com", `! want ";" at "=pass header.d=outlo"`, "example.net; dkim=pass header.d=last.example.com"},
	"multiple_dkim_results": {"example.net; dkim=fail header.d=example.com; dkim=pass header.d=unrelated.org; dkim=pass header.d=example.com; " +
		`dkim=fail reason="test failure" header.d=example.com; dkim=fail reason="test failure signed by unrelated" header.d=unrelated.org; ` +
		"dkim=fail header.d=example.com; dkim=pass header.d=example.org"},
	"multiple_spf_and_dmarc_results": {"example.net; spf=fail; spf=pass; spf=none; spf=softfail; spf=policy; spf=neutral; spf=temperror; " +
		"spf=permerror; dmarc=fail; dmarc=pass; dmarc=permerror; dmarc=none; dmarc=temperror"},
	"rfc6376-A.2-arh-failed-no_reason":      {rfcReading + "dkim=fail header.d=example.com"},
	"rfc6376-A.2-arh-failed":                {rfcReading + `dkim=fail reason="bad signature" header.d=example.com`},
	"rfc6376-A.2-arh-valid-a_tag":           {rfcReading + "dkim=pass header.d=example.com header.a=rsa-sha256"},
	"rfc6376-A.2-arh-valid-a_tag_sha1":      {rfcReading + "dkim=pass header.d=example.com header.a=rsa-sha1"},
	"rfc6376-A.2-arh-valid-auid":            {rfcReading + "dkim=pass header.i=joe@football.example.com"},
	"rfc6376-A.2-arh-valid-no_sdid_or_auid": {rfcReading + "dkim=pass"},
	"rfc6376-A.2-arh-valid-sdid_and_auid":   {rfcReading + "dkim=pass header.d=example.com header.i=joe@football.example.com"},
	"rfc6376-A.2-arh-valid":                 {rfcReading + "dkim=pass header.d=example.com"},
	"rfc6376-A.2-arh-valid_relaxed":         {rfcReading + "dkim=pass header.d=example.com"},
}

const rfcReading = "example.net; spf=pass smtp.mailfrom=example.com; "

// TestCorpus reads public examples of the field that lie beside the project, every field of every file.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(mailtest.Corpus(t, "authres"), "*.eml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".eml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := message.Bytes(text).Header()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range h.All(FieldName) {
			a, err := ParseAuthRes(f.Value())
			if err != nil {
				got = append(got, "! "+err.Error())
				continue
			}
			got = append(got, a.body())
		}
		if !slices.Equal(got, readings[name]) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, readings[name])
		}
	}
	if len(files) != len(readings) {
		t.Errorf("%d files, %d readings", len(files), len(readings))
	}
}
