#!/bin/sh
# Makes smtpsend the sendmail, mailq and newaliases of a directory of its own, and sends a letter through them.
# usage: sendmail.sh OFFICE BINDIR RECIPIENT... <message
set -eu
[ $# -ge 3 ] || { echo 'usage: sendmail.sh OFFICE BINDIR RECIPIENT... <message' >&2; exit 64; }
MAIL_OFFICE=$1 bin=$2
export MAIL_OFFICE
shift 2
smtpsend=$(command -v smtpsend)
mkdir -p "$bin"
for name in sendmail mailq newaliases; do ln -sf "$smtpsend" "$bin/$name"; done
PATH=$bin:$PATH
sendmail -bv -- "$@" # an address that goes nowhere ends it here
sendmail -v -i -- "$@"
