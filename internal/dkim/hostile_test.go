//go:build unix

package dkim

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/message"
)

// hostile are messages that are made to cost their reader much, by name.
func hostile(t testing.TB) map[string]string {
	t.Helper()
	sig := strings.TrimSuffix(resign(t, letter, base), letter)
	long := strings.Replace(sig, "h=from:to", "h=from:to:"+strings.Repeat("x:", 19_998)+"x", 1)
	o := signer("ed")
	o.Body, o.Header = Simple, Simple
	return map[string]string{
		"2,000 signatures":   strings.Repeat(sig, 2000) + letter,
		"20,000 names in h=": long + letter,
		"1,000 names in h=, 9,000 fields": strings.Replace(sig, "h=from:to", "h=from"+strings.Repeat(":\n x", 999), 1) +
			strings.Repeat("X: y\n", 9000) + letter,
		"4 MB of blank lines":                  signed(t, letter+strings.Repeat("\n", 4<<20)+"end\n", o),
		"4 MB of blank lines at the end":       signed(t, letter+strings.Repeat("\n", 4<<20), o),
		"4 MB of blanks":                       signed(t, letter+strings.Repeat(" ", 4<<20)+"end\n", signer("ed")),
		"4 MB of CR":                           signed(t, letter+strings.Repeat("\r", 4<<20), signer("ed")),
		"4 MB of blank and CR":                 signed(t, letter+strings.Repeat(" \r", 2<<20), signer("ed")),
		"2 MB of one letter a line":            signed(t, letter+strings.Repeat("x\n", 1<<20), signer("ed")),
		"4 MB of one letter a line in turns":   signed(t, letter+strings.Repeat("x\r\ny\n", 4<<20/5), signer("ed")),
		"4 MB of one letter and blanks a line": signed(t, letter+strings.Repeat("x\r\ny  \r\n", 4<<20/8), signer("ed")),
		"4 MB and ten signatures with l=":      tenLengths(t, letter+strings.Repeat("\n", 4<<20)+"end\n"),
		"1 MB of tags":                         "DKIM-Signature: v=1" + strings.Repeat("; a=b", 200_000) + "\n" + letter,
		"one long field":                       "From: a" + strings.Repeat(" \t", 500_000) + "\n" + sig + "\nx\n",
	}
}

// tenLengths signs the text ten times, each time another part of its body.
func tenLengths(t testing.TB, text string) string {
	t.Helper()
	all := text
	for i := range 10 {
		tags := strings.Replace(base, "relaxed/relaxed", []string{"relaxed/relaxed", "relaxed/simple"}[i%2], 1)
		all = strings.TrimSuffix(resign(t, text, fmt.Sprintf("%s l=%d;", tags, 1000*i)), text) + all
	}
	return all
}

// cpu is the time the process has worked so far.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHostile tells what such a message costs. All stay below 50 ms of CPU on an idle machine, as BenchmarkHostile shows; what
// fails the test is far more than a busy one could make of that, and far less than anything quadratic takes.
func TestHostile(t *testing.T) {
	z := testZone(t)
	for name, text := range hostile(t) {
		m := message.Bytes([]byte(text))
		start := cpu(t)
		r, err := Verify(t.Context(), m, z.options())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		took := cpu(t) - start
		verdict := "none"
		if len(r) > 0 {
			verdict = fmt.Sprintf("%s %s", r[0].Verdict, r[0].Reason)
		}
		t.Logf("%s: %v for %d signatures: %s", name, took, len(r), verdict)
		if took > slower*3*time.Second {
			t.Errorf("%s: %v of CPU", name, took)
		}
	}
}

// BenchmarkHostile is the CPU time of each.
func BenchmarkHostile(b *testing.B) {
	z := testZone(b)
	for name, text := range hostile(b) {
		m := message.Bytes([]byte(text))
		b.Run(name, func(b *testing.B) {
			best := time.Hour
			for b.Loop() {
				start := cpu(b)
				if _, err := Verify(b.Context(), m, z.options()); err != nil {
					b.Fatal(err)
				}
				best = min(best, cpu(b)-start)
			}
			b.ReportMetric(float64(best)/1e6, "cpu_ms")
		})
	}
}

// pattern is a message without end whose bytes are made when they are read.
type pattern struct{ head, line string }

func (p pattern) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(p.head)) {
		n = copy(b, p.head[off:])
	}
	for n < len(b) {
		n += copy(b[n:], p.line[(off+int64(n)-int64(len(p.head)))%int64(len(p.line)):])
	}
	return n, nil
}

func longMessage(size int64) *message.Message {
	return message.New(pattern{letter, strings.Repeat("a line of some words, like any other line of a letter that is longer\n", 400)}, size)
}

// TestLongMessage sees that 100 MB are signed and checked in the memory that one letter takes.
func TestLongMessage(t *testing.T) {
	m := longMessage(100 << 20 / slower)
	field, err := Sign(m, signer("ed"))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Verify(t.Context(), Prepend(m, field), testZone(t).options())
	runtime.ReadMemStats(&after)
	if err != nil || len(r) != 1 || r[0].Verdict != Pass {
		t.Fatalf("got %v, %v", r, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
		t.Errorf("%d bytes allocated", n)
	}
}

// BenchmarkLong is the speed on 100 MB, of which the source of the bytes takes a part.
func BenchmarkLong(b *testing.B) {
	for _, c := range []string{"relaxed/relaxed", "simple/simple"} {
		b.Run(c, func(b *testing.B) {
			m := longMessage(100 << 20)
			o := signer("ed")
			o.Header, o.Body, _ = ParseCanon(c)
			field, err := Sign(m, o)
			if err != nil {
				b.Fatal(err)
			}
			m = Prepend(m, field)
			z := testZone(b)
			b.SetBytes(m.Size())
			b.ReportAllocs()
			for b.Loop() {
				if r, err := Verify(b.Context(), m, z.options()); err != nil || r[0].Verdict != Pass {
					b.Fatal(r, err)
				}
			}
		})
	}
}
