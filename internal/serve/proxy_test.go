package serve

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/envelope"
)

const (
	v2sig    = "\r\n\r\n\x00\r\nQUIT\n"
	v2ipv4   = v2sig + "\x21\x11\x00\x0c" + "\xcb\x00\x71\x05" + "\xc0\x00\x02\x01" + "\x10\x00" + "\x00\x19"
	v2ipv4tl = v2sig + "\x21\x11\x00\x13" + "\xcb\x00\x71\x05" + "\xc0\x00\x02\x01" + "\x10\x00" + "\x00\x19" + "\x02\x00\x04host"
	v2local  = v2sig + "\x20\x00\x00\x00"
	v2unix   = v2sig + "\x21\x31\x00\xd8"
	v2udp    = v2sig + "\x21\x12\x00\x0c" + "\xcb\x00\x71\x05" + "\xc0\x00\x02\x01" + "\x10\x00" + "\x00\x19"
)

func TestProxyHeader(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cases := []struct {
		name, send string
		trusted    bool
		want       string // start of the answer; empty = closed without one
	}{
		{"v1", "PROXY TCP4 203.0.113.5 192.0.2.1 4096 25\r\nhello\n", true, "peer=203.0.113.5 host= here=192.0.2.1 proto=TCP "},
		{"v1 IPv6", "PROXY TCP6 2001:db8::5 2001:db8::1 4096 25\r\nhello\n", true, "peer=2001:db8::5 host= here=2001:db8::1 proto=TCP6 "},
		{"v1 mapped", "PROXY TCP6 ::ffff:203.0.113.5 ::ffff:192.0.2.1 4096 25\r\nhello\n", true, "peer=203.0.113.5 host= here=192.0.2.1 proto=TCP "},
		{"v1 unknown", "PROXY UNKNOWN\r\nhello\n", true, "peer=127.0.0.1 host= here=127.0.0.1 proto=TCP "},
		{"v2", v2ipv4 + "hello\n", true, "peer=203.0.113.5 host= here=192.0.2.1 proto=TCP "},
		{"v2 with TLV", v2ipv4tl + "hello\n", true, "peer=203.0.113.5 host= here=192.0.2.1 proto=TCP "},
		{"v2 local", v2local + "hello\n", true, "peer=127.0.0.1 host= here=127.0.0.1 proto=TCP "},
		{"v2 unix is no peer", v2unix + strings.Repeat("\x00", 216) + "hello\n", true, ""},
		{"v2 datagram", v2udp + "hello\n", true, ""},
		{"nowhere", "PROXY TCP4 0.0.0.0 192.0.2.1 4096 25\r\nhello\n", true, ""},
		{"required", "hello\n", true, ""},
		{"required, nothing", "", true, ""},
		{"broken", "PROXY TCP4 203.0.113.500 192.0.2.1 4096 25\r\nhello\n", true, ""},
		{"endless", "PROXY TCP4 " + strings.Repeat("1", 5000), true, ""},
		{"too long", v2sig + "\x21\x11\xff\xff" + strings.Repeat("\x00", 65535) + "hello\n", true, ""},
		{"untrusted", "PROXY TCP4 203.0.113.5 192.0.2.1 4096 25\r\nhello\n", false, "peer=127.0.0.1 host= here=127.0.0.1 "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := Options{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
			if c.trusted {
				o.ProxyFrom = loopback
			}
			addrs, stop := started(t, o, tell)
			conn := dial(t, addrs[0])
			io.WriteString(conn, c.send)
			closeWrite(conn)
			b, _ := io.ReadAll(conn) // a reset is as good as an end where the header was refused
			got := string(b)
			if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.want != "" && !strings.HasSuffix(got, "\nhello\nbye\n") {
				t.Errorf("bytes after the header were lost: %q", got)
			}
			if !c.trusted && !strings.Contains(got, "\nPROXY TCP4 203.0.113.5 ") {
				t.Errorf("the header of an untrusted peer was swallowed: %q", got)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProxyHeaderInPieces(t *testing.T) {
	for cut := 1; cut < len(v2ipv4); cut++ {
		a, b := net.Pipe()
		go func() {
			io.WriteString(a, v2ipv4[:cut])
			io.WriteString(a, v2ipv4[cut:]+"rest")
			a.Close()
		}()
		c := &Conn{Conn: b}
		if err := readProxyHeader(c); err != nil || c.Info.RemoteIP != "203.0.113.5" || c.Info.RemotePort != "4096" || c.Info.LocalPort != "25" {
			t.Errorf("cut at %d: got %+v, %v", cut, c.Info, err)
		}
		if rest, err := io.ReadAll(c); err != nil || string(rest) != "rest" {
			t.Errorf("cut at %d: got rest %q, %v", cut, rest, err)
		}
	}
}

func TestSilentProxyIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		start := time.Now()
		err := readProxyHeader(&Conn{Conn: b})
		if took := time.Since(start); err == nil || took != proxyHeaderTime {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

// FuzzProxyHeader: a header is taken whole or not at all, names a canonical peer or leaves the proxy, and keeps what
// follows it.
func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{v2ipv4, v2ipv4tl, v2local, v2unix, "PROXY TCP4 203.0.113.5 192.0.2.1 4096 25\r\n", "PROXY UNKNOWN\r\n", "EHLO x\r\n", ""} {
		f.Add([]byte(s), []byte("EHLO x\r\n"))
	}
	f.Fuzz(func(t *testing.T, header, rest []byte) {
		c := &Conn{Conn: &fixed{r: bytes.NewReader(append(bytes.Clone(header), rest...))}, Info: envelope.Connection{RemoteIP: "192.0.2.200", Proto: "TCP"}}
		if err := readProxyHeader(c); err != nil {
			return
		}
		if a, ok := address(c.Info.RemoteIP); !ok || a != c.Info.RemoteIP || c.Info.Proto != proto(a) {
			t.Errorf("peer %+v", c.Info)
		}
		left, err := io.ReadAll(c)
		all := append(bytes.Clone(header), rest...)
		if err != nil || !bytes.HasSuffix(all, left) || len(left) == len(all) {
			t.Errorf("of %q there is left %q, %v", all, left, err)
		}
	})
}

// fixed is a connection that says what it was given.
type fixed struct {
	net.Conn
	r io.Reader
}

func (f *fixed) Read(p []byte) (int, error)      { return f.r.Read(p) }
func (f *fixed) SetReadDeadline(time.Time) error { return nil }

func TestPerAddressLimitCountsProxiedPeers(t *testing.T) {
	hold := make(chan struct{})
	o := Options{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, MaxPerAddress: 1, Busy: []byte("421 busy\r\n")}
	addrs, stop := started(t, o, func(_ context.Context, c *Conn) {
		io.WriteString(c, c.Info.RemoteIP+"\n")
		<-hold
	})
	first := func(peer string) string {
		c := dial(t, addrs[0])
		io.WriteString(c, "PROXY TCP6 "+peer+" 2001:db8::1 4096 25\r\n")
		line := make([]byte, 100)
		n, err := c.Read(line)
		if err != nil {
			t.Fatal(err)
		}
		return string(line[:n])
	}
	for _, c := range [][2]string{
		{"2001:db8:1::1", "2001:db8:1::1\n"},
		{"2001:db8:1::1", "421 busy\r\n"},
		{"2001:db8:1::ffff:2", "421 busy\r\n"}, // the same /64
		{"2001:db8:2::1", "2001:db8:2::1\n"},
	} {
		if got := first(c[0]); got != c[1] {
			t.Errorf("%s: got %q, want %q", c[0], got, c[1])
		}
	}
	close(hold)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
