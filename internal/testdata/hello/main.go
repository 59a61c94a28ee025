// Hello is the least program of its kind: a command line by cobra, TLS and the network linked in, a greeting, and the end.
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"
)

// linked keeps packages in the program that any server or client has.
var linked = []any{tls.Dial, net.Listen}

func main() {
	cmd := &cobra.Command{Use: "hello", RunE: func(*cobra.Command, []string) error {
		_, err := fmt.Println("220 hello")
		return err
	}}
	cmd.Flags().Int("packages", len(linked), "how many packages are linked in for nothing")
	if cmd.Execute() != nil {
		os.Exit(1)
	}
}
