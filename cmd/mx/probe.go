package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/relay"
	"pennypost/internal/route"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// probeOptions are the flags by which the hosts are connected to.
type probeOptions struct {
	on         bool
	rcpt, from string
	timeout    time.Duration

	envelope *envelope.Envelope // nil = ask about no recipient
}

func (p *probeOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&p.on, "probe", false, "connect to every address of every host and tell what is found there")
	f.StringVar(&p.rcpt, "rcpt", "", "with --probe: ask whether mail to `ADDRESS` would be accepted; none is sent")
	f.StringVar(&p.from, "from", "", "with --rcpt: the mail would come from `ADDRESS` (default: the null sender)")
	f.DurationVar(&p.timeout, "probe-timeout", 30*time.Second, "give up on an address after `DURATION`")
}

// check makes the envelope of the probe.
func (p *probeOptions) check() error {
	switch {
	case p.timeout <= 0:
		return cli.Usagef("time-out %v is not positive", p.timeout)
	case p.rcpt != "" && !p.on:
		return cli.Usagef("--rcpt without --probe")
	case p.from != "" && p.rcpt == "":
		return cli.Usagef("--from without --rcpt")
	case p.rcpt == "":
		return nil
	}
	to, err := envelope.Parse(p.rcpt)
	if err != nil {
		return cli.Usagef("recipient %q: %w", p.rcpt, err)
	}
	p.envelope = &envelope.Envelope{Recipients: []envelope.Address{to}}
	if p.from != "" {
		if p.envelope.Sender, err = envelope.Parse(p.from); err != nil {
			return cli.Usagef("sender %q: %w", p.from, err)
		}
	}
	return nil
}

// probed is what was found at one address, and a line of --json. All text in it is fit to print.
type probed struct {
	Domain     string       `json:"domain"`
	Preference int          `json:"preference"`
	Host       string       `json:"host"`
	Address    netip.Addr   `json:"address"`
	Port       int          `json:"port"`
	Demand     route.Demand `json:"demand"`
	Why        string       `json:"why"`
	PTR        []ptrRecord  `json:"ptr,omitempty"`
	PTRError   string       `json:"ptr_error,omitempty"`
	Banner     string       `json:"banner,omitempty"`
	Ehlo       []string     `json:"ehlo,omitempty"`
	TLS        *tlsRecord   `json:"tls,omitempty"`
	DANE       *check       `json:"dane,omitempty"`
	STS        *check       `json:"sts,omitempty"`
	Rcpt       string       `json:"rcpt,omitempty"` // the reply
	Error      string       `json:"error,omitempty"`
	Usable     bool         `json:"usable"`

	status status.Kind // of an address that is not usable
}

// ptrRecord is a name of an address, and whether it leads back to it.
type ptrRecord struct {
	Name      string `json:"name"`
	Confirmed bool   `json:"confirmed"`
}

// check is a policy and why it is not met, empty if it is.
type check struct {
	Policy string `json:"policy"`
	OK     bool   `json:"ok"`
	Why    string `json:"why,omitempty"`
}

type tlsRecord struct {
	Version string    `json:"version"`
	Cipher  string    `json:"cipher"`
	Subject string    `json:"subject"`
	Names   []string  `json:"names,omitempty"`
	Issuer  string    `json:"issuer"`
	Expires time.Time `json:"expires"`
	Days    int       `json:"days_left"`
	Chain   check     `json:"chain"`
}

// probePlan probes all addresses of all usable hosts, prints them in their order, and returns the exit status of the domain.
func (q *query) probePlan(ctx context.Context, out io.Writer, domain string, plan *route.Plan) int {
	var found []*probed
	var working sync.WaitGroup
	for _, t := range plan.Usable() {
		for _, ip := range t.Addresses {
			p := &probed{Domain: status.Escape(domain, maxLine), Preference: t.Preference, Host: t.Host, Address: ip, Port: t.Port,
				Demand: t.TLS, Why: status.Escape(t.Why, status.MaxText)}
			found = append(found, p)
			q.probing <- struct{}{}
			working.Go(func() {
				defer func() { <-q.probing }()
				q.probeAddress(ctx, p, t, plan)
			})
		}
	}
	working.Wait()
	q.printProbed(out, found)
	return worth(found)
}

// worth is 0 if one of the addresses is usable; otherwise a refusal for good, doubt, and policy count in this order.
func worth(found []*probed) int {
	have := make(map[status.Kind]bool)
	for _, p := range found {
		if p.Usable {
			return 0
		}
		have[p.status] = true
	}
	switch {
	case have[status.Unavailable]:
		return int(status.Unavailable)
	case have[status.TempFail]:
		return int(status.TempFail)
	}
	return int(status.Protocol)
}

// probeAddress fills in p.
func (q *query) probeAddress(ctx context.Context, p *probed, t route.Target, plan *route.Plan) {
	ctx, cancel := context.WithTimeout(ctx, q.probe.timeout)
	defer cancel()
	var reverse sync.WaitGroup
	reverse.Go(func() { q.reverse(ctx, p) })
	defer reverse.Wait()

	var heard dialogue
	o := relay.TargetOptions(t, smtp.Options{TLSConfig: &tls.Config{}, Transcript: smtp.NewTranscript(&heard, smtp.ClientRole)})
	demanded := o.TLSConfig.Clone()
	o.TLSConfig.InsecureSkipVerify = true // what does not verify is to be looked at too
	var shook *tls.ConnectionState
	o.TLSConfig.VerifyConnection = func(cs tls.ConnectionState) error { shook = &cs; return nil }
	o.Shook = func(cs tls.ConnectionState) { shook = &cs }
	if o.Stop = smtp.StageTLS; q.probe.envelope != nil {
		o.Stop = smtp.StageRcpt
	}
	address := netip.AddrPortFrom(p.Address, uint16(t.Port)).String()
	client, err := smtp.Connect(ctx, o.Network.Dialer("tcp", address), o)
	p.Banner, p.Ehlo = heard.banner(), heard.ehlo()
	if shook != nil {
		p.inspect(*shook, demanded, t, plan)
	}
	if err != nil {
		p.fail(err, o.TLS == smtp.TLSRequired && len(p.Ehlo) > 0 && strings.HasPrefix(status.Of(err).Enhanced, "4.7."))
		return
	}
	defer client.Close()
	if o.TLS == smtp.TLSRequired {
		if unmet := p.unmet(demanded); unmet != "" {
			p.Error, p.status = unmet, status.Protocol
			client.Quit(ctx)
			return
		}
	}
	p.Usable = true
	if q.probe.envelope != nil {
		p.ask(ctx, client, q.probe.envelope)
	}
}

// fail notes why there was no session to the end.
func (p *probed) fail(err error, policy bool) {
	p.Error, p.status, p.Usable = status.Escape(err.Error(), status.MaxText), status.TempFail, false
	switch {
	case policy:
		p.status = status.Protocol
	case status.Of(err).Class == status.Permanent:
		p.status = status.Unavailable
	}
}

// ask finds out whether the recipient would be accepted.
func (p *probed) ask(ctx context.Context, c *smtp.Client, e *envelope.Envelope) {
	out := c.Send(ctx, message.Bytes(nil), e)[0]
	if out.Reply.Code != 0 {
		p.Rcpt = status.Escape(out.Reply.String(), status.MaxText)
	}
	if !out.Reply.Positive() {
		p.fail(out.Err, false)
	}
}

// inspect notes the handshake and what comes of it by each policy.
func (p *probed) inspect(cs tls.ConnectionState, demanded *tls.Config, t route.Target, plan *route.Plan) {
	leaf := cs.PeerCertificates[0]
	p.TLS = &tlsRecord{
		Version: tls.VersionName(cs.Version), Cipher: tls.CipherSuiteName(cs.CipherSuite),
		Subject: status.Escape(leaf.Subject.String(), status.MaxText), Issuer: status.Escape(leaf.Issuer.String(), status.MaxText),
		Names: certificateNames(leaf), Expires: leaf.NotAfter.UTC(), Days: int(time.Until(leaf.NotAfter).Hours() / 24),
		Chain: verdict("host "+strings.Trim(t.Host, "[]"), chain(cs, strings.Trim(t.Host, "[]"), demanded.RootCAs)),
	}
	if t.DANE != nil {
		c := verdict(strconv.Itoa(len(t.DANE.Records))+" TLSA", t.DANE.Verify(cs))
		p.DANE = &c
	}
	if s := plan.STS; s != nil {
		c := check{Policy: string(s.Mode) + " " + status.Escape(s.ID, status.MaxText), OK: s.Match(t.Host) && p.TLS.Chain.OK}
		switch {
		case !s.Match(t.Host):
			c.Why = "the policy does not name the host"
		case !c.OK:
			c.Why = p.TLS.Chain.Why
		}
		p.STS = &c
	}
}

func verdict(policy string, err error) check {
	if err != nil {
		return check{Policy: policy, Why: status.Escape(err.Error(), status.MaxText)}
	}
	return check{Policy: policy, OK: true}
}

// maxNames bounds what is told of a certificate or of an address.
const maxNames = 32

func certificateNames(c *x509.Certificate) []string {
	var names []string
	for _, n := range c.DNSNames {
		names = append(names, status.Escape(n, envelope.MaxDomain))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names[:min(len(names), maxNames)]
}

// chain verifies the certificate as a handshake does: for the host, by the authorities of this machine or roots.
func chain(cs tls.ConnectionState, host string, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	return err
}

// unmet is why the handshake is not what the target demands: what the configuration of a delivery would have found.
func (p *probed) unmet(demanded *tls.Config) string {
	switch {
	case p.DANE != nil && demanded.VerifyConnection != nil:
		return p.DANE.Why
	case !demanded.InsecureSkipVerify:
		return p.TLS.Chain.Why
	}
	return ""
}

// reverse looks up the names of the address, and whether they lead back to it.
func (q *query) reverse(ctx context.Context, p *probed) {
	names, err := q.resolver.PTR(ctx, p.Address)
	if err != nil {
		p.PTRError = status.Escape(err.Error(), status.MaxText)
		return
	}
	for _, name := range names.Records[:min(len(names.Records), maxNames)] {
		r := ptrRecord{Name: status.Escape(name, envelope.MaxDomain)}
		back, err := q.resolver.Addresses(ctx, name, p.Address.Is4(), p.Address.Is6())
		for _, ip := range back.Records {
			r.Confirmed = r.Confirmed || err == nil && ip == p.Address
		}
		p.PTR = append(p.PTR, r)
	}
}
