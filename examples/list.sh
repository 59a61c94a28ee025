#!/bin/sh
# A mailing list and DMARC, without a network. The owner of author.example wants forgeries rejected. The list adds a footer to
# each message, so that the signature of the author does not hold any more, and seals what it found before (ARC). A host that
# trusts the list takes the message, another refuses it.
# usage: list.sh     (with the programs in PATH; what it makes is gone afterwards)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"
mkdir -p office/example.org/bob

{
	echo '_dmarc.author.example. TXT "v=DMARC1; p=reject"'
	mailauth keygen -d author.example -s mail -o author.key
	mailauth keygen -d list.example -s mail -o list.key
} >zone
printf 'From: Alice <alice@author.example>\nTo: talk@list.example\nSubject: hello\n\nHello list.\n' >letter

# The author's host signs.
mailauth sign -d author.example -s mail -k author.key <letter >signed

# The list's host checks what comes in; the list changes it; what goes out is sealed.
mailauth verify --zone zone --authserv-id list.example <signed >checked
{ cat checked; printf -- '-- \ntalk: a list without end\n'; } >changed
mailauth seal --recorded --zone zone --authserv-id list.example -d list.example -s mail -k list.key <changed >sealed

# host [FLAG...]: the host of a reader takes the message from the list
host() {
	smtpsend -f talk-bounces@list.example --pipe "env PROTO=TCP TCPREMOTEIP=192.0.2.7 smtpd --office office --name mx.example.org \
		--zone zone --enforce dmarc $* -- deliver --office office" bob@example.org <sealed || true
}
echo 'a host that does not know the list:'
host
echo 'a host that trusts it:'
host --trust-arc list.example
echo 'in the mailbox:'
sed -n '/^Authentication-Results: mx/,/header.from/p' office/example.org/bob/Maildir/new/*
