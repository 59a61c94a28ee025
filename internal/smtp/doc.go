// Package smtp is the wire, both ways: the server engine, the client, and what they share (replies,
// transcripts, the dot form of a message).
//
// It hides how SMTP (RFC 5321) and LMTP (RFC 2033) look on a connection: command order, pipelining
// (RFC 2920), the change to TLS (RFC 3207), dot-stuffing, multi-line replies and enhanced status codes
// (RFC 2034). Callers see a message.Message, an envelope and one status per recipient.
//
// What it guarantees:
//
//   - The end of a message is CRLF "." CRLF and nothing else, in both directions. The client never sends a
//     CR or an LF that is not part of a CRLF, so no message it sends can end early in a server that is
//     less strict.
//   - Nothing a caller or a peer says can add a command or a parameter: paths are printed by the envelope
//     package, replies are escaped.
//   - Bytes that arrive in clear before a TLS handshake are never read as if they came after it.
//   - Every input from the peer has a limit, and every wait a deadline.
//   - A reply is matched to its command by order alone; a peer that loses count ends the session.
//   - A connection lost after the final dot is a temporary failure: the message may arrive twice, never
//     not at all.
package smtp
