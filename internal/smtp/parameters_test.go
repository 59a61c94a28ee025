package smtp

import "testing"

func TestParameterValues(t *testing.T) {
	tests := []struct {
		name  string
		valid func(string) bool
		good  []string
		bad   []string
	}{
		{"xtext", validXtext,
			[]string{"a", "QQ314159", "a+2Bb", "+3D", "<>", "a@b"},
			[]string{"", "a+", "a+2", "a+2b", "a+GG", "a=b", "a b", "\x7f", "\u00fc", "a\n"}},
		{"NOTIFY", validNotify,
			[]string{"NEVER", "SUCCESS", "DELAY,FAILURE", "SUCCESS,FAILURE,DELAY"},
			[]string{"", "NEVER,DELAY", "SUCCESS,SUCCESS", "SUCCESS,", ",", "ALWAYS", "success"}},
		{"ORCPT", validORcpt,
			[]string{"rfc822;a@b.example", "RFC822;a+2Bc@b.example", "utf-8;\u00fc@b.example", "utf-8;a\\x{FC}@b.example", "x-y2;z"},
			[]string{"", "rfc822", "rfc822;", ";a", "rfc 822;a", "rfc822;a+", "rfc822;\u00fc", "utf-8;a+b"}},
		{"HELO", validHelo,
			[]string{"a.example", "[192.0.2.1]", "my_host", "x"},
			[]string{"", "a b", "\u00fc.example", "a\tb", "a\x7f"}},
	}
	for _, tt := range tests {
		for _, v := range tt.good {
			if !tt.valid(v) {
				t.Errorf("%s %q: refused", tt.name, v)
			}
		}
		for _, v := range tt.bad {
			if tt.valid(v) {
				t.Errorf("%s %q: taken", tt.name, v)
			}
		}
	}
}

func TestParseSize(t *testing.T) {
	for v, want := range map[string]int64{"0": 0, "10240000": 10240000, "5000000000": 5000000000, "99999999999999999999": 1<<63 - 1} {
		var got int64
		if !parseSize(v, &got) || got != want {
			t.Errorf("%q: got %d, want %d", v, got, want)
		}
	}
	for _, v := range []string{"", "-1", "+1", "1k", "0x10", "999999999999999999999"} {
		var got int64
		if parseSize(v, &got) {
			t.Errorf("%q: taken as %d", v, got)
		}
	}
}

func TestParseChunk(t *testing.T) {
	tests := []struct {
		arg      string
		n        int64
		last, ok bool
	}{
		{"0", 0, false, true},
		{"86 LAST", 86, true, true},
		{"86 last", 86, true, true},
		{"86 FIRST", 0, false, false},
		{"-1", 0, false, false},
		{"", 0, false, false},
		{"1 LAST LAST", 0, false, false},
		{"99999999999999999999", 0, false, false},
	}
	for _, tt := range tests {
		n, last, ok := parseChunk(tt.arg)
		if ok != tt.ok || ok && (n != tt.n || last != tt.last) {
			t.Errorf("%q: got %d, %v, %v", tt.arg, n, last, ok)
		}
	}
}
