package mailtest

import (
	"context"
	"net"
	"strings"
	"testing"

	"pennypost/internal/dialog"
)

// Dialog plays the client's side of a script over c, in the form of smtp-transcript(5), and fails the test at the first line
// that is not as written. A peer that says nothing fails it, too, instead of hanging it.
func Dialog(t testing.TB, c net.Conn, script string) {
	t.Helper()
	steps, err := dialog.Parse(strings.NewReader(script))
	if err != nil {
		t.Fatalf("dialog: %v", err)
	}
	var p dialog.Player
	// Servers of a test that play a dialog outlive its context by a little.
	if err := p.Play(context.Background(), c, steps, false); err != nil {
		t.Fatalf("dialog %v", err)
	}
}
