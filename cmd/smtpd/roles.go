package main

import (
	"net"

	"pennypost/internal/smtp"
)

// role is what is spoken on a listener, and whether in TLS from the first byte. The flags count for all; without them a socket
// from systemd says it by its name (FileDescriptorName=).
func (o *options) role(listener string) (service smtp.Service, wrapped bool) {
	switch {
	case o.lmtp:
		return smtp.LMTP, o.tls
	case o.submit:
		return smtp.Submission, o.tls
	case o.tls:
		return smtp.Transfer, true
	}
	switch listener {
	case "submission":
		return smtp.Submission, false
	case "submissions":
		return smtp.Submission, true
	case "lmtp":
		return smtp.LMTP, false
	}
	return smtp.Transfer, false
}

// smtpPort says whether one of the addresses to listen on is the port of SMTP.
func smtpPort(addresses []string) bool {
	for _, a := range addresses {
		if _, port, err := net.SplitHostPort(a); err == nil && (port == "25" || port == "smtp") {
			return true
		}
	}
	return false
}
