package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"pennypost/internal/mailtest"
)

// policyText is an MTA-STS policy.
func policyText(mode, mx string) string {
	return "version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: 86400\n"
}

// policies serves https://mta-sts.DOMAIN/ for each domain.example but web, for which the certificate is not. It returns the
// address, the certificate, and a switch that makes it serve nothing any more.
func policies(t *testing.T, texts map[string]string) (ip, roots string, gone *atomic.Bool) {
	t.Helper()
	var names []string
	for domain := range texts {
		if domain != "web" {
			names = append(names, "mta-sts."+domain+".example")
		}
	}
	roots = filepath.Join(t.TempDir(), "web.pem")
	gone = new(atomic.Bool)
	ip = mailtest.HTTPS(t, pair(t, roots, x509.Certificate{DNSNames: names}), func(w http.ResponseWriter, r *http.Request) {
		domain := strings.TrimSuffix(strings.TrimPrefix(r.Host, "mta-sts."), ".example")
		text, known := texts[domain]
		switch {
		case gone.Load() || !known || r.URL.Path != "/.well-known/mta-sts.txt":
			http.NotFound(w, r)
			return
		case domain == "moved":
			http.Redirect(w, r, "https://mta-sts.good.example/.well-known/mta-sts.txt", http.StatusMovedPermanently)
			return
		case domain == "slow":
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, text)
	})
	return ip, roots, gone
}

// stsZone has for each domain a record that announces a policy, the policy's host, and an exchanger.
func stsZone(ip string, texts map[string]string) string {
	var zone strings.Builder
	for domain := range texts {
		fmt.Fprintf(&zone, "_mta-sts.%[1]s.example. TXT \"v=STSv1; id=1;\"\nmta-sts.%[1]s.example. A %[2]s\n"+
			"%[1]s.example. MX 10 mx.%[1]s.example.\nmx.%[1]s.example. A 127.0.0.1\n", domain, ip)
	}
	return zone.String()
}

// Both programs go by policies that a real web server has: what mx tells is what smtpsend does.
func TestSTS(t *testing.T) {
	texts := map[string]string{
		"good": policyText("enforce", "*.good.example"), "other": policyText("enforce", "backup.other.example"),
		"false": policyText("enforce", "mx.false.example"), "tested": policyText("testing", "backup.tested.example"),
		"none": policyText("none", "backup.none.example"), "large": policyText("enforce", "backup.large.example") + strings.Repeat("x: y\n", 20000),
		"web": policyText("enforce", "backup.web.example"), "moved": "", "slow": "",
	}
	var domains []string
	for d := range texts {
		domains = append(domains, d+".example")
	}
	office, port, leaf := receiver(t, domains, "mx.good.example")
	ip, roots, gone := policies(t, texts)
	dns := mailtest.DNS(t, stsZone(ip, texts))
	t.Setenv("SSL_CERT_FILE", trust(t, roots, leaf))
	cache := t.TempDir()
	mx := func(domain string, more ...string) (string, int) {
		cmd := exec.Command(filepath.Join(mailtest.Build(t, "mx"), "mx"), append([]string{"-lv", "--resolver", dns, "--port", port, domain}, more...)...)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, tt := range []struct {
		domain, demand, why string
		told                int
		fate                string
		exit                int
	}{
		{"good", "sts", "the MTA-STS policy names it", 0, "K\t", 0},
		{"other", "refused", "the MTA-STS policy does not name it", 76, "\t451 4.7.5 other.example: policy leaves no host to send to", 76},
		{"false", "sts", "the MTA-STS policy names it", 0, "\t451 4.7.5 TLS handshake: ", 75},
		{"tested", "opportunistic", "the MTA-STS policy, only being tested, does not name it", 0, "K\t", 0},
		{"none", "opportunistic", "The MTA-STS policy of none.example is none", 0, "K\t", 0},
		{"large", "opportunistic", "MTA-STS does not count: policy of more than 65536 bytes", 0, "K\t", 0},
		{"web", "opportunistic", "MTA-STS does not count: fetch policy: .*certificate", 0, "K\t", 0},
		{"moved", "opportunistic", "MTA-STS does not count: fetch policy .*: answer is 301, not 200", 0, "K\t", 0},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			out, code := mx(tt.domain + ".example")
			want := `(?s)  ` + tt.demand + `  insecure  loopback  `
			if code != tt.told || !regexp.MustCompile(want).MatchString(out) || !regexp.MustCompile(tt.why).MatchString(out) {
				t.Errorf("mx: exit %d, want %d, %q, want %q in it", code, tt.told, out, tt.why)
			}
			said, exit := smtpsend(t, sentText, "--resolver", dns, "--port", port, "--timeout", "20s", "-f", "", "alice@"+tt.domain+".example")
			if !strings.Contains(said, tt.fate) || exit != tt.exit {
				t.Errorf("smtpsend: exit %d, want %d, said %q, want %q in it", exit, tt.exit, said, tt.fate)
			}
			took := map[bool]int{true: 1}[tt.exit == 0]
			if n := received(t, office, tt.domain+".example"); n != took {
				t.Errorf("the server has %d messages, want %d", n, took)
			}
		})
	}
	t.Run("slow", func(t *testing.T) {
		if out, code := mx("slow.example", "--timeout", "300ms"); !strings.Contains(out, "deadline exceeded") {
			t.Errorf("exit %d, %s", code, out)
		}
	})
	t.Run("kept", func(t *testing.T) {
		for _, d := range []string{"good.example", "other.example"} {
			mx(d, "--sts-cache", cache)
		}
		gone.Store(true)
		if out, code := mx("other.example", "--sts-cache", cache); code != 76 || !strings.Contains(out, "the MTA-STS policy does not name it") {
			t.Errorf("exit %d, %s", code, out)
		}
		if out, code := mx("other.example"); code != 0 || !strings.Contains(out, "answer is 404, not 200") {
			t.Errorf("without the cache: exit %d, %s", code, out)
		}
	})
	queueBoth(t, office, "good.example", "other.example", "--resolver", dns, "--port", port, "--sts-cache", cache)
}

// trust makes a file of authorities: those of a file and a certificate.
func trust(t *testing.T, file string, c *x509.Certificate) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "roots.pem")
	text := append(mustRead(t, file), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
