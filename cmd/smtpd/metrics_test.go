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
		(&metrics{counts: new(smtp.Counts)}).answer(x)
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
