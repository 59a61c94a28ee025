package status

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

func TestFromExit(t *testing.T) {
	tests := []struct {
		name  string
		exit  int
		line  string
		class Class
		want  string
	}{
		{"policy with its own words", 77, "550 5.7.1 go away", Permanent, "550 5.7.1 go away"},
		{"no user", 67, "", Permanent, "550 5.1.1 no such user"},
		{"qmail hard", 100, "", Permanent, "554 5.0.0 permanent failure"},
		{"qmail soft", 111, "", Temporary, "451 4.3.0 temporary failure"},
		{"usage is the operator's fault", 64, "unknown flag", Temporary, "451 4.3.5 unknown flag"},
		{"unknown code", 3, "", Temporary, "451 4.3.0 program failed with exit status 3"},
		{"signal", 137, "", Temporary, "451 4.3.0 program failed with exit status 137"},
		{"a temporary exit cannot say 5xx", 75, "550 5.1.1 no", Temporary, "451 4.3.0 no"},
		{"a permanent exit cannot say 4xx", 100, "450 4.2.0 later", Permanent, "554 5.0.0 later"},
		{"no enhanced code", 75, "452 full", Temporary, "452 4.0.0 full"},
		{"enhanced of another class", 100, "550 4.1.1 odd", Permanent, "550 5.0.0 odd"},
		{"hostile text", 75, "450 4.0.0 a\x00b\rc", Temporary, `450 4.0.0 a\x00b\x0dc`},
		{"a success code of a failed program is text", 75, "250 2.0.0 ok", Temporary, "451 4.3.0 250 2.0.0 ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := FromExit(tt.exit, tt.line)
			if e.Class != tt.class || e.Line() != tt.want || e.Exit != tt.exit {
				t.Errorf("got %v %q exit %d, want %v %q exit %d", e.Class, e.Line(), e.Exit, tt.class, tt.want, tt.exit)
			}
		})
	}
	if e := FromExit(0, "550 no"); e != nil {
		t.Errorf("exit 0: got %v, want nil", e)
	}
}

// The contract of mailpipe(7), for every possible exit status.
func TestOnlyTheContractsExitsArePermanent(t *testing.T) {
	permanent := map[int]bool{65: true, 67: true, 68: true, 77: true, 100: true}
	for exit := 1; exit < 256; exit++ {
		e := FromExit(exit, "")
		if got := e.Class == Permanent; got != permanent[exit] {
			t.Errorf("exit %d: got permanent %v, want %v", exit, got, permanent[exit])
		}
		if ClassOfExit(exit) != e.Class {
			t.Errorf("exit %d: ClassOfExit %v, FromExit %v", exit, ClassOfExit(exit), e.Class)
		}
	}
}

func TestTableAgreesWithItself(t *testing.T) {
	for k, r := range table {
		if classOfCode(r.code) != r.class || !validEnhanced(r.enhanced) || int(r.enhanced[0]-'0') != r.code/100 {
			t.Errorf("row %d: class %v, code %d, enhanced %q do not agree", k, r.class, r.code, r.enhanced)
		}
	}
}

func TestOf(t *testing.T) {
	inner := Errorf(NoUser, "look up %q: no such user", "x")
	tests := []struct {
		name string
		err  error
		want string
		exit int
	}{
		{"full disk where something is made", Errorf(CantCreate, "make x: %w", syscall.ENOSPC), "452 4.3.1 make x: no space left on device", 73},
		{"quota where something is made", Errorf(CantCreate, "make x: %w", syscall.EDQUOT), "452 4.2.2 make x: disk quota exceeded", 73},
		{"full disk and for ever", Errorf(NoPerm, "x: %w", syscall.ENOSPC), "550 5.7.1 x: no space left on device", 77},
		{"plain", errors.New("odd"), "451 4.3.0 odd", 75},
		{"cancelled", context.Canceled, "451 4.3.0 context canceled", 75},
		{"wrapped keeps outer text", fmt.Errorf("deliver: %w", inner), `550 5.1.1 deliver: look up "x": no such user`, 67},
		{"full disk", &os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}, "452 4.3.1 write f: no space left on device", 75},
		{"quota", fmt.Errorf("x: %w", syscall.EDQUOT), "452 4.2.2 x: disk quota exceeded", 75},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Of(tt.err); got.Line() != tt.want || ExitStatus(tt.err) != tt.exit {
				t.Errorf("got %q exit %d, want %q exit %d", got.Line(), ExitStatus(tt.err), tt.want, tt.exit)
			}
			if !errors.Is(Of(tt.err), tt.err) && !errors.Is(tt.err, Of(tt.err)) {
				t.Errorf("the cause is lost")
			}
		})
	}
	if Of(nil) != nil || ExitStatus(nil) != 0 {
		t.Error("nil is not success")
	}
}

func TestWithReply(t *testing.T) {
	e := Errorf(NoPerm, "relay").WithReply(454, "4.7.1")
	if e.Class != Temporary || e.Exit != 75 || e.Line() != "454 4.7.1 relay" {
		t.Errorf("got %v exit %d %q", e.Class, e.Exit, e.Line())
	}
	if e := Errorf(Data, "big").WithReply(552, "5.3.4"); e.Exit != 65 || e.Line() != "552 5.3.4 big" {
		t.Errorf("got exit %d %q, want 65", e.Exit, e.Line())
	}
	if e := Errorf(Data, "x").WithReply(550, "4.1.1"); e.Enhanced != "5.0.0" {
		t.Errorf("enhanced of another class: got %q", e.Enhanced)
	}
}

func TestErrorfKeepsCause(t *testing.T) {
	if e := Errorf(IO, "write %q: %w", "f", syscall.EIO); !errors.Is(e, syscall.EIO) || e.Exit != 74 {
		t.Errorf("got %v, exit %d", e, e.Exit)
	}
	if e := Errorf(Kind(3), "x"); e.Class != Temporary || e.Exit != 75 {
		t.Errorf("unknown kind: got %v exit %d", e.Class, e.Exit)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"550 5.7.1 no", "450 x", "451", "250 ok", "550-5.1.1 x", "5\xff0 x", "550 5.1.1000 a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := ParseLine(s)
		if !ok {
			return
		}
		again, ok := ParseLine(e.Line())
		if !ok || again.Line() != e.Line() {
			t.Errorf("%q: printed as %q, read back as %v", s, e.Line(), again)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add("plain", 5)
	f.Add("a\r\nb\xff\u2028", 10)
	f.Add("abcdef", 2)
	f.Fuzz(func(t *testing.T, s string, max int) {
		if max < 0 || max > 1000 {
			return
		}
		got := Escape(s, max)
		if len(got) > max || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00\x1b\u2028") {
			t.Errorf("Escape(%q, %d) = %q", s, max, got)
		}
	})
}
