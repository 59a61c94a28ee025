package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// sendmailNames are the names by which smtpsend is sendmail(8).
var sendmailNames = []string{"sendmail", "mailq", "newaliases"}

const sendmailHelp = `Sendmail puts the message on standard input into the queue of the post office.

Usage:
  sendmail [-tiv] [-f SENDER] [-F NAME] [-B BODY] [-N NOTIFY] [-R RETURN] [-V ENVID] [RECIPIENT...]
  sendmail -bs | -bp | -bv ADDRESS... | -q[I|R|S]TEXT
  mailq
  newaliases

Examples:
  sendmail -t -i <message
  sendmail -f me@example.org you@example.net <message

Flags:
  -B BODY      what the message is, 7BIT or 8BITMIME
  -F NAME      full name of the sender, for a From field that is missing
  -N NOTIFY    when to report: never, or some of success,failure,delay
  -R RETURN    what a report returns of the message: full or hdrs
  -V ENVID     name of the message in reports
  -bm          send a message (default)
  -bp          list the queue, as mailq does
  -bs          speak SMTP on standard input and output
  -bv          say where mail for the addresses would go
  -f SENDER    envelope sender (default the user)
  -i, -oi      take a line with a dot alone as text, not as the end
  -q           send what is due in the queue; -qIID, -qRTEXT, -qSTEXT only that
  -t           send to those in To, Cc and Bcc too
  -v           say under what name the message was taken
      --help      print this help
      --version   print the version

Other options of the classic program are taken and have no effect, see sendmail(8).
`

// sendmailMain is the program under its classic names. It returns the exit status, one of sysexits(3).
func sendmailMain(name string, args []string) int {
	err := sendmail(name, args)
	if err == nil {
		return 0
	}
	e := status.Of(err)
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, status.Escape(e.Text, status.MaxText))
	if e.Exit == int(status.Usage) {
		fmt.Fprintf(os.Stderr, "try '%s --help'\n", name)
	}
	return sysexit(status.ExitStatus(err))
}

// sysexit is a status that callers of sendmail know: one of sysexits(3), whatever a program that took part exited with.
func sysexit(exit int) int {
	switch {
	case exit >= int(status.Usage) && exit <= int(status.Config):
		return exit
	case status.ClassOfExit(exit) == status.Permanent:
		return int(status.Unavailable)
	}
	return int(status.TempFail)
}

func sendmail(name string, args []string) error {
	o, err := parseSendmail(name, args)
	if err != nil {
		return err
	}
	switch o.mode {
	case 'h':
		_, err := io.WriteString(os.Stdout, sendmailHelp)
		return err
	case 'V':
		fmt.Printf("%s %s\n", name, cli.Version())
		return nil
	case 'i':
		fmt.Println("aliases are symbolic links in the post office, see postoffice(5): there is nothing to rebuild")
		return nil
	}
	s, err := readSettings()
	if err != nil {
		return err
	}
	switch o.mode {
	case 's':
		return s.speak()
	case 'p':
		return s.list(os.Stdout)
	case 'q':
		return s.flush(o.flush)
	case 'v':
		return s.verify(os.Stdout, o)
	}
	return s.send(o, os.Stdin)
}

// send takes a letter and returns when it is in the queue, on disk.
func (s *settings) send(o *sendmailOptions, stdin io.Reader) error {
	w, err := s.writer(o.fullName)
	if err != nil {
		return err
	}
	e, err := w.envelope(o)
	if err != nil {
		return err
	}
	if len(e.Recipients) == 0 && !o.fromHeader {
		return cli.Usagef("no recipient: name one, or use -t")
	}
	m, err := readLetter(stdin, o.wholeInput)
	if err != nil {
		return err
	}
	defer m.Close()
	fields, header, err := letterHeader(m)
	if err != nil {
		return err
	}
	if o.fromHeader {
		more, err := namedRecipients(fields)
		if err != nil {
			return err
		}
		e.Recipients = w.completed(append(e.Recipients, more...))
		if len(e.Recipients) == 0 {
			return status.Errorf(status.Data, "no recipient in To, Cc or Bcc")
		}
	}
	o.facts(e)
	taken, err := s.submit(w.complete(m, fields, header, e.Sender, time.Now()), e)
	if err == nil && o.verbose {
		fmt.Fprintf(os.Stderr, "taken by %s for %d recipients\n", status.Escape(taken, maxAddress), len(e.Recipients))
	}
	return err
}

// envelope is that of the arguments. When they name nobody and there is no -t, it is that of a program that calls by the rules of
// mailpipe(7).
func (w *writer) envelope(o *sendmailOptions) (*envelope.Envelope, error) {
	e := &envelope.Envelope{Sender: envelope.Address{Local: w.user, Domain: w.domain}}
	if len(o.recipients) == 0 && !o.fromHeader && o.sender == nil {
		return envelope.FromEnviron(os.Environ())
	}
	if o.sender != nil {
		list, err := addresses([]string{*o.sender})
		if err != nil || len(list) > 1 {
			return nil, cli.Usagef("-f %q: want one address", status.Escape(*o.sender, 200))
		}
		e.Sender = envelope.Address{}
		for _, a := range w.completed(list) {
			e.Sender = a
		}
	}
	list, err := addresses(o.recipients)
	e.Recipients = w.completed(list)
	return e, err
}

// addresses reads arguments, each an address or a list of them, bare names included.
func addresses(args []string) ([]envelope.Address, error) {
	var all []envelope.Address
	for _, arg := range args {
		found, err := envelope.ParseList(arg)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			all = append(all, l.Address)
		}
	}
	return all, nil
}

// facts puts what the options ask for into the envelope.
func (o *sendmailOptions) facts(e *envelope.Envelope) {
	if o.body != "" {
		e.Body = o.body
	}
	if o.ret != "" {
		e.Ret = o.ret
	}
	if o.envid != "" {
		e.EnvID = o.envid
	}
	if o.notify != "" {
		e.Notify = slices.Repeat([]string{o.notify}, len(e.Recipients))
	}
	for _, a := range append([]envelope.Address{e.Sender}, e.Recipients...) {
		local := envelope.Address{Local: a.Local}
		e.SMTPUTF8 = e.SMTPUTF8 || local.NeedsUTF8()
	}
}
