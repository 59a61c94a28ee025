package smtp

// Service is what a server is there for; each listener has one.
type Service uint8

const (
	Transfer   Service = iota // mail for here, from anybody (RFC 5321)
	Submission                // mail for anywhere, from users (RFC 6409)
	LMTP                      // mail for here, each recipient answered for itself (RFC 2033)
)
