package main

import (
	"strings"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
)

// sendmailOptions are what sendmail(8) was called with.
type sendmailOptions struct {
	mode       byte     // of -b: 'm' send, 's' SMTP, 'p' list, 'v' verify, 'i' aliases; 'q' run the queue, 'h' help, 'V' version
	fromHeader bool     // -t
	wholeInput bool     // -i: a line with a dot alone is text
	sender     *string  // -f, nil = the user
	fullName   string   // -F
	body       string   // -B
	notify     string   // -N, as NOTIFY has it
	ret        string   // -R
	envid      string   // -V, in xtext
	verbose    bool     // -v
	flush      []string // -qI -qR -qS: what to run, as flags of smtpsend run
	recipients []string
}

// How an option takes its value.
const (
	alone    = iota // none: more options may follow in the same word
	attached        // what follows in the same word, maybe nothing
	valued          // what follows in the same word, or the next word
)

// sendmailOption is one letter.
type sendmailOption struct {
	takes int
	set   func(o *sendmailOptions, v string) error // nil = taken and without effect here
}

// sendmailTable has the letters that callers use (sendmail(8) says which have no effect).
var sendmailTable = map[byte]sendmailOption{
	't': {alone, func(o *sendmailOptions, _ string) error { o.fromHeader = true; return nil }},
	'i': {alone, func(o *sendmailOptions, _ string) error { o.wholeInput = true; return nil }},
	'v': {alone, func(o *sendmailOptions, _ string) error { o.verbose = true; return nil }},
	'I': {alone, func(o *sendmailOptions, _ string) error { o.mode = 'i'; return nil }},
	'f': {valued, func(o *sendmailOptions, v string) error { o.sender = &v; return nil }},
	'r': {valued, func(o *sendmailOptions, v string) error { o.sender = &v; return nil }},
	'F': {valued, func(o *sendmailOptions, v string) error { o.fullName = v; return nil }},
	'B': {valued, (*sendmailOptions).setBody},
	'N': {valued, (*sendmailOptions).setNotify},
	'R': {valued, (*sendmailOptions).setRet},
	'V': {valued, (*sendmailOptions).setEnvID},
	'b': {valued, (*sendmailOptions).setMode},
	'q': {attached, (*sendmailOptions).setFlush},
	'o': {valued, func(o *sendmailOptions, v string) error { o.wholeInput = o.wholeInput || v == "i"; return nil }},
	'O': {valued, func(o *sendmailOptions, v string) error {
		o.wholeInput = o.wholeInput || strings.EqualFold(v, "IgnoreDots=true") || strings.EqualFold(v, "IgnoreDots")
		return nil
	}},
	'c': {}, 'm': {}, 'n': {}, 'x': {}, 'G': {}, 'U': {}, 'E': {}, 'J': {},
	'A': {takes: valued}, 'C': {takes: valued}, 'D': {takes: valued}, 'L': {takes: valued}, 'X': {takes: valued},
	'd': {takes: attached}, 'e': {takes: valued}, 'h': {takes: valued}, 'p': {takes: valued},
}

// parseSendmail reads the command line as the classic program does: letters may share a word, a value may be in the letter's
// word or be the next one, and the first word that is no option ends the options.
func parseSendmail(name string, args []string) (*sendmailOptions, error) {
	o := &sendmailOptions{mode: map[string]byte{"mailq": 'p', "newaliases": 'i'}[name]}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0]
		args = args[1:]
		switch word {
		case "--":
			o.recipients = args
			return o.checked()
		case "--help":
			o.mode = 'h'
			return o, nil
		case "--version":
			o.mode = 'V'
			return o, nil
		}
		var err error
		if args, err = o.letters(word[1:], args); err != nil {
			return nil, err
		}
	}
	o.recipients = args
	return o.checked()
}

// letters reads the options of one word and returns the words that are left.
func (o *sendmailOptions) letters(word string, args []string) ([]string, error) {
	for word != "" {
		letter := word[0]
		word = word[1:]
		option, ok := sendmailTable[letter]
		if !ok {
			return nil, cli.Usagef("unknown option -%s", string(letter))
		}
		value := ""
		switch {
		case option.takes == alone:
		case word != "" || option.takes == attached:
			value, word = word, ""
		case len(args) == 0:
			return nil, cli.Usagef("option -%s needs a value", string(letter))
		default:
			value, args = args[0], args[1:]
		}
		if option.set != nil {
			if err := option.set(o, value); err != nil {
				return nil, err
			}
		}
	}
	return args, nil
}

func (o *sendmailOptions) checked() (*sendmailOptions, error) {
	if o.mode == 0 {
		o.mode = 'm'
	}
	for _, r := range o.recipients {
		if strings.HasPrefix(r, "-") && len(o.recipients) > 1 && o.recipients[0] != r {
			return nil, cli.Usagef("%q after a recipient: options stand before them", r)
		}
	}
	return o, nil
}

func (o *sendmailOptions) setMode(v string) error {
	switch v {
	case "m", "s", "p", "v", "i":
		o.mode = v[0]
		return nil
	case "d", "D":
		return cli.Usagef("-b%s: to listen is smtpd's, see smtpd(8)", v)
	}
	return cli.Usagef("-b%s: want -bm, -bs, -bp, -bv or -bi", v)
}

// setFlush reads -q, and with a letter what of the queue to run.
func (o *sendmailOptions) setFlush(v string) error {
	o.mode = 'q'
	if v == "" || v == "f" {
		return nil
	}
	flag := map[byte]string{'I': "--id", 'R': "--recipient", 'S': "--sender"}[v[0]]
	if flag == "" || len(v) == 1 {
		return cli.Usagef("-q%s: want -q, -qIID, -qRTEXT or -qSTEXT; to send again and again is 'smtpsend run --follow'", v)
	}
	o.flush = append(o.flush, flag, v[1:])
	return nil
}

func (o *sendmailOptions) setBody(v string) error {
	if o.body = strings.ToUpper(v); o.body != "7BIT" && o.body != "8BITMIME" {
		return cli.Usagef("-B %q: want 7BIT or 8BITMIME", v)
	}
	return nil
}

// setNotify reads -N: never, or some of success, failure and delay (RFC 3461 section 4.1).
func (o *sendmailOptions) setNotify(v string) error {
	o.notify = strings.ToUpper(strings.ReplaceAll(v, " ", ""))
	words := strings.Split(o.notify, ",")
	for _, w := range words {
		if w != "SUCCESS" && w != "FAILURE" && w != "DELAY" && (w != "NEVER" || len(words) > 1) {
			return cli.Usagef("-N %q: want never, or success, failure, delay", v)
		}
	}
	return nil
}

func (o *sendmailOptions) setRet(v string) error {
	switch strings.ToLower(v) {
	case "full":
		o.ret = "FULL"
	case "hdrs":
		o.ret = "HDRS"
	default:
		return cli.Usagef("-R %q: want full or hdrs", v)
	}
	return nil
}

// maxEnvID is the longest ENVID (RFC 3461 section 4.4) in bytes of xtext.
const maxEnvID = 100

// setEnvID takes what is xtext already as it is, and makes xtext of the rest (RFC 3461 section 4).
func (o *sendmailOptions) setEnvID(v string) error {
	if _, ok := envelope.FromXtext(v); !ok {
		v = envelope.Xtext(v)
	}
	if o.envid = v; v == "" || len(v) > maxEnvID {
		return cli.Usagef("-V: an envelope identifier of %d bytes, want 1 to %d", len(v), maxEnvID)
	}
	return nil
}
