package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
)

// AppendField appends the canonical form of a raw header field, CRLF at its end, to dst: a part of a header block, for those who
// hash one in pieces.
func AppendField(dst, raw []byte, c Canon) []byte { return canonField(dst, raw, c) }

// VerifySum checks a signature of a block of bytes by the block's SHA-256 (RFC 8463 section 3 for Ed25519).
func (k *Key) VerifySum(sum [sha256.Size]byte, sig []byte) bool {
	switch public := k.Public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(public, sum[:], sig)
	}
	return false
}

// Complete fills in what was left empty.
func (o *SignOptions) Complete() { o.complete() }

// Names is the content of h= for a header: each name as often as it occurs, once more when it is oversigned, and From at least
// once (RFC 6376 section 5.4).
func (o *SignOptions) Names(header Index) []string { return o.names(header) }
