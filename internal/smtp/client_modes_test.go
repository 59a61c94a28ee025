package smtp

import "testing"

func TestSendPipelined(t *testing.T) {
	runSend(t, []sendCase{
		{"pipelined", Options{}, []string{"b@b.example"}, "S: \xe4\n", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=6 BODY=8BITMIME
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 250
			-> 354
			<~ ^S: .$
			<- .
			-> 250 taken
			<- QUIT`, "K 250 taken\n"},
		{"offered and not wished", Options{NoPipeline: true}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			-> 250
			<- RCPT TO:<b@b.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"HELO by wish", Options{NoEhlo: true}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- HELO me.example
			-> 250 ok
			<- MAIL FROM:<a@a.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"pipelined, answered as it comes", Options{}, []string{"b@b.example", "c@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 550 no
			<- DATA
			-> 354
			<- x
			<- .
			-> 250
			<- QUIT`, "K 250\nD 550 5.0.0 no\n"},
		{"pipelined, all refused, DATA accepted: a lone dot", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 550 5.1.1 no
			-> 354
			<- .
			-> 554 no valid recipients
			<- QUIT`, "D 550 5.1.1 no\n"},
		{"pipelined, all refused, DATA too", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 450 4.1.1 later
			-> 503 no valid recipients
			<- QUIT`, "Z 450 4.1.1 later\n"},
		{"pipelined, MAIL refused: its reply counts, not what follows from it", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 452 4.3.1 full
			-> 503 need MAIL
			-> 503 need RCPT
			<- QUIT`, "Z 452 4.3.1 full\n"},
		{"pipelined, MAIL refused, all else accepted: an incoherent server gets nothing", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 550 5.7.1 no
			-> 250
			-> 354
			<- EOF`, "D 550 5.7.1 no\n"},
		{"a reply too many: nothing is sent", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			=> 250\r\n250\r\n354 go\r\n250 what?\r\n
			<- EOF`, "Z 451 4.5.0 the server sent a reply too many: 250 what?\n"},
		{"refused before it is sent: nothing is sent", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			=> 250\r\n250\r\n354 go\r\n552 5.3.4 too large\r\n
			<- EOF`, "D 552 5.3.4 too large\n"},
		{"keywords in any case", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250-pipelining
			-> 250 size
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 250
			-> 354
			<- x
			<- .
			-> 250
			<- QUIT`, "K 250\n"},
	})
}

func TestSendLMTP(t *testing.T) {
	runSend(t, []sendCase{
		{"LMTP: a reply for each, doubles too", Options{LMTP: true}, []string{"b@b.example", "x@b.example", "c@b.example", "b@b.example"}, "x", `
			-> 220 mx.example
			<- LHLO me.example
			-> 250-mx.example
			-> 250 PIPELINING
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			<- RCPT TO:<x@b.example>
			<- RCPT TO:<c@b.example>
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 250
			-> 550 no
			-> 250
			-> 250
			-> 354
			<- x
			<- .
			-> 250 one
			-> 452 4.2.2 full
			-> 250 two
			<- QUIT`, "K 250 one\nD 550 5.0.0 no\nZ 452 4.2.2 full\nK 250 two\n"},
		{"LMTP: the connection ends between the replies", Options{LMTP: true}, []string{"b@b.example", "c@b.example"}, "x", `
			-> 220 mx.example
			<- LHLO me.example
			-> 250 mx.example
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 250
			<- DATA
			-> 354
			<- x
			<- .
			-> 250 one`, "K 250 one\nZ 451 4.4.2 connection lost after the end of the message, which may have been taken: the server closed the connection: read reply: EOF\n"},
		{"LMTP: LHLO refused is no reason for HELO", Options{LMTP: true}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- LHLO me.example
			-> 500 what?
			<- EOF`, "connect: 500 5.0.0 what?\n"},
	})
}

// What the client does about TLS before there is any.
func TestSendWithoutTLS(t *testing.T) {
	runSend(t, []sendCase{
		{"TLS demanded and not offered", Options{TLS: TLSRequired}, []string{"b@b.example"}, "x", hello + `
			<- EOF`, "connect: 451 4.7.4 TLS is required and not offered\n"},
		{"TLS demanded, EHLO unknown", Options{TLS: TLSRequired}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 500 what?
			<- HELO me.example
			-> 250 ok
			<- EOF`, "connect: 451 4.7.4 TLS is required and not offered\n"},
		{"TLS demanded and refused", Options{TLS: TLSRequired}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 starttls
			<- STARTTLS
			-> 454 4.7.0 not now
			<- EOF`, "connect: 451 4.7.4 TLS is required and was refused: 454 4.7.0 not now\n"},
		{"TLS offered and refused: in clear", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 STARTTLS
			<- STARTTLS
			-> 454 4.7.0 not now
			<- MAIL FROM:<a@a.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"bytes in clear behind the reply to STARTTLS", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 STARTTLS
			<- STARTTLS
			=> 220 go\r\n250-AUTH PLAIN\r\n
			<- EOF`, "connect: 451 4.7.5 STARTTLS: the server, or somebody between, sent more in clear behind its reply\n"},
	})
}
