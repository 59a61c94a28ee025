package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"pennypost/internal/cli"
	"pennypost/internal/serve"
	"pennypost/internal/smtp"
)

// Limits of the metrics' readers.
const (
	maxScrapes      = 8       // at once
	maxScrape       = 8 << 10 // bytes of a request
	scrapeDeadline  = 10 * time.Second
	openMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// metrics answers requests for the counts of an engine, and for nothing else.
type metrics struct {
	counts *smtp.Counts
	serve  *serve.Options
	listen net.Listener
	log    *slog.Logger
}

// newMetrics opens --metrics. What it tells is for this host: an address that others can reach is refused.
func newMetrics(ctx context.Context, addr string, o *serve.Options) (*metrics, error) {
	if len(o.Listen) == 0 && os.Getenv("LISTEN_FDS") == "" {
		return nil, cli.Usagef("--metrics is for a server that listens")
	}
	if !strings.HasPrefix(addr, "unix:") {
		host, _, err := net.SplitHostPort(addr)
		ip, ipErr := netip.ParseAddr(host)
		if err != nil || host != "localhost" && (ipErr != nil || !ip.Unmap().IsLoopback()) {
			return nil, cli.Usagef("--metrics %q: want a port of this host (127.0.0.1:9100, [::1]:9100) or unix:PATH", addr)
		}
	}
	l, err := serve.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	o.Log.Info("metrics", "addr", l.Addr().String())
	o.Counts = new(serve.Counts)
	return &metrics{counts: new(smtp.Counts), serve: o, listen: l, log: o.Log}, nil
}

// run answers until close. A reader beyond maxScrapes waits.
func (m *metrics) run() {
	slots := make(chan struct{}, maxScrapes)
	for {
		slots <- struct{}{}
		c, err := m.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			m.log.Warn("metrics", "err", err)
			time.Sleep(time.Second) // no descriptors; trying again at once would not help
			<-slots
			continue
		}
		go func() {
			defer func() { <-slots }()
			defer c.Close()
			c.SetDeadline(time.Now().Add(scrapeDeadline))
			m.answer(c)
		}()
	}
}

// answer is one request and its response, HTTP/1.0 without further requests on the connection (RFC 1945).
func (m *metrics) answer(c io.ReadWriter) {
	method, path, err := readRequest(c)
	line, body := "200 OK", new(bytes.Buffer)
	switch {
	case err != nil:
		line = "400 Bad Request"
	case method != "GET" && method != "HEAD":
		line = "405 Method Not Allowed\r\nAllow: GET, HEAD"
	case path != "/metrics":
		line = "404 Not Found"
	}
	kind := openMetricsType
	if line == "200 OK" {
		m.write(body)
	} else {
		kind = "text/plain"
		fmt.Fprintf(body, "%s: GET /metrics is all there is\n", strings.SplitN(line, "\r", 2)[0])
	}
	fmt.Fprintf(c, "HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", line, kind, body.Len())
	if method != "HEAD" {
		c.Write(body.Bytes())
	}
}

// write writes all there is to tell. Connections do not queue here: each has its session at once, or is refused at once.
func (m *metrics) write(w io.Writer) {
	m.counts.WriteOpenMetrics(w)
	fmt.Fprintf(w, "# TYPE smtpd_connections_open gauge\n# HELP smtpd_connections_open Connections that are being served now.\n"+
		"smtpd_connections_open %d\n", m.serve.Counts.Open())
	if m.serve.MaxConns > 0 {
		fmt.Fprintf(w, "# TYPE smtpd_connections_limit gauge\n# HELP smtpd_connections_limit Connections that are served at most.\n"+
			"smtpd_connections_limit %d\n", m.serve.MaxConns)
	}
	fmt.Fprint(w, "# TYPE smtpd_connections_refused counter\n# HELP smtpd_connections_refused Connections refused for a limit.\n")
	for i, n := range m.serve.Counts.Refused() {
		fmt.Fprintf(w, "smtpd_connections_refused_total{limit=%q} %d\n", serve.Limits[i], n)
	}
	fmt.Fprint(w, "# EOF\n")
}

// readRequest reads the request line and all fields, whose end is the end of the request: none that we answer has a body.
func readRequest(r io.Reader) (method, path string, err error) {
	in := bufio.NewReader(io.LimitReader(r, maxScrape))
	line, err := in.ReadString('\n')
	if err != nil {
		return "", "", err
	}
	words := strings.Split(strings.TrimRight(line, "\r\n"), " ")
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/1.") {
		return "", "", errors.New("not a request of HTTP/1")
	}
	for strings.TrimRight(line, "\r\n") != "" {
		if line, err = in.ReadString('\n'); err != nil {
			return "", "", err
		}
	}
	path, _, _ = strings.Cut(words[1], "?")
	return words[0], path, nil
}
