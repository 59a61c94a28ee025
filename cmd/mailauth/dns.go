package main

import (
	"errors"

	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

// setUp makes the resolver of the flags.
func setUp(dns func() (*resolver.Resolver, error)) (*resolver.Resolver, error) {
	r, err := dns()
	var known *status.Error
	if err == nil || errors.As(err, &known) {
		return r, err
	}
	return nil, status.Errorf(status.Config, "setting up DNS: %w", err)
}
