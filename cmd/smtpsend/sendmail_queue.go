package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/status"
)

// submitDeadline is for the program of MAIL_SUBMIT.
const submitDeadline = 10 * time.Minute

// submit puts a letter into the queue, or hands it to the program of MAIL_SUBMIT by the rules of mailpipe(7). When the error is
// nil the letter is on disk, or that program's. taken says where, for people.
func (s *settings) submit(m *message.Message, e *envelope.Envelope) (taken string, err error) {
	if s.program != nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		return s.program[0], handoff.Command{Args: s.program, Deadline: submitDeadline, Stdout: io.Discard}.Run(ctx, m, e)
	}
	keys, err := signingKeys(strings.Fields(os.Getenv("MAIL_SIGN")))
	if err != nil {
		return "", status.Errorf(status.Config, "MAIL_SIGN: %w", err)
	}
	q, err := queue.Open(s.queue, queue.Options{})
	if errors.Is(err, fs.ErrPermission) {
		err = status.Errorf(status.Config, "%w; see \"Who may send\" in sendmail(8)", err)
	}
	if err != nil {
		return "", err
	}
	defer q.Close()
	id, err := put(q, m, e, keys)
	return "queue " + string(id), err
}

// list prints the queue as other mail systems do, for people and for programs that count it: an entry with its size, time and
// sender, then for each recipient who waits the last reply in parentheses and the address. ! behind the name is for one held.
func (s *settings) list(out io.Writer) error {
	w := bufio.NewWriter(out)
	defer w.Flush()
	n, size, err := s.entries(w)
	if err != nil {
		return err
	}
	if n == 0 {
		_, err = fmt.Fprintln(w, "Mail queue is empty")
		return err
	}
	plural := "s"
	if n == 1 {
		plural = ""
	}
	_, err = fmt.Fprintf(w, "-- %d Kbytes in %d Request%s.\n", (size+1023)/1024, n, plural)
	return err
}

// entries prints what is in the queue. One that another process removes or sets aside meanwhile is passed over.
func (s *settings) entries(w io.Writer) (n int, size int64, err error) {
	if _, err := os.Stat(s.queue); errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil // nobody has sent yet
	}
	q, err := queue.Open(s.queue, queue.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer q.Close()
	ids, err := q.IDs()
	if err != nil {
		return 0, 0, err
	}
	for e, err := range q.ReadAll(ids) {
		if err != nil {
			continue
		}
		if n == 0 {
			fmt.Fprintln(w, "----Queue ID---- --Size-- ----Arrival Time---- -Sender/Recipient-------")
		}
		n++
		size += e.Size
		printEntry(w, e)
	}
	return n, size, nil
}

func printEntry(w io.Writer, e *queue.Entry) {
	sender, mark := e.Envelope.Sender.String(), " "
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	if e.Held {
		mark = "!"
	}
	fmt.Fprintf(w, "%s%s %8d  %s %s\n", e.ID, mark, e.Size, e.Arrived.Local().Format("Mon Jan _2 15:04:05"),
		status.Escape(sender, maxAddress))
	before := ""
	for _, r := range e.Recipients {
		if !r.State.Open() {
			continue
		}
		if r.Reply != "" && r.Reply != before {
			fmt.Fprintf(w, "%26s(%s)\n", "", status.Escape(strings.Trim(r.Reply, "()"), maxReply))
			before = r.Reply
		}
		fmt.Fprintf(w, "%47s%s\n", "", status.Escape(r.Address.String(), maxAddress))
	}
	fmt.Fprintln(w)
}
