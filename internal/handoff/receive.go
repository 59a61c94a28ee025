package handoff

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
)

// Input is what a program was called with.
type Input struct {
	Stdin      *os.File // nil = os.Stdin
	Environ    []string // nil = os.Environ()
	Sender     *string  // -f, nil = not given; "" and "<>" are the null sender
	Recipients []string // from the command line; none = from the environment
	Max        int64    // limit of the message in bytes, 0 = none
}

// Receive takes the message and the envelope that a program was called with. The command line goes before the environment,
// and what it overrides there is not even read. Input that cannot seek is spooled. The envelope may have no recipients;
// whether that is an error is for the program to say. The caller closes the message. Errors are *status.Error.
func Receive(in Input) (*message.Message, *envelope.Envelope, error) {
	if in.Stdin == nil {
		in.Stdin = os.Stdin
	}
	if in.Environ == nil {
		in.Environ = os.Environ()
	}
	environ := slices.DeleteFunc(slices.Clone(in.Environ), func(kv string) bool {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "SENDER":
			return in.Sender != nil
		case "RECIPIENT", "RECIPIENTS":
			return len(in.Recipients) > 0
		}
		return false
	})
	e, err := envelope.FromEnviron(environ)
	if err != nil {
		return nil, nil, wrapf(err, "read the envelope from the environment")
	}
	if err := e.FromArgs(in.Sender, in.Recipients); err != nil {
		return nil, nil, err
	}
	m, err := message.FromFile(in.Stdin, in.Max)
	if err != nil {
		return nil, nil, err
	}
	return m, e, nil
}

func wrapf(err error, format string, a ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, a...), err)
}
