#!/bin/sh
# What becomes of forged mail, without a network: two messages from example.com, whose owner wants forgeries rejected, go
# through smtpd -- mailauth verify --enforce -- deliver. One comes from a host of example.com, the other from somewhere else.
# usage: forged.sh     (with the programs in PATH; what it makes is gone afterwards)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/office/example.org/alice"

cat >"$work/zone" <<'END'
example.com.         TXT  "v=spf1 ip4:192.0.2.1 -all"
_dmarc.example.com.  TXT  "v=DMARC1; p=reject"
END
printf 'From: Carol <carol@example.com>\nTo: alice@example.org\nSubject: hello\n\nIs it me?\n' >"$work/letter"

# send CLIENT: as if the host with this address had connected, as tcpserver says it
send() {
	echo "from $1:"
	smtpsend -f carol@example.com --pipe "env PROTO=TCP TCPREMOTEIP=$1 smtpd --office $work/office --name mx.example.org -- \
		mailauth verify --zone $work/zone --authserv-id mx.example.org --enforce -- \
		deliver --office $work/office" alice@example.org <"$work/letter" || true
}
send 192.0.2.1
send 203.0.113.66
echo 'in the mailbox:'
sed -n '/^Authentication-Results/,/header.from/p' "$work"/office/example.org/alice/Maildir/new/*
