package listen

import (
	"fmt"
	"testing"

	"github.com/spf13/cobra"
)

func TestFlags(t *testing.T) {
	cmd := &cobra.Command{}
	o := Flags(cmd)
	err := cmd.ParseFlags([]string{"--listen", ":25", "--listen", "unix:/run/s,t", "--proxy-from", "192.0.2.7,10.0.0.0/8", "--proxy-from", "::ffff:192.0.2.9", "--proxy-from", "2001:db8::1/32"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%q", o.Listen), `[":25" "unix:/run/s,t"]`; got != want {
		t.Errorf("listen: got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(o.ProxyFrom), "[192.0.2.7/32 10.0.0.0/8 192.0.2.9/32 2001:db8::/32]"; got != want {
		t.Errorf("proxy-from: got %s, want %s", got, want)
	}
	for _, bad := range []string{"proxy.example.org", "10.0.0.0/33", "::ffff:10.0.0.0/104", ""} {
		cmd := &cobra.Command{}
		Flags(cmd)
		if err := cmd.ParseFlags([]string{"--proxy-from", bad}); err == nil {
			t.Errorf("--proxy-from %q was taken", bad)
		}
	}
}
