#!/bin/sh
# An MX host: smtpd takes the session, mailauth checks who sent the message and refuses what is forged, deliver puts it into
# mailboxes.
# usage: mx-host.sh OFFICE [ADDRESS]     (a privileged port wants root or CAP_NET_BIND_SERVICE)
set -eu
office=${1:?usage: mx-host.sh OFFICE [ADDRESS]}
listen=${2:-127.0.0.1:2525}
exec smtpd --office "$office" --listen "$listen" -- mailauth verify --enforce -- deliver --office "$office"
