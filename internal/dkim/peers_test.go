package dkim

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// peer is another implementation that signs and verifies, and where it is known to differ from ours.
type peer struct {
	name    string
	ed25519 bool
	// ask carries out orders, each "verify FILE" or "sign FILE OUT CANON SELECTOR", in a directory that has keys SELECTOR.key and the
	// file zone, and answers each with "pass", "ok" or what was wrong.
	ask func(t *testing.T, dir string, orders []string) []string
	// known says in what the peer differs on a sample that we signed, or it, or that it does not.
	known func(s sample, theirs bool) difference
}

// difference is why a peer does not pass a signature of ours, and we none of it; the zero difference is that they must pass.
type difference struct {
	why       string
	sometimes bool // or does
}

// script asks a script of testdata/peers.
func script(program, file string, env ...string) func(*testing.T, string, []string) []string {
	return func(t *testing.T, dir string, orders []string) []string {
		t.Helper()
		path, err := filepath.Abs(filepath.Join("testdata/peers", file))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, path, "zone", ".")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		cmd.Stdin = strings.NewReader(strings.Join(orders, "\n") + "\n")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, &stderr)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	}
}

// opendkim runs the test mode of the milter, since opendkim-testmsg signs with SHA-1 only and asks the real DNS for keys.
func opendkim(program string) func(*testing.T, string, []string) []string {
	// With -v it prints "opendkim: FILE: verification (...) succeeded", or "opendkim: FILE:" and below it the signature.
	verified := regexp.MustCompile(`(?m)^opendkim: (\S+): verification (.*)$`)
	inserted := regexp.MustCompile(`(?m)^opendkim: (\S+):\n(DKIM-Signature: .*\n(?:[ \t].*\n)*)`)
	return func(t *testing.T, dir string, orders []string) []string {
		t.Helper()
		files := map[string][]string{} // by configuration
		for _, order := range orders {
			conf := "TestPublicKeys " + dir + "/zone\nMode v\n"
			if f := strings.Split(order, " "); f[0] == "sign" {
				conf = "Domain example.org\nSelector " + f[4] + "\nKeyFile " + dir + "/" + f[4] + ".key\nMode s\nCanonicalization " + f[3] +
					"\nSignHeaders *\nRequireSafeKeys no\nInternalHosts 0.0.0.0/0\n"
			}
			files[conf] = append(files[conf], strings.Split(order, " ")[1])
		}
		results, fields := map[string]string{}, map[string]string{}
		for conf, list := range files {
			if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program, "-x", "conf", "-t", strings.Join(list, ","), "-v")
			cmd.Dir = dir
			out, _ := cmd.Output() // the status tells nothing of the messages
			for _, m := range verified.FindAllSubmatch(out, -1) {
				results[string(m[1])] = string(m[2])
			}
			for _, m := range inserted.FindAllSubmatch(out, -1) {
				fields[string(m[1])] = string(m[2])
			}
		}
		var answers []string
		for _, order := range orders {
			f := strings.Split(order, " ")
			switch field, result := fields[f[1]], results[f[1]]; {
			case strings.HasSuffix(result, "succeeded"):
				answers = append(answers, "pass")
			case f[0] == "verify":
				answers = append(answers, "failed: "+result)
			case field == "":
				answers = append(answers, "no signature")
			default:
				text, err := os.ReadFile(filepath.Join(dir, f[1]))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, f[2]), append([]byte(wire(field)), text...), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				answers = append(answers, "ok")
			}
		}
		return answers
	}
}

// nodeModules finds where .ci/run installs mailauth.
func nodeModules(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../bin/ci/npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{os.Getenv("NODE_PATH"), dir} {
		if _, err := os.Stat(filepath.Join(d, "mailauth")); d != "" && err == nil {
			return d
		}
	}
	t.Skip("peer mailauth of Node is neither in NODE_PATH nor in bin/ci/npm, where .ci/run puts it")
	return ""
}

// sample is a message, and how it is to be signed.
type sample struct {
	name, text      string // text has LF line ends, and bareLF where one is to be bare on the wire
	canon, selector string
}

const bareLF = "\x01"

func (s sample) bareLF() bool { return strings.Contains(s.text, bareLF) }

// lf is the message as it comes in a pipe.
func (s sample) lf() string { return strings.ReplaceAll(s.text, bareLF, "\n") }

func (s sample) body() string { _, b, _ := strings.Cut(s.lf(), "\n\n"); return b }

func (s sample) relaxedBody() bool { return strings.HasSuffix(s.canon, "/relaxed") }

// wire is how a message with LF line ends goes over the wire.
func wire(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// samples makes the same messages every time, of pieces that canonicalisers find hard.
func samples(n int) []sample {
	r := rand.New(rand.NewPCG(7, 2026))
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	fields := []string{"Subject: hello\n", "Subject:  two  blanks \n", "SUBJECT:\ttab\n", "Subject: folded\n\tand \n  folded\n", "Subject:\n",
		"Cc: c@example.net\n", "X-Other: not signed\n", "Content-Type: text/plain\n", "Reply-To: r@example.org\nReply-To: s@example.org\n"}
	pieces := []string{"word", "two words", " ", "  ", "\t", " \t ", "\n", "\n", "\n", "\n\n", "\n \n", "\n\t\n", "x \n", ".\n", "\xe9\xff",
		"a long run of text without anything odd, longer than eight bytes", "end  \t\n"}
	canons := []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"}
	var all []sample
	for i := range n {
		text := "From: alice@example.org\nTo: bob@example.net\nDate: Tue, 24 Nov 2026 06:00:00 +0000\n"
		for range r.IntN(4) {
			text += pick(fields)
		}
		text += "\n"
		odd := pieces
		switch i % 4 {
		case 1:
			odd = append(odd[:len(odd):len(odd)], "\r", "\r", " \r", "\r ", "\r\r")
		case 2:
			odd = append(odd[:len(odd):len(odd)], "\x00", "=\n")
		case 3:
			odd = append(odd[:len(odd):len(odd)], "bare"+bareLF+"line")
		}
		for range r.IntN(12) {
			text += pick(odd)
		}
		if i%3 != 0 {
			text += pick([]string{"\n", "\n\n\n", "the end\n"})
		}
		s := sample{name: fmt.Sprintf("%03d", i), text: text, canon: canons[i/4%4], selector: "rsa"}
		if i%5 == 4 {
			s.selector = "ed"
		}
		all = append(all, s)
	}
	return all
}

// peerDir makes a directory with keys and zone for a peer, and options with which we verify.
func peerDir(t *testing.T) (string, VerifyOptions) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, data string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	z := testZone(t)
	zone := ""
	for _, selector := range []string{"rsa", "ed"} {
		der, err := x509.MarshalPKCS8PrivateKey(signer(selector).Key)
		if err != nil {
			t.Fatal(err)
		}
		write(selector+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		name := Query(selector, "example.org")
		zone += name + " " + z[name][0] + "\n"
	}
	write("zone", zone)
	return dir, z.options()
}

func TestPeers(t *testing.T) {
	for _, p := range []struct {
		program string
		peer
	}{
		{"/usr/bin/python3", dkimpy},
		{"perl", mailDKIM},
		{"opendkim", openDKIM},
		{"node", nodeMailauth},
	} {
		t.Run(p.name, func(t *testing.T) {
			p.prepare(t, mailtest.Peer(t, p.program))
			p.run(t)
		})
	}
	t.Run(goMsgauth.name, goMsgauth.run)
}

// prepare finds out how the peer is asked, or skips the test.
func (p *peer) prepare(t *testing.T, program string) {
	t.Helper()
	has := func(args ...string) {
		if err := exec.CommandContext(t.Context(), program, args...).Run(); err != nil {
			t.Skipf("peer %s is not installed", p.name)
		}
	}
	switch p.name {
	case dkimpy.name:
		has("-c", "import dkim, nacl")
		p.ask = script(program, "dkimpy.py")
	case mailDKIM.name:
		has("-MMail::DKIM", "-e", "1")
		p.ask = script(program, "maildkim.pl")
	case openDKIM.name:
		p.ask = opendkim(program)
	case nodeMailauth.name:
		p.ask = script(program, "mailauth.js", "NODE_PATH="+nodeModules(t))
	}
}

// run lets the peer verify what we sign, and us what it signs. A sample that is known to differ and does not is told too, so that
// the list stays true.
func (p peer) run(t *testing.T) {
	dir, o := peerDir(t)
	var all []sample
	var verify, sign []string
	for _, s := range samples(160) {
		if s.selector == "ed" && !p.ed25519 {
			continue
		}
		all = append(all, s)
		opt := signer(s.selector)
		opt.Header, opt.Body, _ = ParseCanon(s.canon)
		for name, text := range map[string]string{"ours.": wire(signed(t, s.lf(), opt)), "plain.": strings.ReplaceAll(wire(s.text), bareLF, "\n")} {
			if err := os.WriteFile(filepath.Join(dir, name+s.name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		verify = append(verify, "verify ours."+s.name)
		sign = append(sign, "sign plain."+s.name+" theirs."+s.name+" "+s.canon+" "+s.selector)
	}
	for i, answer := range p.ask(t, dir, verify) {
		p.compare(t, all[i], false, answer)
	}
	for i, answer := range p.ask(t, dir, sign) {
		if answer == "ok" {
			text, err := os.ReadFile(filepath.Join(dir, "theirs."+all[i].name))
			if err != nil {
				t.Fatal(err)
			}
			answer = one(t, string(text), o)
		}
		p.compare(t, all[i], true, answer)
	}
}

func (p peer) compare(t *testing.T, s sample, theirs bool, answer string) {
	t.Helper()
	who := map[bool]string{false: "ours", true: "theirs"}[theirs]
	switch d := p.known(s, theirs); {
	case answer != "pass" && d.why == "":
		t.Errorf("%s %s %s %s: %s\n%q", who, s.name, s.canon, s.selector, answer, s.text)
	case answer == "pass" && d.why != "" && !d.sometimes:
		t.Errorf("%s %s %s: passes, but: %s\n%q", who, s.name, s.canon, d.why, s.text)
	}
}
