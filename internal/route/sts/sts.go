// Package sts fetches MTA-STS policies (RFC 8461) and keeps them on disk.
//
// It hides the HTTPS request and the files of the cache, and it is a package of
// its own so that only programs that want policies carry an HTTP client. It
// guarantees that a policy that was fetched holds for its whole age, whatever
// anyone does to the DNS or the web server meanwhile (section 5.1).
package sts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"pennypost/internal/resolver"
	"pennypost/internal/route"
)

// timeout is for fetching one policy, RFC 8461 section 3.3.
const timeout = time.Minute

// Source finds policies. It may be used by several goroutines at once.
type Source struct {
	Resolver *resolver.Resolver
	// Cache is the directory for policies, nil to keep none.
	Cache *os.Root
	// Roots are the authorities that web servers are verified by, nil for those
	// of the system.
	Roots *x509.CertPool
	// Port of the web servers, 0 for 443.
	Port int
}

// Policy implements route.PolicySource: the kept policy if it is still the one
// announced and not yet in the second half of its age, a fetched one, or the kept
// one if fetching fails (RFC 8461 section 3.3).
func (s *Source) Policy(ctx context.Context, domain string) (*route.Policy, error) {
	kept, expires, doubt := s.load(domain)
	id, err := s.announced(ctx, domain)
	switch {
	case err != nil:
		return kept, err
	case id == "":
		return kept, doubt
	case kept != nil && kept.ID == id && time.Until(expires) > kept.MaxAge/2:
		return kept, nil
	}
	text, err := s.fetch(ctx, domain)
	if err != nil {
		return kept, err
	}
	p, err := route.ParsePolicy(text)
	if err != nil {
		return kept, err
	}
	p.ID = id
	return p, s.store(domain, p)
}

// announced asks the DNS for the id of the policy, empty if there is none.
func (s *Source) announced(ctx context.Context, domain string) (string, error) {
	found, err := s.Resolver.TXT(ctx, "_mta-sts."+domain)
	var e *resolver.Error
	switch {
	case errors.As(err, &e) && !e.Temporary():
		return "", nil
	case err != nil:
		return "", err
	}
	return route.ParseSTSRecord(found.Records)
}

// fetch gets the text of a policy by HTTPS from a server with a certificate for
// mta-sts.DOMAIN. Redirects are not followed.
func (s *Source) fetch(ctx context.Context, domain string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	host := "mta-sts." + domain
	url := "https://" + host + "/.well-known/mta-sts.txt"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch policy: %w", err)
	}
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx, host) },
			TLSClientConfig:        &tls.Config{RootCAs: s.Roots, ServerName: host, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: route.MaxPolicy,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch policy: %w", err)
	}
	defer answer.Body.Close()
	return body(url, answer)
}

// body reads the answer: status 200, text/plain, at most 64 kB.
func body(url string, answer *http.Response) ([]byte, error) {
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch policy %s: answer is %d, not 200", url, answer.StatusCode)
	}
	kind := answer.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "text/plain" {
		return nil, fmt.Errorf("fetch policy %s: %q is not text/plain", url, kind)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, route.MaxPolicy+1))
	if err != nil {
		return nil, fmt.Errorf("fetch policy %s: %w", url, err)
	}
	return text, nil
}

// dial connects to any address of host; the same resolver as for all else
// answers.
func (s *Source) dial(ctx context.Context, host string) (net.Conn, error) {
	found, err := s.Resolver.Addresses(ctx, host, true, true)
	if err != nil {
		return nil, err
	}
	port := s.Port
	if port == 0 {
		port = 443
	}
	var failed []error
	for _, ip := range found.Records {
		c, err := dialOne(ctx, ip, port)
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

func dialOne(ctx context.Context, ip netip.Addr, port int) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout / 4}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(port)))
}
