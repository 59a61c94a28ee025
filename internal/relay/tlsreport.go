package relay

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"pennypost/internal/route"
	"pennypost/internal/status"
)

// TLSReport is one attempt as a report about TLS counts it (RFC 8460 section 4); names are those of its fields.
type TLSReport struct {
	Time          time.Time `json:"time"`
	PolicyType    string    `json:"policy-type"` // tlsa, sts or no-policy-found
	PolicyDomain  string    `json:"policy-domain"`
	MXHost        string    `json:"mx-host,omitempty"`
	ReceivingIP   string    `json:"receiving-ip,omitempty"`
	Successful    bool      `json:"successful"`
	ResultType    string    `json:"result-type,omitempty"`
	FailureReason string    `json:"failure-reason-code,omitempty"`
}

// TLSReporter writes a line of JSON for each attempt that says something about TLS. Its Tried is one for Options.
type TLSReporter struct {
	mu  sync.Mutex
	out io.Writer
	now func() time.Time
}

// NewTLSReporter writes to out, each line in one Write.
func NewTLSReporter(out io.Writer) *TLSReporter { return &TLSReporter{out: out, now: time.Now} }

// Tried reports an attempt. One that did not come as far as TLS says nothing.
func (t *TLSReporter) Tried(a Attempt) {
	r, ok := reportOf(a)
	if !ok {
		return
	}
	r.Time = t.now().UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Write(append(line, '\n'))
}

func reportOf(a Attempt) (r TLSReport, ok bool) {
	if a.Hop.Target == nil || a.Hop.Plan == nil {
		return r, false
	}
	t := a.Hop.Target
	r = TLSReport{PolicyType: policyType(a.Hop), PolicyDomain: a.Destination, MXHost: t.Host}
	if _, ip, found := strings.Cut(a.Hop.Name, "["); found {
		r.ReceivingIP, _, _ = strings.Cut(ip, "]")
	}
	if a.Err == nil {
		r.Successful = a.Client.TLS() != nil
		if !r.Successful {
			r.ResultType = "starttls-not-supported"
		}
		return r, true
	}
	r.ResultType = resultType(a.Hop, a.Err)
	r.FailureReason = status.Escape(status.Of(a.Err).Text, 300)
	return r, r.ResultType != ""
}

func policyType(h Hop) string {
	switch {
	case h.Target.TLS == route.ByDANE || h.Target.TLS == route.Required:
		return "tlsa"
	case h.Plan.STS != nil && h.Plan.STS.Mode != route.ModeNone:
		return "sts"
	}
	return "no-policy-found"
}

// resultType is a failure in the words of RFC 8460 section 4.3, "" for one that is not about TLS.
func resultType(h Hop, err error) string {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch e := status.Of(err); {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate-expired"
	case errors.As(err, new(x509.HostnameError)):
		return "certificate-host-mismatch"
	case errors.As(err, &unknown):
		return "certificate-not-trusted"
	case e.Enhanced == "4.7.4":
		return "starttls-not-supported"
	case e.Enhanced == "4.7.5":
		return "validation-failure"
	}
	return ""
}
