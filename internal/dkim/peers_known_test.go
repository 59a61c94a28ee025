package dkim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	oracle "github.com/emersion/go-msgauth/dkim"
)

// The known differences, each with who is right.
var (
	// RFC 5322 section 2.3 has no LF without a CR, and an SMTP server refuses or repairs it. A pipe has only those, so that we cannot
	// tell. All but Mail::DKIM repair them too.
	bareIsContent = difference{why: "a bare LF is a line end here and content there"}
	// RFC 6376 section 3.4.4 knows blanks, tabs and CRLF; any other CR is content. dkimpy and Mail::DKIM agree with us on every
	// sample; others take it for white space or for part of a line end, when there is some beside it.
	crIsSpace = difference{why: "a bare CR beside white space or a line end is not content in the relaxed form", sometimes: true}
	// RFC 6376 section 3.4.4: white space at the end of lines is ignored. We are right, and the others agree.
	keepsLastBlanks = difference{why: "white space at the end of a last line that has no line end is kept"}
	// RFC 6376 section 3.4.3: "If there is no trailing CRLF on the message body, a CRLF is added." We are right; the others agree.
	addsNoCRLF = difference{why: "a last line without line end gets none in the simple form"}
	// The same, in the relaxed form; whoever calls the library is to add it.
	wantsCRLF = difference{why: "a last line without line end is refused in the relaxed form"}
	// Not the library: its test mode reads lines as C strings.
	endsAtNUL = difference{why: "the line ends at a NUL"}
	// Not the library: the milter protocol says nothing of what stands between colon and value, and the test mode guesses one blank.
	losesBlanks = difference{why: "white space behind the colon is lost, which the simple form keeps"}
	// RFC 6376 section 3.4.3 changes nothing but the empty lines at the end. We are right; the others agree.
	losesCR = difference{why: "a line of nothing but CRs, and CRs at the end of a last line without line end, change in the simple form"}
	// RFC 6376 section 3.4.4 ignores white space at the end of lines. We are right; it ignores two blanks itself.
	keepsOneBlank = difference{why: "a single blank at the end of a last line without line end is kept"}
	none          difference
)

// last is the last line of the body if it has no line end.
func (s sample) last() string {
	b := s.body()
	return b[strings.LastIndexByte(b, '\n')+1:]
}

// goMsgauth is in this process.
var goMsgauth = peer{name: "go-msgauth", ed25519: true, ask: askOracle, known: func(s sample, _ bool) difference {
	if s.relaxedBody() && s.bareCR() {
		return crIsSpace
	}
	return none
}}

// askOracle carries out the orders of a peer by go-msgauth.
func askOracle(t *testing.T, dir string, orders []string) []string {
	t.Helper()
	var answers []string
	for _, order := range orders {
		f := strings.Split(order, " ")
		text, err := os.ReadFile(filepath.Join(dir, f[1]))
		if err != nil {
			t.Fatal(err)
		}
		answer := "pass"
		if f[0] == "sign" {
			o := signer(f[4])
			o.Header, o.Body, _ = ParseCanon(f[3])
			answer, err = "ok", os.WriteFile(filepath.Join(dir, f[2]), []byte(signByOracle(t, string(text), o)), 0o600)
		} else if v, verr := oracle.VerifyWithOptions(bytes.NewReader(text), &oracle.VerifyOptions{LookupTXT: testZone(t).lookup}); verr != nil {
			answer = verr.Error()
		} else if len(v) != 1 || v[0].Err != nil {
			answer = fmt.Sprint(v[0].Err)
		}
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	return answers
}

var dkimpy = peer{name: "dkimpy", ed25519: true, known: func(s sample, _ bool) difference {
	if last := s.last(); s.relaxedBody() && strings.TrimRight(last, " \t") != last {
		return keepsLastBlanks
	}
	return none
}}

var mailDKIM = peer{name: "Mail::DKIM", known: func(s sample, theirs bool) difference {
	switch {
	case theirs && s.bareLF():
		return bareIsContent
	case !s.relaxedBody() && s.last() != "":
		return addsNoCRLF
	}
	return none
}}

var subjectBlanks = regexp.MustCompile(`(?im)^subject:(?:\t|  |\n)`)

// bareCR tells whether there is a CR in the body that is not half of a line end.
func (s sample) bareCR() bool {
	return strings.Contains(strings.ReplaceAll(wire(s.body()), "\r\n", ""), "\r")
}

var onlyCRs = regexp.MustCompile(`(?:^|\n)\r+\r\n`)

var openDKIM = peer{name: "OpenDKIM", known: func(s sample, _ bool) difference {
	switch {
	case strings.Contains(s.text, "\x00"):
		return endsAtNUL
	case strings.HasPrefix(s.canon, "simple/") && subjectBlanks.MatchString(s.text):
		return losesBlanks
	case s.relaxedBody() && strings.Trim(s.last(), " \t") != "":
		return wantsCRLF
	case !s.relaxedBody() && (onlyCRs.MatchString(wire(s.body())) || strings.HasSuffix(s.last(), "\r")):
		return losesCR
	case s.relaxedBody() && s.bareCR():
		return crIsSpace
	}
	return none
}}

// nodeMailauth is version 7.1.0; 4 took CRs before the last line ends for part of these in the simple form.
var nodeMailauth = peer{name: "mailauth", ed25519: true, known: func(s sample, _ bool) difference {
	switch {
	case s.relaxedBody() && strings.TrimRight(s.last(), " \t")+" " == s.last():
		return keepsOneBlank
	case s.relaxedBody() && s.bareCR():
		return crIsSpace
	}
	return none
}}
