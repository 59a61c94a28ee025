#!/bin/sh
# A filter of mailpipe(7) in shell: refuses what has no Subject, and passes the rest on to the program it is given.
# usage: smtpd --office DIR -- filter.sh deliver --office DIR
set -eu
if sed '/^$/q' | grep -qi '^subject:'; then
	# The message is a file at offset 0 for the next program, so go back to its start.
	exec "$@" </dev/stdin
fi
echo '550 5.6.0 message has no Subject' >&2
exit 65
