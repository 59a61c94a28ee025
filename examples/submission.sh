#!/bin/sh
# A submission server: users log in, their mail is signed and put into the queue of the office.
# What sends it on is   smtpsend --queue OFFICE/queue run --office OFFICE   from a timer or with --follow: see systemd/.
# usage: submission.sh OFFICE DOMAIN SELECTOR KEYFILE [ADDRESS]     (without ADDRESS the connection is stdin)
set -eu
[ $# -ge 4 ] || { echo 'usage: submission.sh OFFICE DOMAIN SELECTOR KEYFILE [ADDRESS]' >&2; exit 64; }
office=$1 domain=$2 selector=$3 key=$4
exec smtpd --office "$office" --submission ${5:+--listen "$5"} -- \
	mailauth sign --domain "$domain" --selector "$selector" --key "$key" -- \
	smtpsend --queue "$office/queue"
