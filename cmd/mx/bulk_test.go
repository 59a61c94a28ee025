package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pennypost/internal/mailtest"
)

// crowd is thousands of names, the zone some of them have something in, and what is to be said of them on both streams. Of
// each fiftieth there is nothing good to say, and the silent ones stand among the first.
func crowd(silent int) (names []string, zone, out, talk []string) {
	zone = []string{"mx0.example. A 192.0.2.1", "mx1.example. A 192.0.2.1", "mx2.example. A 192.0.2.2"}
	for i := range 5000 {
		name := fmt.Sprintf("d%04d.example", i)
		switch {
		case i < silent*50 && i%50 == 9:
			zone = append(zone, ";! timeout "+name)
			talk = append(talk, "mx: "+name+": look up MX \""+name+"\" at SERVER: no answer in time: context deadline exceeded")
		case i%50 == 19:
			talk = append(talk, "mx: "+name+": no such domain")
		case i%50 == 29:
			zone = append(zone, ";! servfail "+name)
			talk = append(talk, "mx: "+name+": look up MX \""+name+"\" at SERVER: server failure")
		case i%50 == 39:
			zone = append(zone, name+". MX 0 .")
			talk = append(talk, "mx: "+name+": accepts no mail (null MX)")
		default:
			zone = append(zone, fmt.Sprintf("%s. MX %d mx%d.example.", name, i, i%3))
			out = append(out, fmt.Sprintf("%s\t%d mx%d.example.", name, i, i%3))
		}
		names = append(names, name)
	}
	return names, zone, out, talk
}

// asked counts datagrams, all and by where they come from, and loses each so many of them.
type asked struct {
	every int64 // 0 = none
	all   atomic.Int64
	mu    sync.Mutex
	from  map[string]int
}

func (a *asked) lose(from net.Addr) bool {
	a.mu.Lock()
	a.from[from.String()]++
	a.mu.Unlock()
	n := a.all.Add(1)
	return a.every > 0 && n%a.every == 0
}

func (a *asked) sockets() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.from)
}

// bulk has mx tell of the names, and returns the lines on both streams.
func bulk(t *testing.T, names []string, server string, args ...string) (out, talk []string, exit int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "mx"), "mx"), append([]string{"--resolver", server, "-j", "100"}, args...)...)
	cmd.Stdin = strings.NewReader(strings.Join(names, "\n"))
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	split := func(b bytes.Buffer) []string {
		return strings.Split(strings.TrimSuffix(strings.ReplaceAll(b.String(), server, "SERVER"), "\n"), "\n")
	}
	return split(said), split(complained), cmd.ProcessState.ExitCode()
}

// sameLines compares lines; the first that is other is shown.
func sameLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s: %d lines, want %d; from line %d on got %q, want %q", what, len(got), len(want), i+1,
				got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
			return
		}
	}
}

// Of thousands of names each is answered for once, in the order of the input or in any, whatever becomes of some of them. They
// are asked about through few sockets.
func TestThousands(t *testing.T) {
	names, zone, out, talk := crowd(6)
	for _, unordered := range []bool{false, true} {
		counter := &asked{from: map[string]int{}}
		args := []string{"--timeout", "4s"}
		if unordered {
			args = append(args, "--unordered")
		}
		gotOut, gotTalk, exit := bulk(t, names, mailtest.LossyDNS(t, strings.Join(zone, "\n"), counter.lose), args...)
		wantOut, wantTalk := out, talk
		if unordered {
			wantOut, wantTalk = slices.Sorted(slices.Values(out)), slices.Sorted(slices.Values(talk))
			slices.Sort(gotOut)
			slices.Sort(gotTalk)
		}
		if exit != 75 {
			t.Errorf("unordered %v: exit %d, want 75", unordered, exit)
		}
		sameLines(t, fmt.Sprintf("unordered %v: stdout", unordered), gotOut, wantOut)
		sameLines(t, fmt.Sprintf("unordered %v: stderr", unordered), gotTalk, wantTalk)
		if all, sockets := counter.all.Load(), counter.sockets(); all < 5000 || all > 6000 || sockets > 100 {
			t.Errorf("unordered %v: %d questions by %d sockets, want about one for each name, and not 100 sockets", unordered, all, sockets)
		}
	}
}

// A server to which a twentieth of the questions does not come is asked again, and nobody's answer is lost.
func TestLossyServer(t *testing.T) {
	names, zone, out, talk := crowd(0)
	counter := &asked{from: map[string]int{}, every: 20}
	gotOut, gotTalk, exit := bulk(t, names, mailtest.LossyDNS(t, strings.Join(zone, "\n"), counter.lose))
	if exit != 75 {
		t.Errorf("exit %d, want 75, for the servers that fail", exit)
	}
	sameLines(t, "stdout", gotOut, out)
	sameLines(t, "stderr", gotTalk, talk)
	if all := counter.all.Load(); all < 5200 || all > 6500 {
		t.Errorf("%d questions, want a twentieth more than names", all)
	}
}
