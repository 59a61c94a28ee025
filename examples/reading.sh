#!/bin/sh
# Reading mail: POP3 and IMAP over the same office, on loopback.
# usage: reading.sh OFFICE
set -eu
office=${1:?usage: reading.sh OFFICE}
env popd --office "$office" --listen 127.0.0.1:2110 &
pop=$!
trap 'kill "$pop"' EXIT
imapd --office "$office" --listen 127.0.0.1:2143
