package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/serve"
	"pennypost/internal/smtp"
)

// exchange is what answer reads and writes.
type exchange struct {
	io.Reader
	bytes.Buffer
}

func (x *exchange) Read(b []byte) (int, error) { return x.Reader.Read(b) }

func TestMetricsAnswer(t *testing.T) {
	tests := []struct{ name, request, status, body string }{
		{"what is asked", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "# EOF\n"},
		{"with a query", "GET /metrics?a=b HTTP/1.0\n\n", "200 OK", "# EOF\n"},
		{"head only", "HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK", ""},
		{"another page", "GET / HTTP/1.1\r\n\r\n", "404 Not Found", "GET /metrics is all there is\n"},
		{"another method", "POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "GET /metrics is all there is\n"},
		{"no HTTP", "EHLO x\r\n\r\n", "400 Bad Request", "GET /metrics is all there is\n"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request", "GET /metrics is all there is\n"},
		{"no end", "GET /metrics HTTP/1.1\r\nHost: x", "400 Bad Request", "GET /metrics is all there is\n"},
		{"no end to fields", "GET /metrics HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 9000) + "\r\n", "400 Bad Request", "GET /metrics is all there is\n"},
		{"nothing", "", "400 Bad Request", "GET /metrics is all there is\n"},
	}
	for _, tt := range tests {
		x := &exchange{Reader: strings.NewReader(tt.request)}
		(&metrics{counts: new(smtp.Counts), serve: &serve.Options{Counts: new(serve.Counts)}}).answer(x)
		head, body, _ := strings.Cut(x.String(), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.0 "+tt.status+"\r\n") || !strings.HasSuffix(body, tt.body) || tt.body == "" && body != "" {
			t.Errorf("%s: got %q", tt.name, x.String())
		}
	}
}

func TestMetricsAddress(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	listening := &serve.Options{Listen: []string{"127.0.0.1:0"}, Log: quiet}
	for _, addr := range []string{":9025", "0.0.0.0:9025", "192.0.2.1:9025", "9025", "mx.example.org:9025", "[::]:9025"} {
		if _, err := newMetrics(t.Context(), addr, listening); err == nil || !strings.Contains(err.Error(), "a port of this host") {
			t.Errorf("%s: got %v", addr, err)
		}
	}
	if _, err := newMetrics(t.Context(), "127.0.0.1:0", &serve.Options{Log: quiet}); err == nil {
		t.Error("taken for a single session")
	}
	path := filepath.Join(t.TempDir(), "socket")
	for _, addr := range []string{"127.0.0.1:0", "unix:" + path} {
		m, err := newMetrics(t.Context(), addr, listening)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { m.run(); close(done) }()
		c, err := net.Dial(m.listen.Addr().Network(), m.listen.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET /metrics HTTP/1.0\r\n\r\n")
		got, err := io.ReadAll(c)
		if err != nil && !errors.Is(err, io.EOF) || !bytes.HasSuffix(got, []byte("# EOF\n")) {
			t.Errorf("%s: got %q, %v", addr, got, err)
		}
		c.Close()
		m.listen.Close()
		<-done
	}
}

// What a server tells is of the format, and has the connections that are open and those that were refused.
func TestMetricsConnections(t *testing.T) {
	bin, office := newOffice(t)
	socket := filepath.Join(t.TempDir(), "socket")
	port := listening(t, bin, office, "--metrics", "unix:"+socket, "--max-connections", "2", "--max-per-address", "1")
	for _, c := range []struct{ from, banner string }{
		{"127.0.0.1", "220 mx.example.org ESMTP"},
		{"127.0.0.1", "421 4.3.2 mx.example.org Error: too many connections"},
		{"127.0.0.2", "220 mx.example.org ESMTP"},
		{"127.0.0.3", "421 4.3.2 mx.example.org Error: too many connections"},
		{"127.0.0.4", "421 4.3.2 mx.example.org Error: too many connections"},
	} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}
		conn, err := d.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Skipf("no connection from %s: %v", c.from, err)
		}
		defer conn.Close()
		mailtest.Dialog(t, conn, "<- "+c.banner)
	}
	reader, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	io.WriteString(reader, "GET /metrics HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(answer), "\r\n\r\n")
	mailtest.OpenMetrics(t, text, 11)
	for _, want := range []string{
		"smtpd_sessions_open 2\n", "smtpd_connections_open 2\n", "smtpd_connections_limit 2\n",
		"smtpd_connections_refused_total{limit=\"max-connections\"} 2\n", "smtpd_connections_refused_total{limit=\"max-per-address\"} 1\n",
		"smtpd_connections_refused_total{limit=\"max-per-network\"} 0\n", "smtpd_connections_refused_total{limit=\"rate-per-address\"} 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
