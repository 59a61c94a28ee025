package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"os"
	"slices"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// A Vacation answers the sender of a message by a text, by the rules of RFC 3834: at most once in a while, never to lists,
// to programs or to us, and only where the message names the recipient.
type Vacation struct {
	Text  []byte             // the answer's body, or header fields, an empty line and the body
	Days  int                // how long a sender hears nothing more; 0 = 7
	Names []envelope.Address // further addresses of the recipient
}

const (
	vacationDir  = ".vacation" // in the home: a file for each sender who was answered
	maxAnswered  = 10_000      // senders that are remembered
	defaultQuiet = 7
)

// answer is a reply that waits for the delivery, and the file that remembers it.
type answer struct {
	m    *message.Message
	e    *envelope.Envelope
	file string
}

// prepareAnswer notes the answer to p's message, which is sent when all is delivered, or why there is none. What is thrown away
// is not answered.
func (j *job) prepareAnswer(p *Plan) (err error) {
	if j.opt.Vacation == nil {
		return nil
	}
	if j.opt.Forward == nil {
		return status.Errorf(status.Config, "no queue is named through which an answer could go")
	}
	why := "the message is thrown away"
	if len(p.Steps) > 0 {
		p.answer, why, err = j.vacation(p)
	}
	p.Answer = "the sender is answered"
	if p.answer == nil {
		p.Answer = "the sender is not answered: " + why
	}
	return err
}

// vacation prepares the reply to p's message, if there is to be one, and says why not otherwise.
func (j *job) vacation(p *Plan) (*answer, string, error) {
	v := j.opt.Vacation
	if why := j.unanswerable(p); why != "" {
		return nil, why, nil
	}
	sum := sha256.Sum256([]byte(normal(j.sender).String()))
	file := vacationDir + "/" + hex.EncodeToString(sum[:16])
	days := v.Days
	if days == 0 {
		days = defaultQuiet
	}
	info, err := p.box.Home().Stat(file)
	switch {
	case err == nil && time.Since(info.ModTime()) < time.Duration(days)*24*time.Hour:
		return nil, "the sender was answered " + info.ModTime().Format(time.RFC3339), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, "", status.Errorf(status.IO, "look for who was answered: %w", err)
	}
	e := &envelope.Envelope{Recipients: []envelope.Address{j.sender}, Body: "8BITMIME", SMTPUTF8: j.envelope.SMTPUTF8}
	return &answer{j.reply(p), e, file}, "", nil
}

// unanswerable says why a message gets no answer, "" if it may get one (RFC 3834 section 2).
func (j *job) unanswerable(p *Plan) string {
	h, local := j.header, strings.ToLower(j.sender.Local)
	precedence := strings.ToLower(h.Get("Precedence"))
	auto, _, _ := strings.Cut(strings.ToLower(h.Get("Auto-Submitted")), ";")
	switch {
	case j.sender.IsNull():
		return "it has the null sender"
	case normal(j.sender).Equal(normal(p.To)) || normal(j.sender).Equal(normal(p.box.Address)):
		return "it comes from the recipient"
	case strings.HasPrefix(local, "owner-"), strings.HasSuffix(local, "-owner"), strings.HasSuffix(local, "-request"),
		strings.Contains(local, "-bounce"), local == "mailer-daemon", local == "listserv", local == "majordomo",
		strings.HasPrefix(local, "noreply"), strings.HasPrefix(local, "no-reply"):
		return "its sender is no person"
	case strings.TrimSpace(auto) != "" && strings.TrimSpace(auto) != "no":
		return "it was made by a program (Auto-Submitted)"
	case precedence == "bulk" || precedence == "list" || precedence == "junk":
		return "it is bulk mail (Precedence)"
	case slices.ContainsFunc(h.Fields, func(f message.Field) bool { return strings.HasPrefix(strings.ToLower(f.Name), "list-") }):
		return "it comes from a list"
	case h.Get("X-Auto-Response-Suppress") != "":
		return "it asks for no answer (X-Auto-Response-Suppress)"
	case !j.named(p):
		return "it does not name the recipient in To, Cc or Resent-To"
	}
	return ""
}

// named tells whether a field for recipients has an address of p's.
func (j *job) named(p *Plan) bool {
	mine := append([]envelope.Address{p.Recipient, p.To, p.box.Address}, j.opt.Vacation.Names...)
	for _, name := range []string{"To", "Cc", "Resent-To", "Resent-Cc"} {
		for _, f := range j.header.All(name) {
			list, _ := envelope.ParseList(f.Value()) // what cannot be read names nobody
			for _, a := range list {
				if slices.ContainsFunc(mine, func(m envelope.Address) bool { return normal(a.Address).Equal(normal(m)) }) {
					return true
				}
			}
		}
	}
	return false
}

// reply is the answer as a message (RFC 3834 section 3). Fields of the text go before those that are made here.
func (j *job) reply(p *Plan) *message.Message {
	text := message.Bytes(j.opt.Vacation.Text)
	own, _ := text.Header()
	body := string(j.opt.Vacation.Text)
	var head strings.Builder
	if own.Size > 0 && len(own.Fields) > 0 && strings.Contains(body, "\n\n") {
		for _, f := range own.Fields {
			head.Write(f.Raw)
		}
		body = body[own.Size:]
		body = strings.TrimPrefix(body, "\n")
	} else {
		own = message.Header{}
	}
	add := func(name, value string) {
		if own.Get(name) == "" && value != "" {
			fmt.Fprintf(&head, "%s: %s\n", name, value)
		}
	}
	add("From", p.To.String())
	add("To", j.sender.String())
	add("Subject", mime.QEncoding.Encode("utf-8", "Auto: "+clean(j.header.Get("Subject"), 200)))
	add("Date", time.Now().Format(time.RFC1123Z))
	add("Message-ID", "<"+fmt.Sprintf("%x.%x", time.Now().UnixNano(), os.Getpid())+"@"+p.To.Domain+">")
	if id := clean(j.header.Get("Message-ID"), 300); strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") {
		add("In-Reply-To", id)
		add("References", id)
	}
	add("MIME-Version", "1.0")
	add("Content-Type", "text/plain; charset=utf-8")
	add("Content-Transfer-Encoding", "8bit")
	fmt.Fprint(&head, "Auto-Submitted: auto-replied (vacation)\n\n")
	return message.Bytes([]byte(head.String() + body))
}

// clean makes of a field's text one that may stand in another field: decoded, printable, bounded.
func clean(s string, most int) string {
	if plain, err := words.DecodeHeader(s); err == nil {
		s = plain
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > most {
		s = string(r[:most])
	}
	return s
}

// sendAnswers puts the answers into the queue when the message is delivered, and remembers who got one. An answer that cannot
// be sent is nobody's failure: the message is where it belongs, and would come twice.
func (j *job) sendAnswers() {
	for _, p := range j.plans {
		a, home := p.answer, p.box.Home()
		if a == nil || j.done["answer "+p.Home] { // one for a mailbox, however many recipients lead to it
			continue
		}
		j.done["answer "+p.Home] = true
		if err := home.Mkdir(vacationDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			continue
		}
		if full(home) {
			continue
		}
		// Remembered first: to answer twice is worse than not at all.
		if err := home.WriteFile(a.file, []byte(a.e.Recipients[0].String()+"\n"), 0o600); err != nil {
			continue
		}
		if err := home.Chtimes(a.file, time.Now(), time.Now()); err != nil {
			continue
		}
		if err := j.opt.Forward(j.ctx, a.m, a.e); err != nil {
			home.Remove(a.file)
		}
	}
}

// full tells whether too many senders are remembered; what is over a year old makes room.
func full(home *os.Root) bool {
	d, err := home.Open(vacationDir)
	if err != nil {
		return true
	}
	defer d.Close()
	all, err := d.ReadDir(-1)
	if err != nil || len(all) < maxAnswered {
		return err != nil
	}
	left := len(all)
	for _, de := range all {
		info, err := de.Info()
		if err == nil && time.Since(info.ModTime()) > 365*24*time.Hour && home.Remove(vacationDir+"/"+de.Name()) == nil {
			left--
		}
	}
	return left >= maxAnswered
}
