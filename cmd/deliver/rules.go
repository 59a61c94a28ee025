package main

import (
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/delivery"
)

// rules collects --if and the flags that say where the message goes then. They belong to the --if before them; those before
// any --if are for what no rule takes.
type rules struct {
	list []delivery.Rule
	last delivery.Rule
	any  bool // last says something
}

// ruleFlag is one of the flags; pflag calls Set in the order of the command line.
type ruleFlag struct {
	kind string
	set  func(value string) error
}

func (f ruleFlag) String() string         { return "" }
func (f ruleFlag) Type() string           { return f.kind }
func (f ruleFlag) Set(value string) error { return f.set(value) }

// current is the rule that the next flag is for.
func (r *rules) current() *delivery.Rule {
	if len(r.list) == 0 {
		r.any = true
		return &r.last
	}
	return &r.list[len(r.list)-1]
}

func (r *rules) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(ruleFlag{"TEST", r.addIf}, "if", "when `TEST` ('HEADER ~ REGEXP') holds, do what the flags after it say; first match wins")
	f.Var(ruleFlag{"NAME", r.setFolder}, "folder", "put it into the Maildir++ folder `NAME`, made when missing")
	f.Var(ruleFlag{"LETTERS", r.addFlags}, "flags", "set the Maildir flags `LETTERS`, out of DFPRST")
	f.Var(ruleFlag{"NAME", r.addKeyword}, "keyword", "set the keyword `NAME` (repeatable)")
	f.Var(ruleFlag{"TARGET", r.addTarget}, "to",
		"deliver to `TARGET` instead of the mailbox: maildir:PATH, mbox:PATH, mh:PATH, lmtp://HOST, lmtp+unix:///PATH,\n"+
			"'|COMMAND', - for stdout, or an address (repeatable)")
	f.VarPF(ruleFlag{"bool", r.setDrop}, "drop", "", "throw the message away").NoOptDefVal = "true"
}

func (r *rules) addIf(s string) error {
	t, err := delivery.ParseTest(s)
	if err == nil {
		r.list = append(r.list, delivery.Rule{Test: t})
	}
	return err
}

func (r *rules) setFolder(s string) error {
	r.current().Folder = s
	return nil
}

func (r *rules) addFlags(s string) error {
	if strings.Trim(s, "DFPRST") != "" {
		return cli.Usagef("%q: flags are letters out of DFPRST", s)
	}
	r.current().Flags += s
	return nil
}

func (r *rules) addKeyword(s string) error {
	c := r.current()
	c.Keywords = append(c.Keywords, s)
	return nil
}

func (r *rules) addTarget(s string) error {
	t, err := delivery.ParseTarget(s)
	if err == nil {
		c := r.current()
		c.Do = append(c.Do, t)
	}
	return err
}

func (r *rules) setDrop(s string) error {
	if s != "true" {
		return cli.Usagef("--drop takes no value")
	}
	r.current().Do = []delivery.Target{}
	return nil
}

// all are the rules, the one that always holds last.
func (r *rules) all() []delivery.Rule {
	if r.any {
		return append(r.list, r.last)
	}
	return r.list
}
