package smtp

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"pennypost/internal/status"
)

func TestReadReply(t *testing.T) {
	tests := []struct {
		name, in string
		want     Reply
	}{
		{"one line", "250 2.1.0 Ok\r\n", Reply{250, "2.1.0", []string{"Ok"}}},
		{"several lines", "250-2.0.0 a\r\n250-2.0.0 b\r\n250 2.0.0 c\r\n", Reply{250, "2.0.0", []string{"a", "b", "c"}}},
		{"enhanced code on the first line only", "550-5.1.1 a\r\n550 b\r\n", Reply{550, "5.1.1", []string{"a", "b"}}},
		{"another enhanced code stays text", "550-5.1.1 a\r\n550 5.7.1 b\r\n", Reply{550, "5.1.1", []string{"a", "5.7.1 b"}}},
		{"enhanced code of another class is text", "550 4.1.1 a\r\n", Reply{550, "", []string{"4.1.1 a"}}},
		{"354 has none", "354 3.0.0 go\r\n", Reply{354, "", []string{"3.0.0 go"}}},
		{"a version number is text", "250 2.0 server\r\n", Reply{250, "", []string{"2.0 server"}}},
		{"bare code", "250\r\n", Reply{250, "", []string{""}}},
		{"bare code, bare LF", "250\n", Reply{250, "", []string{""}}},
		{"bare LF", "250-a\n250 b\n", Reply{250, "", []string{"a", "b"}}},
		{"enhanced code alone", "250 2.0.0\r\n", Reply{250, "2.0.0", []string{""}}},
		{"longest line", "250 " + strings.Repeat("x", maxReplyLine-4) + "\r\n", Reply{250, "", []string{strings.Repeat("x", maxReplyLine-4)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadReply(bufio.NewReader(strings.NewReader(tt.in)))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestReadReplyRefuses(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", "EOF"},
		{"no line end", "250 ok", "unexpected EOF"},
		{"ends in the middle", "250-a\r\n", "unexpected EOF"},
		{"code changes", "250-a\r\n251 b\r\n", "code 251 follows 250"},
		{"no code", "hello\r\n", `"hello" is not a reply`},
		{"1xx", "150 x\r\n", "is not a reply"},
		{"6xx", "600 x\r\n", "is not a reply"},
		{"four digits", "2500 x\r\n", "is not a reply"},
		{"empty line", "\r\n", "is not a reply"},
		{"too many lines", strings.Repeat("250-x\r\n", 300), "more than 256 lines"},
		{"line too long", "250 " + strings.Repeat("x", maxReplyLine) + "\r\n", "line over 2048 bytes"},
		{"line without end", strings.Repeat("2", 1<<20), "line over 2048 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadReply(bufio.NewReader(strings.NewReader(tt.in)))
			var e *status.Error
			if !errors.As(err, &e) || e.Class != status.Temporary || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a temporary error with %q", err, tt.want)
			}
		})
	}
	if _, err := ReadReply(bufio.NewReader(strings.NewReader(""))); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestWriteReply(t *testing.T) {
	tests := []struct {
		name string
		r    Reply
		want string
	}{
		{"one line", Reply{250, "2.0.0", []string{"Ok"}}, "250 2.0.0 Ok\r\n"},
		{"enhanced code on every line", Reply{550, "5.7.1", []string{"a", "b"}}, "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
		{"no enhanced code", Reply{354, "", []string{"go"}}, "354 go\r\n"},
		{"no text", Reply{221, "", nil}, "221 \r\n"},
		{"text cannot bring replies", Reply{550, "", []string{"a\r\n250 ok"}}, `550 a\x0d\x0a250 ok` + "\r\n"},
		{"NUL and bad UTF-8", Reply{550, "", []string{"\x00\xff"}}, `550 \x00\xff` + "\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			n, err := tt.r.WriteTo(&b)
			if err != nil || b.String() != tt.want || n != int64(len(tt.want)) {
				t.Errorf("got %q, %d, %v, want %q", b.String(), n, err, tt.want)
			}
		})
	}
	for _, text := range []string{strings.Repeat("x", 1000), strings.Repeat("é", 600), strings.Repeat("\x00", 300)} {
		var b strings.Builder
		Reply{550, "5.123.123", []string{text}}.WriteTo(&b)
		if len(b.String()) > 512 || !strings.HasSuffix(b.String(), "\r\n") || len(b.String()) < 500 {
			t.Errorf("%d bytes: %q, want up to 512 and a line end", len(b.String()), b.String())
		}
	}
}

func TestReplyErr(t *testing.T) {
	tests := []struct {
		r     Reply
		class status.Class
		line  string
	}{
		{Reply{550, "5.1.1", []string{"no", "such user"}}, status.Permanent, "550 5.1.1 no such user"},
		{Reply{450, "", []string{"later"}}, status.Temporary, "450 4.0.0 later"},
		{Reply{}, status.Temporary, "0 4.0.0 "},
	}
	for _, tt := range tests {
		if e := tt.r.Err(); e.Class != tt.class || e.Line() != tt.line {
			t.Errorf("%v: got %v %q, want %v %q", tt.r, e.Class, e.Line(), tt.class, tt.line)
		}
	}
	for _, code := range []int{220, 250, 354} {
		if e := (Reply{Code: code}).Err(); e != nil {
			t.Errorf("%d: got %v, want nil", code, e)
		}
	}
}

// What was read and is written again is strict, and says the same when it is read again.
func FuzzReadReply(f *testing.F) {
	f.Add("250 2.1.0 Ok\r\n")
	f.Add("250-a\n250\n")
	f.Add("550-5.1.1 5.1.1 x\r\n550-5.7.1 y\r\n550 \x00\xff\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := ReadReply(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			var e *status.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v is no *status.Error", err)
			}
			return
		}
		var once, twice strings.Builder
		r.WriteTo(&once)
		for _, l := range strings.SplitAfter(once.String(), "\n") {
			if len(l) > replyLine || l != "" && !strings.HasSuffix(l, "\r\n") || strings.Count(l, "\r") > 1 {
				t.Fatalf("%q written as %q", in, once.String())
			}
		}
		back, err := ReadReply(bufio.NewReader(strings.NewReader(once.String())))
		if err != nil || back.Code != r.Code || back.Enhanced != r.Enhanced || len(back.Lines) != len(r.Lines) {
			t.Fatalf("%q: got %+v, %v, want %+v", once.String(), back, err, r)
		}
		if back.WriteTo(&twice); twice.String() != once.String() {
			t.Fatalf("written %q, then %q", once.String(), twice.String())
		}
	})
}
