package report

import (
	"strings"

	"pennypost/internal/status"
)

// cause is a class of failures as a person understands it.
type cause struct {
	what string // what happened
	todo string // what the sender can do
}

const askPostmaster = "Show this report to those who run your mail system: it is for them to put right."

// causes are found by subject and detail of the enhanced code (RFC 3463 section 3, and the registry of RFC 5248), and then by the
// subject alone.
var causes = map[string]cause{
	"1": {"The server does not take mail for this address.",
		"Check how the address is written. If it is right, ask the recipient in another way."},
	"1.1": {"There is no such mailbox.",
		"Check how the address is written. If it is right, the mailbox is gone: ask the recipient for a new one in another way."},
	"1.2": {"There is no such mail domain.", "Check what stands behind the @ of the address."},
	"1.3": {"The address is not written as an address has to be.", "Correct the address and send the message again."},
	"1.6": {"The recipient has moved and left no new address.", "Ask the recipient in another way for the new address."},
	"1.7": {"The server does not accept your own address as that of a sender.",
		"Check your address in the settings of your mail program. " + askPostmaster},
	"1.10": {"The domain says that it takes no mail at all.", "Check what stands behind the @ of the address."},
	"2": {"There is trouble with the recipient's mailbox.",
		"Reach the recipient in another way, or send the message again later."},
	"2.1": {"The mailbox is switched off.", "Reach the recipient in another way."},
	"2.2": {"The recipient's mailbox is full.",
		"Send the message again when the recipient has had time to make room, or reach the recipient in another way."},
	"2.4": {"The mailing list could not be served.", "Tell those who keep the list."},
	"3":   {"The other mail system has trouble of its own.", "Send the message again later."},
	"3.4": {"The message is too big.",
		"Send it without its attachments or in several parts, or put the files where the recipient can fetch them."},
	"4": {"There was trouble on the way to the recipient's mail system.", "Send the message again later."},
	"4.1": {"No connection to the recipient's mail system could be made.",
		"Send the message again later. Perhaps that system is gone."},
	"4.2": {"The connection to the recipient's mail system broke off.", "Send the message again later."},
	"4.3": {"The address of the recipient's mail system could not be looked up in DNS.",
		"Check what stands behind the @ of the address. If it is right, send the message again later."},
	"4.4": {"There is no way to a mail system for this domain.", "Check what stands behind the @ of the address."},
	"4.7": {"The time within which the message was to be delivered is over.", "Send the message again with more time."},
	"4.6": {"The message goes round in a circle.", "Tell the postmaster of the recipient's domain in another way, if you can."},
	"5":   {"The two mail systems did not understand each other.", askPostmaster},
	"5.3": {"The message has too many recipients for the server.", "Send it to fewer recipients at a time."},
	"6": {"The server does not take the message in the form it has.",
		"Send it in a simpler form, as plain text without attachments."},
	"6.7": {"The address has letters that the recipient's mail system cannot handle.",
		"Ask the recipient for an address in plain letters."},
	"7": {"The server refused the message by its own rules.",
		"The server's words may say what it does not like: change that and send the message again, or reach the recipient in " +
			"another way."},
	"7.2": {"You may not send to this mailing list.", "Ask those who keep the list."},
	"7.4": {"A connection that is safe enough could not be had.", askPostmaster},
	"7.8": {"Our own login at the server failed.", askPostmaster},
	"7.20": {"The server could not make sure that the message comes from your domain.",
		"The domain's SPF, DKIM or DMARC records do not fit. " + askPostmaster},
	"7.30": {"You asked for an encrypted way, and there is none to this recipient.",
		"Send the message without this demand, if it may be read on the way."},
}

// same are codes that mean for a sender what another one does.
var same = map[string]string{
	"1.0": "1", "1.4": "1", "1.8": "1.7", "1.9": "1", "2.3": "3.4", "7.5": "7.4", "7.10": "7.4", "7.11": "7.4", "7.9": "7.8",
	"7.21": "7.20", "7.22": "7.20", "7.23": "7.20", "7.24": "7.20", "7.25": "7.20", "7.26": "7.20", "7.27": "1.7",
}

// hints are for servers that give no code: words of their text, in lower case, and the code that they mean.
var hints = []struct{ words, code string }{
	{"user unknown|unknown user|no such user|no such mailbox|no mailbox|does not exist|unknown recipient|recipient unknown", "1.1"},
	{"mailbox full|mailbox is full|over quota|quota exceeded|exceeded quota|mailbox has exceeded", "2.2"},
	{"too large|too big|exceeds size|size limit|maximum size", "3.4"},
	{"too many recipients", "5.3"},
	{"spf|dkim|dmarc", "7.20"},
	{"spam|blacklist|blocklist|blocked|listed|policy|denied|reputation|greylist|relay", "7"},
	{"loop|too many hops", "4.6"},
}

// byReply is what a code without an enhanced code means (RFC 5321 section 4.2.3).
var byReply = map[int]string{421: "3", 452: "3", 551: "1.6", 552: "2.2", 553: "1.3", 556: "1.10"}

// unknown is what nobody can say more about.
var unknown = cause{"The server did not take the message.",
	"Check how the address is written, or reach the recipient in another way."}

// causeOf finds the class of a failure: by its code, by the words where the code says nothing, by the SMTP code.
func causeOf(r Recipient) cause {
	if r.Err == nil {
		return unknown
	}
	_, code, _ := strings.Cut(r.Err.Enhanced, ".")
	if code == "" || code == "0.0" {
		code = guess(r)
	}
	if c, ok := same[code]; ok {
		code = c
	}
	if c, ok := causes[code]; ok {
		return c.temporary(r)
	}
	subject, _, _ := strings.Cut(code, ".")
	if c, ok := causes[subject]; ok {
		return c.temporary(r)
	}
	return unknown
}

// temporary rewords what a server may say only for a time: it has not judged the message yet.
func (c cause) temporary(r Recipient) cause {
	if r.Err.Class == status.Temporary && c == causes["7"] {
		c.what = "The server put the message off by its own rules."
	}
	return c
}

func guess(r Recipient) string {
	text := strings.ToLower(r.Reply + " " + r.Err.Text)
	for _, h := range hints {
		for word := range strings.SplitSeq(h.words, "|") {
			if strings.Contains(text, word) {
				return h.code
			}
		}
	}
	return byReply[r.Err.Code]
}
