#!/bin/sh
# The message on stdin goes into an office through a whole SMTP session, without a port.
# usage: no-network.sh OFFICE RECIPIENT... <message
set -eu
office=${1:?usage: no-network.sh OFFICE RECIPIENT... <message}
shift
MAIL_OFFICE=$office
export MAIL_OFFICE
exec smtpsend -v -f "${SENDER-}" --pipe 'smtpd -- deliver' "$@"
