package scram

import (
	"crypto/hmac"
	"crypto/sha256"
	"strconv"
	"strings"
)

// ClientFirst is client-first-message in its parts. Names are prepared.
type ClientFirst struct {
	Flag     string // of the GS2 header: "n", "y" or "p=TYPE"
	Identity string // as whom the user wants to act; "" = as himself
	User     string
	Nonce    string

	header, bare string
}

// ParseFirst reads client-first-message (RFC 5802 section 7).
func ParseFirst(message string) (f ClientFirst, err error) {
	field := strings.SplitN(message, ",", 3)
	if len(field) < 3 {
		return f, ErrMalformed
	}
	f.Flag, f.bare = field[0], field[2]
	f.header = message[:len(message)-len(f.bare)]
	if kind, bound := strings.CutPrefix(f.Flag, "p="); f.Flag != "n" && f.Flag != "y" && (!bound || !isBindingName(kind)) {
		return f, ErrMalformed
	}
	if field[1] != "" {
		id, ok := strings.CutPrefix(field[1], "a=")
		if f.Identity, err = unescapeName(id); err != nil || !ok {
			return f, ErrMalformed
		}
	}
	v, err := attributes(f.bare, "nr")
	if err != nil {
		return f, err
	}
	if f.User, err = unescapeName(v[0]); err != nil || !printable(v[1]) {
		return f, ErrMalformed
	}
	f.Nonce = v[1]
	return f, nil
}

// isBindingName is cb-name.
func isBindingName(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && (s[i] < '0' || s[i] > '9') && s[i] != '.' && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// unescapeName reads a saslname. An equals sign that is no escape is an error.
func unescapeName(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "=")
		b.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(rest, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(rest, "3D"):
			b.WriteByte('=')
		default:
			return "", ErrMalformed
		}
		s = rest[2:]
	}
	name, err := Prepare(b.String())
	if err != nil || name == "" {
		return "", ErrMalformed
	}
	return name, nil
}

// A Server checks that a client knows the password of which it has the keys. It is used once: Challenge, Verify.
type Server struct {
	First   ClientFirst
	Keys    Keys
	Binding []byte // the data of the channel, where First has "p=TYPE"
	Nonce   string // "" = random

	challenge string
}

// Challenge is server-first-message.
func (s *Server) Challenge() string {
	if s.Nonce == "" {
		s.Nonce = newNonce()
	}
	s.challenge = "r=" + s.First.Nonce + s.Nonce + ",s=" + encode(s.Keys.Salt) + ",i=" + strconv.Itoa(s.Keys.Iterations)
	return s.challenge
}

// Verify takes client-final-message and returns server-final-message, by which the client knows us.
func (s *Server) Verify(message string) (string, error) {
	v, err := attributes(message, "cr")
	at := strings.LastIndex(message, ",p=")
	if err != nil || at < 0 {
		return "", ErrMalformed
	}
	header, err := decode(v[0])
	proof, perr := decode(message[at+len(",p="):])
	if err != nil || perr != nil || len(proof) != sha256.Size {
		return "", ErrMalformed
	}
	if !hmac.Equal(header, append([]byte(s.First.header), s.Binding...)) || v[1] != s.First.Nonce+s.Nonce {
		return "", ErrProof
	}
	text := s.First.bare + "," + s.challenge + "," + message[:at]
	key := xor(proof, mac(s.Keys.StoredKey, text))
	if !hmac.Equal(storedKey(key), s.Keys.StoredKey) {
		return "", ErrProof
	}
	return "v=" + encode(mac(s.Keys.ServerKey, text)), nil
}
