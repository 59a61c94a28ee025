#!/bin/sh
# Look at the way first, then send: mx tells the hosts, a filter chooses among them, smtpsend goes there and nowhere else.
#
# usage: by-hand.sh MESSAGE RECIPIENT [MX-FLAG...]
#
# MX-FLAGs are those of mx(1), such as --resolver or --zone. FILTER is any command that changes or leaves out lines of the
# table; without it only the hosts that have an IPv4 address are kept.
set -eu
message=$1 recipient=$2
shift 2
filter=${FILTER:-"awk -F'\\t' '\$5 ~ /^[0-9.]+\$/'"}
mx "$@" --routes "$recipient" | sh -c "$filter" | smtpsend --routes - --message "$message" -f '' "$recipient"
