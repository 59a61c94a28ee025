package policy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

const (
	// DefaultDNSDeadline is for all questions about a peer together.
	DefaultDNSDeadline = 5 * time.Second
	maxPTR             = 5 // names of one address that are looked at
)

// Clients says what is asked about a peer. The zero value asks nothing.
type Clients struct {
	DNS      *resolver.Resolver
	Block    []List        // who is in one of them is refused,
	Allow    []List        // unless it is in one of these
	Name     bool          // look for its verified name
	Require  bool          // and refuse it without one
	Deadline time.Duration // 0 = DefaultDNSDeadline
}

// Client is what the DNS says of a peer.
type Client struct {
	Name    string // verified: the address has this name and the name has this address; or empty
	NameErr error  // why there is no name, a *status.Error; nil when nobody asked
	Allowed string // the zone of Clients.Allow that it is in
	Listed  error  // a *status.Error when it is in a zone of Clients.Block

	require bool
}

// LookUp asks all questions at once. Zones that do not answer in time are as if the peer were not in them.
func (c Clients) LookUp(ctx context.Context, ip netip.Addr) *Client {
	if c.Deadline == 0 {
		c.Deadline = DefaultDNSDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, c.Deadline)
	defer cancel()
	ip = ip.Unmap().WithZone("")
	found := &Client{require: c.Require}
	blocked, allowed := make([]error, len(c.Block)), make([]bool, len(c.Allow))
	var wg sync.WaitGroup
	if c.Name {
		wg.Go(func() { found.Name, found.NameErr = VerifiedName(ctx, c.DNS, ip) })
	}
	for i, l := range c.Block {
		wg.Go(func() {
			if listed, text := l.Has(ctx, c.DNS, ip, true); listed {
				blocked[i] = listing(ip, l.Zone, text)
			}
		})
	}
	for i, l := range c.Allow {
		wg.Go(func() { allowed[i], _ = l.Has(ctx, c.DNS, ip, false) })
	}
	wg.Wait()
	for i := len(c.Allow) - 1; i >= 0; i-- {
		if allowed[i] {
			found.Allowed = c.Allow[i].Zone
		}
	}
	for i := len(c.Block) - 1; i >= 0; i-- {
		if blocked[i] != nil {
			found.Listed = blocked[i]
		}
	}
	return found
}

func listing(ip netip.Addr, zone, text string) error {
	if text != "" {
		text = ": " + status.Escape(text, maxListText)
	}
	return status.Errorf(status.NoPerm, "client %s is listed in %s%s", envelope.Literal(ip), zone, text)
}

// Accept is nil for a peer that may send mail. A client on a list is refused with 550 5.7.1, one that has to have a name and
// has none with 550 5.7.25 (RFC 7372), or 451 4.7.25 while the DNS does not tell; one that is allowed never is.
func (c *Client) Accept() error {
	switch {
	case c == nil || c.Allowed != "":
		return nil
	case c.Listed != nil:
		return c.Listed
	case c.require && c.Name == "":
		return c.NameErr
	}
	return nil
}

// VerifiedName is the first name of an address that has the address itself, in lower case and without the final dot. What
// cannot be a host name is passed over. The error is 550 5.7.25 when there is no such name and 451 4.7.25 when the DNS did
// not tell.
func VerifiedName(ctx context.Context, dns *resolver.Resolver, ip netip.Addr) (string, error) {
	none := status.Errorf(status.NoPerm, "client %s has no verified host name", envelope.Literal(ip)).WithReply(550, "5.7.25")
	names, err := dns.PTR(ctx, ip)
	if err != nil {
		return "", doubt(err, none)
	}
	var trouble error
	for _, name := range names.Records[:min(maxPTR, len(names.Records))] {
		host, err := hostName(name)
		if err != nil {
			continue
		}
		found, err := dns.Addresses(ctx, host, ip.Is4(), ip.Is6())
		for _, a := range found.Records {
			if a == ip {
				return host, nil
			}
		}
		if err != nil && trouble == nil && doubt(err, nil) != nil {
			trouble = err
		}
	}
	return "", doubt(trouble, none)
}

// doubt is 451 4.7.25 for an error that may pass, and none for any other.
func doubt(err error, none *status.Error) error {
	var e *resolver.Error
	if err != nil && (!errors.As(err, &e) || e.Temporary()) {
		return status.Errorf(status.TempFail, "verify the client's host name: %w", err).WithReply(451, "4.7.25")
	}
	if none == nil {
		return nil
	}
	return none
}

// hostName checks that s is a name of at least two labels that is no address, and returns it in lower case.
func hostName(s string) (string, error) {
	name, err := envelope.ParseDomain(s)
	if err != nil {
		return "", err
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == name || strings.Trim(last, "0123456789") == "" {
		return "", errors.New("not the full name of a host")
	}
	return name, nil
}
