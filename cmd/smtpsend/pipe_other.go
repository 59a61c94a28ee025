//go:build !unix

package main

import (
	"context"
	"errors"
	"net"
)

// dialPipe needs socket pairs and /bin/sh.
func (s *sender) dialPipe(context.Context) (net.Conn, error) {
	return nil, errors.New("--pipe needs a Unix system")
}
