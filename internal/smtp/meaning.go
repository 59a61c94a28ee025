package smtp

import (
	"strconv"
	"strings"
)

// replyMeanings are the codes of RFC 5321 section 4.2, RFC 4954, RFC 3207, RFC 7504 and RFC 1985 in our words.
var replyMeanings = map[int]string{
	211: "system status, or an answer to HELP",
	214: "help for people",
	220: "ready: the greeting, or go ahead with TLS",
	221: "the server closes the connection",
	235: "logged in",
	250: "done",
	251: "the user is elsewhere; the server forwards the mail",
	252: "the server does not say whether the address exists, and will try to deliver",
	334: "the server's part of a login: answer in base64",
	354: "go ahead with the message, up to a line with a dot alone",
	421: "the server gives up for now and closes the connection",
	432: "the password must be changed first",
	450: "the mailbox cannot be used now: try later",
	451: "trouble on the server: try later",
	452: "not enough room, or too many recipients: try later or with fewer",
	454: "TLS or the login does not work for now",
	455: "the server cannot do these parameters now",
	500: "the command is not known, or its line too long",
	501: "the command's parameters are wrong",
	502: "the command is known and not done here",
	503: "the command comes at a wrong point of the session",
	504: "a parameter of the command is not done here",
	521: "this host takes no mail at all",
	523: "encryption is needed for this way of logging in",
	530: "log in, or begin TLS, first",
	534: "this way of logging in is too weak for this user",
	535: "the name or the password is wrong",
	538: "this way of logging in needs encryption",
	550: "refused: no such mailbox, or by policy",
	551: "the user is elsewhere; send it there yourself",
	552: "the mailbox is full, or the message too large",
	553: "the address is not allowed, or wrongly written",
	554: "refused; at the greeting: no service for you",
	555: "parameters of MAIL or RCPT are not known here",
	556: "the recipient's domain takes no mail",
}

var subjectMeanings = map[string]string{
	"0": "nothing more is known", "1": "about the address", "2": "about the mailbox", "3": "about the mail system",
	"4": "about the network or the routing", "5": "about the protocol", "6": "about the message's content",
	"7": "about security or policy",
}

// detailMeanings are of RFC 3463 and of the registry of RFC 5248, without the class.
var detailMeanings = map[string]string{
	"1.0": "something about the address", "1.1": "no such mailbox", "1.2": "no such host", "1.3": "the recipient's address is wrongly written",
	"1.4": "the address fits several mailboxes", "1.5": "the recipient's address is good", "1.6": "the mailbox has moved",
	"1.7": "the sender's address is wrongly written", "1.8": "the sender's host cannot be mailed",
	"1.9": "passed on to a server that may give no reports", "1.10": "the recipient's domain takes no mail (null MX)",
	"2.0": "something about the mailbox", "2.1": "the mailbox is closed", "2.2": "the mailbox is full",
	"2.3": "too large for this mailbox", "2.4": "the list cannot be expanded",
	"3.0": "something about the server", "3.1": "the server has no room", "3.2": "the server takes no mail now",
	"3.3": "the server cannot do what the message needs", "3.4": "too large for the server", "3.5": "the server is set up wrongly",
	"3.6": "the priority asked for was changed",
	"4.0": "something about the network", "4.1": "the next host does not answer", "4.2": "the connection broke",
	"4.3": "DNS or another directory did not answer", "4.4": "no route to the host", "4.5": "too much mail at once",
	"4.6": "the mail goes in a circle", "4.7": "its time was over before it could be delivered",
	"5.0": "something about the protocol", "5.1": "the command is not known or not allowed here", "5.2": "syntax error",
	"5.3": "too many recipients", "5.4": "wrong parameters", "5.5": "wrong version of the protocol", "5.6": "the login's line is too long",
	"6.0": "something about the content", "6.1": "this kind of content is not taken", "6.2": "it would have to be converted, which is forbidden",
	"6.3": "it would have to be converted, which the server cannot", "6.4": "it was converted with a loss", "6.5": "the conversion failed",
	"6.6": "the content is not there", "6.7": "addresses that are not ASCII are not taken", "6.8": "the reply would not be ASCII and may not be",
	"6.9": "the header would not be ASCII and cannot be converted",
	"7.0": "refused by policy or for security", "7.1": "the sender may not send to this recipient", "7.2": "the sender may not send to this list",
	"7.3": "it would have to be converted for security, which cannot be done", "7.4": "a security feature is not done here",
	"7.5": "encryption failed", "7.6": "the encryption is not done here", "7.7": "the message was changed on its way",
	"7.8": "name or password is wrong", "7.9": "this way of logging in is too weak", "7.10": "encryption is needed",
	"7.11": "encryption is needed for this way of logging in", "7.12": "the password must be changed first",
	"7.13": "the account is off", "7.14": "the servers do not trust each other", "7.15": "the priority is too low",
	"7.16": "too large for this priority", "7.17": "the mailbox has another owner now", "7.18": "the domain has another owner now",
	"7.20": "no DKIM signature passes", "7.21": "no DKIM signature is acceptable", "7.22": "no DKIM signature is of the author",
	"7.23": "SPF says that the host may not send this", "7.24": "SPF could not be evaluated",
	"7.25": "the name of the client's address does not lead back to it", "7.26": "several checks of the sender failed",
	"7.27": "the sender's domain takes no mail (null MX)", "7.28": "too much mail from there", "7.29": "ARC validation failed",
	"7.30": "the next host does not do REQUIRETLS",
}

// Meaning explains a reply code, and an enhanced status code where it is not empty, in a line for each.
func Meaning(code int, enhanced string) []string {
	class := map[int]string{2: "yes", 3: "yes, go on", 4: "not now: try again later", 5: "no, and it will stay so"}[code/100]
	if class == "" {
		return []string{strconv.Itoa(code) + ": not a reply code of SMTP"}
	}
	text := replyMeanings[code]
	if text == "" {
		text = "not in the standards"
	}
	lines := []string{strconv.Itoa(code) + ": " + text + " (" + class + ")"}
	if enhanced == "" {
		return lines
	}
	parts := strings.SplitN(enhanced, ".", 2)
	if !isEnhanced(enhanced, code) {
		return append(lines, enhanced+": not an enhanced code that fits")
	}
	subject, _, _ := strings.Cut(parts[1], ".")
	text = detailMeanings[parts[1]]
	if text == "" {
		if text = subjectMeanings[subject]; text == "" {
			text = "not in the standards"
		}
	}
	return append(lines, enhanced+": "+text)
}
