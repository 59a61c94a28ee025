package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/postoffice"
	"pennypost/internal/smtp"
)

// BenchmarkAccept is the whole way of a message of 4 kB from a connection of loopback into a Maildir, on disk, with 10
// connections at a time.
func BenchmarkAccept(b *testing.B) {
	const conns = 10
	office := b.TempDir()
	if err := os.MkdirAll(filepath.Join(office, "example.org", "alice"), 0o700); err != nil {
		b.Fatal(err)
	}
	off, err := postoffice.Open(office)
	if err != nil {
		b.Fatal(err)
	}
	defer off.Close()
	port := serveBench(b, &smtp.Engine{Name: "mx.example.org", Handler: &handler{office: off, name: "mx.example.org", maxHops: 50}})
	text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64) + ".\r\n"
	b.SetBytes(int64(len(text)))
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range conns {
		all.Go(func() {
			if err := sendBench(port, text, &left); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// serveBench runs the engine on a free port of loopback and returns its address.
func serveBench(b *testing.B, e *smtp.Engine) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { e.Serve(context.Background(), c, envelope.Connection{Proto: "TCP", RemoteIP: "127.0.0.1"}) })
		}
	})
	b.Cleanup(func() { l.Close(); sessions.Wait() })
	return l.Addr().String()
}

// sendBench sends messages over one connection until left is used up.
func sendBench(addr, text string, left *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(text, want string) error {
		if _, err := conn.Write([]byte(text)); err != nil {
			return err
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, want) {
				return fmt.Errorf("reply %q: %w", line, err)
			}
			if !strings.HasPrefix(line, want+"-") {
				return nil
			}
		}
	}
	if err := say("", "220"); err != nil {
		return err
	}
	if err := say("EHLO client.example\r\n", "250"); err != nil {
		return err
	}
	steps := []struct{ text, want string }{
		{"MAIL FROM:<a@sender.example>\r\n", "250"}, {"RCPT TO:<alice@example.org>\r\n", "250"}, {"DATA\r\n", "354"}, {text, "250"},
	}
	for left.Add(-1) >= 0 {
		for _, s := range steps {
			if err := say(s.text, s.want); err != nil {
				return err
			}
		}
	}
	return say("QUIT\r\n", "221")
}
