#!/bin/sh
# Signs the message on stdin and sends it to the MX hosts of its recipients.
# usage: sign-and-send.sh DOMAIN SELECTOR KEYFILE SENDER RECIPIENT... <message
set -eu
[ $# -ge 5 ] || { echo 'usage: sign-and-send.sh DOMAIN SELECTOR KEYFILE SENDER RECIPIENT... <message' >&2; exit 64; }
domain=$1 selector=$2 key=$3 sender=$4
shift 4
exec mailauth sign --domain "$domain" --selector "$selector" --key "$key" -- smtpsend -f "$sender" "$@"
