#!/bin/sh
# A server that fails on purpose, to see what a client makes of it: at STAGE (connect, mail, rcpt or data) it says LINE.
# usage: faulty-server.sh OFFICE STAGE LINE [FLAG...]
# as in: faulty-server.sh /srv/mail rcpt '450 4.2.1 come later' --listen :2525
set -eu
if [ -n "${SMTP_STAGE-}" ]; then # this is the program that is asked
	[ "$SMTP_STAGE" = "$FAULT_STAGE" ] || exit 0
	echo "$FAULT_LINE" >&2
	case $FAULT_LINE in
	5*) exit 100 ;;
	*) exit 75 ;;
	esac
fi
usage='usage: faulty-server.sh OFFICE STAGE LINE [FLAG...]'
office=${1:?$usage} FAULT_STAGE=${2:?$usage} FAULT_LINE=${3:?$usage}
export FAULT_STAGE FAULT_LINE
shift 3
exec smtpd --office "$office" --ask "$0" "$@"
