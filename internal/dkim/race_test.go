//go:build race

package dkim

// slower is how much longer the race detector may make things take.
const slower = 20
