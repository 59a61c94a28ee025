package smtp

// state is where a session stands. The order is that of a session, and states from sending on are inside a transaction.
//
// Under LMTP it is LHLO that stands for HELO and EHLO (RFC 2033 section 4.1).
//
//	connected  --HELO, EHLO-->  greeted  --MAIL-->  sending  --RCPT-->  addressed  --DATA-->  greeted
//	                                                                    addressed  --BDAT-->  chunking  --BDAT LAST-->  greeted
//	any  --STARTTLS-->  connected        any but connected  --RSET, HELO, EHLO-->  greeted
type state uint8

const (
	connected state = 1 << iota // the banner is sent
	greeted                     // HELO or EHLO was accepted
	sending                     // MAIL was accepted
	addressed                   // a RCPT was accepted
	chunking                    // a BDAT was accepted that was not the last

	anyState = connected | greeted | sending | addressed | chunking
)

// verb is a row of the protocol.
type verb struct {
	in    state // where it may be said
	alone bool  // nothing may be sent after it before its reply (RFC 2920 section 3.1)
	mail  bool  // it leads to mail; the others are counted as junk
	limit int   // longest line, 0 = maxCommand
	run   func(s *session, arg string) Reply
	when  func(s *session) bool // sessions that know it, nil = all
}

// verbs is the protocol: RFC 5321 section 4.1, RFC 2033, RFC 3207, RFC 4954, RFC 3030. It is filled by init since HELP reads it.
var verbs map[string]*verb

func init() {
	verbs = map[string]*verb{
		"HELO":     {in: anyState &^ chunking, when: speaksSMTP, alone: true, run: (*session).helo},
		"EHLO":     {in: anyState &^ chunking, when: speaksSMTP, alone: true, run: (*session).ehlo},
		"LHLO":     {in: anyState &^ chunking, when: speaksLMTP, alone: true, run: (*session).lhlo},
		"MAIL":     {in: greeted, mail: true, limit: maxParameters, run: (*session).mail},
		"RCPT":     {in: sending | addressed, mail: true, limit: maxParameters, run: (*session).rcpt},
		"DATA":     {in: addressed, alone: true, mail: true, run: (*session).data},
		"BDAT":     {in: anyState, mail: true, run: (*session).bdat},
		"RSET":     {in: anyState, run: (*session).rset},
		"NOOP":     {in: anyState, run: (*session).noop},
		"QUIT":     {in: anyState, run: (*session).quit},
		"VRFY":     {in: anyState, run: (*session).vrfy},
		"HELP":     {in: anyState, run: (*session).help},
		"STARTTLS": {in: connected | greeted, alone: true, run: (*session).startTLS},
		"AUTH":     {in: greeted, alone: true, limit: maxAuthLine, run: (*session).auth},
		"EXPN":     {in: anyState, run: (*session).expn},
		"ETRN":     {in: greeted, run: (*session).etrn},
		"XCLIENT":  {in: connected | greeted, alone: true, when: mayXClient, run: (*session).xclient},
	}
}
