package mailtest

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pennypost/internal/resolver"
)

// bareDirective is a directive of resolver.Zone without its exclamation mark:
// a comment by syntax, a slip in a test.
var bareDirective = regexp.MustCompile(`(?m)^\s*;\s*(servfail|refused|timeout|truncate|secure|insecure)\s+\S+\.?\s*$`)

// DNS runs a DNS server until the end of the test and returns its address,
// which takes UDP and TCP. It answers from zone, a master file that may hold any
// names; indentation common to all lines is taken off first. What resolver.Zone
// says about zones holds here too, so names can be made to misbehave:
//
//	example.org.    MX   10 mx1.example.org.
//	mx1.example.org. A   192.0.2.1
//	;! servfail broken.example. MX
//	;! timeout silent.example.
//	;! truncate large.example.
//	;! secure example.org.
func DNS(t testing.TB, zone string) (addr string) {
	t.Helper()
	return LossyDNS(t, zone, func(net.Addr) bool { return false })
}

// LossyDNS is DNS by a server to which datagrams do not come of which lose says so, whoever they are from. It is
// called for several at the same time.
func LossyDNS(t testing.TB, zone string, lose func(from net.Addr) bool) (addr string) {
	t.Helper()
	zone = dedent(zone)
	if slip := bareDirective.FindString(zone); slip != "" {
		t.Fatalf("zone: write %q with \";!\"", strings.TrimSpace(slip))
	}
	z, err := resolver.ParseZone(strings.NewReader(zone), "of "+t.Name())
	if err != nil {
		t.Fatal(err)
	}
	packets, stream := listenBoth(t)
	serveDNS(t, &dns.Server{PacketConn: packets, Handler: answerFrom(z, lose)})
	serveDNS(t, &dns.Server{Listener: stream, Handler: answerFrom(z, nil)})
	return packets.LocalAddr().String()
}

// listenBoth opens one port number for UDP and TCP. The kernel picks it for UDP;
// that it is free for TCP too is likely but not certain.
func listenBoth(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 {
		var packets net.PacketConn
		packets, err = net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			break
		}
		var stream net.Listener
		stream, err = net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, stream
		}
		packets.Close()
	}
	t.Fatalf("listen for DNS: %v", err)
	return nil, nil
}

func serveDNS(t testing.TB, s *dns.Server) {
	t.Helper()
	started, ended := make(chan struct{}), make(chan error, 1)
	s.NotifyStartedFunc = func() { close(started) }
	go func() { ended <- s.ActivateAndServe() }()
	select {
	case <-started:
	case err := <-ended:
		t.Fatalf("serve DNS: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Errorf("end DNS server: %v", err)
		}
		<-ended
	})
}

// answerFrom answers datagrams, some of which lose may take away, or on a stream, where lose is nil.
func answerFrom(z *resolver.Zone, lose func(net.Addr) bool) dns.HandlerFunc {
	stream := lose == nil
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if !stream && lose(w.RemoteAddr()) {
			return
		}
		if m := z.Reply(q, stream); m != nil {
			_ = w.WriteMsg(m) // the asker may have gone
		}
	}
}

// dedent takes off the white space that all lines with something on them start
// with: in a zone a line that starts with a blank means "same name as above".
func dedent(s string) string {
	lines := strings.Split(s, "\n")
	margin, found := "", false
	for _, l := range lines {
		text := strings.TrimLeft(l, " \t")
		indent := l[:len(l)-len(text)]
		switch {
		case text == "":
		case !found:
			margin, found = indent, true
		default:
			for !strings.HasPrefix(indent, margin) {
				margin = margin[:len(margin)-1]
			}
		}
	}
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, margin)
	}
	return strings.Join(lines, "\n")
}
