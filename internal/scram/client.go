package scram

import (
	"crypto/hmac"
	"strconv"
	"strings"
)

// A Client proves to know a password without telling it. It is used once: First, Final, Verify.
type Client struct {
	User, Password string
	// Flag begins the GS2 header: "n" for no channel binding, "y" where only the server has none, "p=TYPE" with one.
	Flag    string
	Binding []byte // the data of the channel, with "p=TYPE"
	Nonce   string // "" = random
	// MostWork bounds the iterations that a server may ask for, and LeastWork is RFC 7677 section 4's 4096.
	MostWork int

	bare, signature string
}

// LeastWork is how many iterations a client wants at least (RFC 7677 section 4).
const LeastWork = 4096

var escapeName = strings.NewReplacer("=", "=3D", ",", "=2C")

// First is client-first-message.
func (c *Client) First() (string, error) {
	user, err := Prepare(c.User)
	if err != nil {
		return "", err
	}
	if c.Nonce == "" {
		c.Nonce = newNonce()
	}
	c.bare = "n=" + escapeName.Replace(user) + ",r=" + c.Nonce
	return c.Flag + ",," + c.bare, nil
}

// Final answers server-first-message with client-final-message.
func (c *Client) Final(challenge string) (string, error) {
	v, err := attributes(challenge, "rsi")
	if err != nil {
		return "", err
	}
	nonce := v[0]
	salt, err := decode(v[1])
	iterations, nerr := strconv.Atoi(v[2])
	switch {
	case err != nil || nerr != nil || !printable(nonce):
		return "", ErrMalformed
	case len(nonce) <= len(c.Nonce) || !strings.HasPrefix(nonce, c.Nonce):
		return "", ErrProof
	case iterations < LeastWork || iterations > c.MostWork:
		return "", ErrMalformed
	}
	salted, err := saltedPassword(c.Password, salt, iterations)
	if err != nil {
		return "", err
	}
	final := "c=" + encode(append([]byte(c.Flag+",,"), c.Binding...)) + ",r=" + nonce
	text := c.bare + "," + challenge + "," + final
	key := clientKey(salted)
	proof := xor(key, mac(storedKey(key), text))
	c.signature = string(mac(mac(salted, "Server Key"), text))
	return final + ",p=" + encode(proof), nil
}

// Verify takes server-final-message. Only when it returns nil has the server shown that it knows the user's keys.
func (c *Client) Verify(message string) error {
	v, err := attributes(message, "v")
	if err != nil {
		return err // e=… too: whatever the reason, it is a refusal
	}
	got, err := decode(v[0])
	if err != nil || c.signature == "" || !hmac.Equal(got, []byte(c.signature)) {
		return ErrProof
	}
	return nil
}
