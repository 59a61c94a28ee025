package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pennypost/internal/resolver"
	"pennypost/internal/spf"
)

// slowDNS answers TXT questions after a second, and counts them.
type slowDNS struct {
	spf.DNS
	mu    sync.Mutex
	asked map[string]int
}

func (d *slowDNS) TXT(ctx context.Context, name string) (resolver.Answer[string], error) {
	d.mu.Lock()
	d.asked[name]++
	d.mu.Unlock()
	select {
	case <-ctx.Done():
		return resolver.Answer[string]{}, ctx.Err()
	case <-time.After(time.Second):
	}
	if name == "broken.test" {
		return resolver.Answer[string]{}, errors.New("no answer")
	}
	return resolver.Answer[string]{Records: []string{"about " + name}}, nil
}

func TestSharedDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowDNS{asked: map[string]int{}}
		shared := newSharedDNS(t.Context(), slow)
		// One that waits no longer does not spoil the answer for the others.
		hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := shared.TXT(hurried, "a.test"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hurried: got %v, want a deadline exceeded", err)
		}
		var wg sync.WaitGroup
		for range 20 {
			for _, name := range []string{"a.test", "A.test.", "broken.test"} {
				wg.Go(func() {
					got, err := shared.TXT(t.Context(), name)
					if broken := name == "broken.test"; broken != (err != nil) || !broken && got.Records[0] != "about a.test" {
						t.Errorf("%s: got %v, %v", name, got.Records, err)
					}
				})
			}
		}
		wg.Wait()
		if len(slow.asked) != 2 || slow.asked["a.test"] != 1 || slow.asked["broken.test"] != 1 {
			t.Errorf("asked %v, want each once", slow.asked)
		}
	})
}

// FuzzNulFeed finds the messages that were put together, however the input is cut.
func FuzzNulFeed(f *testing.F) {
	for _, s := range []string{"", "\x00", "a", "a\x00", "a\x00b", "\x00\x00a\x00\x00", "From: a\n\nb\n\x00From: c\n\nd\n\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		want := bytes.Split(data, []byte{0})
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1] // the NUL behind the last, or nothing at all
		}
		for _, r := range []io.Reader{
			bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data)),
		} {
			feed, err := openFeed("nul:-", r)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range want {
				m, _, err := feed.next()
				if err != nil {
					t.Fatalf("message %d of %q: %v", i, data, err)
				}
				if got, err := io.ReadAll(m.Reader()); err != nil || !bytes.Equal(got, text) {
					t.Errorf("message %d of %q: got %q, %v; want %q", i, data, got, err, text)
				}
				m.Close()
			}
			if _, _, err := feed.next(); err != io.EOF {
				t.Errorf("after the last of %q: got %v, want EOF", data, err)
			}
		}
	})
}
