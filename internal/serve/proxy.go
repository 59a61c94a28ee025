package serve

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxyHeaderTime is how long a proxy may take for its header.
const proxyHeaderTime = 10 * time.Second

// readProxyHeader reads the PROXY header that must come first on c and puts what it says into c.Info. A header that
// names no peer (LOCAL, UNKNOWN: the proxy's own checks) leaves the proxy itself as the peer. Bytes after the header stay
// to be read from c.
func readProxyHeader(c *Conn) error {
	r := bufio.NewReader(c.Conn)
	c.SetReadDeadline(time.Now().Add(proxyHeaderTime))
	if _, err := r.Peek(1); err != nil {
		return err
	}
	h, err := proxyproto.Read(r)
	if err != nil {
		return err
	}
	c.SetReadDeadline(time.Time{})
	c.Conn = buffered{c.Conn, r}
	c.Info.RemoteHost, c.Info.TLS = "", "" // they are the proxy's
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return nil
	}
	if !h.TransportProtocol.IsStream() || h.TransportProtocol.IsUnix() {
		return fmt.Errorf("not a TCP peer: address family %#x", byte(h.TransportProtocol))
	}
	ip, number := socketAddress(h.SourceAddr)
	if ip == "" {
		return errors.New("no usable source address")
	}
	c.Info.RemoteIP, c.Info.RemotePort = ip, number
	c.Info.LocalIP, c.Info.LocalPort = socketAddress(h.DestinationAddr)
	c.Info.Proto = proto(ip)
	return nil
}

// buffered is a connection of which some bytes were read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
func (b buffered) CloseWrite() error          { return closeWrite(b.Conn) }
