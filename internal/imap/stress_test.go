package imap

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pennypost/internal/maildir"
)

// follower keeps the list of a mailbox as a client does: from EXISTS, EXPUNGE and FETCH responses only.
type follower struct {
	lines
	n    int
	uids []int // by sequence number; 0 where not known yet
}

// do sends a command and follows the responses. It returns the tagged one.
func (f *follower) do(format string, a ...any) string {
	f.n++
	tag := fmt.Sprintf("t%d", f.n)
	f.send(tag+" "+format, a...)
	got := f.until(tag + " ")
	for _, line := range got {
		var n, uid int
		switch {
		case scan(line, "* %d EXISTS", &n):
			if n < len(f.uids) {
				f.t.Errorf("%s: %d EXISTS after %d", format, n, len(f.uids))
				break
			}
			f.uids = append(f.uids, make([]int, n-len(f.uids))...)
		case scan(line, "* %d EXPUNGE", &n):
			if n < 1 || n > len(f.uids) {
				f.t.Fatalf("%s: %s of %d", format, line, len(f.uids))
			}
			f.uids = slices.Delete(f.uids, n-1, n)
		case scan(line, "* %d FETCH (UID %d", &n, &uid):
			if n < 1 || n > len(f.uids) || f.uids[n-1] != 0 && f.uids[n-1] != uid {
				f.t.Fatalf("%s: %s, known: %v", format, line, f.uids)
			}
			f.uids[n-1] = uid
		}
	}
	return got[len(got)-1]
}

func scan(line, format string, a ...any) bool {
	n, _ := fmt.Sscanf(line, format, a...)
	return n == len(a) && strings.Contains(line, strings.Fields(format)[2])
}

// Several sessions add, flag, move and remove at the same time. In the end each of them knows the same
// messages, by what it was told alone, and no UID was ever that of two.
func TestSessionsTogether(t *testing.T) {
	d := makeBox(t, sample)
	const sessions, rounds = 4, 25
	all := make([]*follower, sessions)
	for i := range all {
		own, err := maildir.OpenPath(d.Path())
		if err != nil {
			t.Fatal(err)
		}
		conn, _ := start(t, testConfig(own), Peer{Account: &Account{User: "alice", Dir: own}})
		all[i] = &follower{lines: lines{t, conn, bufio.NewReader(conn)}}
		all[i].until("* PREAUTH")
		all[i].do("SELECT INBOX")
		all[i].do("UID FETCH 1:* FLAGS")
	}
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range rounds {
				f.step(r)
			}
		})
	}
	wg.Wait()
	for i, f := range all {
		f.do("NOOP")
		f.do("UID FETCH 1:* FLAGS")
		if !slices.IsSorted(f.uids) || len(slices.Compact(slices.Clone(f.uids))) != len(f.uids) || !slices.Equal(f.uids, all[0].uids) {
			t.Errorf("session %d knows %v, session 0 %v", i, f.uids, all[0].uids)
		}
	}
	x, err := d.Index(t.Context(), nil)
	if err != nil || len(x.Messages) != len(all[0].uids) {
		t.Errorf("%d messages are there, %v, known are %d", len(x.Messages), err, len(all[0].uids))
	}
}

func (f *follower) step(r *rand.Rand) {
	some := 1
	if len(f.uids) > 0 {
		some = max(1, f.uids[r.IntN(len(f.uids))])
	}
	answer := ""
	switch r.IntN(6) {
	case 0, 1:
		answer = f.do("APPEND INBOX {4+}\r\nabcd")
	case 2:
		answer = f.do("UID STORE %d +FLAGS (\\Deleted)", some)
	case 3:
		answer = f.do("UID COPY %d INBOX", some)
	case 4:
		answer = f.do("EXPUNGE")
	case 5:
		answer = f.do("UID FETCH %d (FLAGS BODY[])", some)
	}
	// Only a copy of what another one removed at that moment may be refused.
	if !strings.Contains(answer, " OK ") && !strings.Contains(answer, "[EXPUNGEISSUED]") {
		f.t.Errorf("got %q", answer)
	}
}
