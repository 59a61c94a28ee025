package maildir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseKeywords(t *testing.T) {
	k := ParseKeywords(strings.NewReader("0 Junk\n25 last\n26 over\n-1 under\nx y\n1 two words\n2 Junk\n0 again\n3\n"))
	var want Keywords
	want[0], want[25] = "Junk", "last"
	if k != want {
		t.Errorf("got %q", k)
	}
	if k.Letter("jUNK") != 'a' || k.Letter("none") != 0 || k.Name('z') != "last" || k.Name('b') != "" || k.Name('S') != "" {
		t.Errorf("letters: %c %c %q", k.Letter("jUNK"), k.Letter("none"), k.Name('z'))
	}
}

func TestAddKeywords(t *testing.T) {
	ctx := context.Background()
	// b is used in a name and has no keyword: whoever used it knows what it means.
	d := box(t, "cur/1.a:2,Sb")
	put(t, d, keywordsName, "0 Junk\n")
	k, err := d.AddKeywords(ctx, []string{"junk", "$Label1", "Later"})
	if err != nil || k[0] != "Junk" || k[1] != "" || k[2] != "$Label1" || k[3] != "Later" {
		t.Fatalf("got %q, %v", k, err)
	}
	if text, _ := d.Root().ReadFile(keywordsName); string(text) != "0 Junk\n2 $Label1\n3 Later\n" {
		t.Errorf("file is %q", text)
	}
	for i := range 22 {
		if _, err := d.AddKeywords(ctx, []string{fmt.Sprintf("k%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := d.Keywords()
	if _, err := d.AddKeywords(ctx, []string{"one-too-many"}); !errors.Is(err, ErrKeywordsFull) {
		t.Errorf("got %v", err)
	}
	if _, err := d.AddKeywords(ctx, []string{`\System`}); err == nil {
		t.Error(`\System is no keyword`)
	}
	if after, _ := d.Keywords(); after != before {
		t.Errorf("keywords became %q", after)
	}
}

func TestSubscriptions(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"version 2", "V\t2\n\nINBOX\nA\tB\nA\tB\n", "INBOX A.B"},
		{"old", "INBOX\nA.B\n\nC\n", "INBOX A.B C"},
		{"escaped", "V\t2\n\nA\x01tB\tC\n", "A\tB.C"},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := box(t)
			put(t, d, subscriptionsName, tt.text)
			names, err := d.Subscriptions()
			if err != nil || strings.Join(names, " ") != tt.want {
				t.Errorf("got %q, %v, want %q", names, err, tt.want)
			}
			ctx := context.Background()
			if err := errors.Join(d.Subscribe(ctx, "X.Y", true), d.Subscribe(ctx, "X.Y", true)); err != nil {
				t.Fatal(err)
			}
			again, err := d.Subscriptions()
			if err != nil || !slices.Equal(again, append(names, "X.Y")) {
				t.Errorf("after adding: %q, %v", again, err)
			}
			if err := d.Subscribe(ctx, "X.Y", false); err != nil {
				t.Fatal(err)
			}
			if last, err := d.Subscriptions(); err != nil || !slices.Equal(last, names) {
				t.Errorf("after taking it off: %q, %v, want %q", last, err, names)
			}
		})
	}
	if names, err := box(t).Subscriptions(); names != nil || err != nil {
		t.Errorf("without a file: %q, %v", names, err)
	}
}

// Each call that changes the disk fails in turn: the file is the old one or the new one, never a part.
func TestSmallFilesFaults(t *testing.T) {
	errFault := errors.New("fault")
	ctx := context.Background()
	files := []struct {
		name, before, after string
		change              func(*Dir) error
	}{
		{keywordsName, "0 Junk\n", "0 Junk\n1 Later\n", func(d *Dir) error { _, err := d.AddKeywords(ctx, []string{"Later"}); return err }},
		{subscriptionsName, "V\t2\n\nA\n", "V\t2\n\nA\nB\n", func(d *Dir) error { return d.Subscribe(ctx, "B", true) }},
	}
	for _, f := range files {
		for step := range 8 {
			d := box(t)
			put(t, d, f.name, f.before)
			left := step
			d.ops = failing(&left, errFault)
			err := f.change(d)
			text, rerr := d.Root().ReadFile(f.name)
			if rerr != nil || string(text) != f.before && string(text) != f.after {
				t.Errorf("%s, step %d: file is %q, %v", f.name, step, text, rerr)
			}
			if (err == nil) != (left >= 0) || err == nil && string(text) != f.after {
				t.Errorf("%s, step %d: got %v, file is %q", f.name, step, err, text)
			}
			d.ops = &realOps
			if err := f.change(d); err != nil {
				t.Errorf("%s, step %d: again: %v", f.name, step, err)
			}
		}
	}
}
