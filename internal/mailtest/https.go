package mailtest

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// HTTPS serves the web at port 443 of a loopback address of its own, which it returns, until the end of the test. That port
// takes root; without it the test is skipped with the reason.
func HTTPS(t testing.TB, certificate tls.Certificate, handler http.HandlerFunc) (ip string) {
	t.Helper()
	ip, _, _ = net.SplitHostPort(apart(t))
	l, err := net.Listen("tcp", ip+":443")
	if err != nil {
		t.Skipf("cannot serve HTTPS: %v", err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.Listener.Close()
	s.Listener = l
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that ends the handshake is part of a test
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return ip
}
