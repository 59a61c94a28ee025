package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/dkim"
	"pennypost/internal/status"
)

// keygenOptions are the flags of keygen.
type keygenOptions struct {
	domain, selector, out, kind string
	bits                        int
}

func newKeygen() *cobra.Command {
	var o keygenOptions
	cmd := &cobra.Command{
		Use:                   "keygen --domain DOMAIN --selector NAME --out FILE [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Make a key and print its DNS record",
		Long: "Keygen writes a new private key to a file and prints the TXT record that publishes its\n" +
			"public half, as a line for a zone file.",
		Example: "  mailauth keygen -d example.org -s mail -o mail.key >>example.org.zone",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "the domain that will sign, `DOMAIN`")
	f.StringVarP(&o.selector, "selector", "s", "", "publish the key under selector `NAME`")
	f.StringVarP(&o.out, "out", "o", "", "write the private key to `FILE`, which must not exist")
	f.StringVarP(&o.kind, "type", "t", "rsa", "make a key of `TYPE` rsa or ed25519")
	f.IntVarP(&o.bits, "bits", "b", 2048, "make an RSA key of `N` bits")
	return cmd
}

func (o *keygenOptions) run(w io.Writer) error {
	if o.domain == "" || o.selector == "" || o.out == "" {
		return cli.Usagef("--domain, --selector and --out are needed")
	}
	if err := dkim.CheckName(o.domain, o.selector); err != nil {
		return cli.Usagef("%w", err)
	}
	private, record, err := dkim.Generate(o.kind, o.bits)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	if err := writeNew(o.out, private); err != nil {
		return status.Errorf(status.CantCreate, "writing the private key: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s. IN TXT %s\n", dkim.Query(o.selector, o.domain), quoteTXT(record))
	return err
}

// writeNew writes a file that only its owner can read, whole or not at all,
// and never over another one.
func writeNew(name string, data []byte) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		if rm := os.Remove(name); !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}

// quoteTXT splits a record into strings of at most 255 bytes (RFC 1035 section
// 3.3.14). Ours hold neither quotes nor backslashes.
func quoteTXT(record string) string {
	var parts []string
	for len(record) > 0 {
		n := min(255, len(record))
		parts = append(parts, `"`+record[:n]+`"`)
		record = record[n:]
	}
	return strings.Join(parts, " ")
}
