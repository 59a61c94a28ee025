//go:build !race

package dkim

const slower = 1
