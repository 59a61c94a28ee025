#!/bin/sh
# Takes a letter the whole way, without a network: signed by mailauth, its way found by mx, sent by smtpsend, taken by smtpd,
# checked by mailauth, put into Maildirs by deliver, read by popd and imapd, turned into an mbox and back by mboxconv.
# Builds into bin/. Needs Go and a POSIX shell.
set -eu
cd "$(dirname "$0")/.."
say() { printf '%s\n' "-- $*"; }
fail() { printf 'roundtrip: %s\n' "$*" >&2; exit 1; }

say 'build into bin/'
CGO_ENABLED=0 go build -o bin/ ./cmd/...
PATH=$PWD/bin:$PATH
export PATH
popd=$PWD/bin/popd # some shells have a popd of their own

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
office=$work/office
MAIL_OFFICE=$office
export MAIL_OFFICE

say 'a post office with two mailboxes'
mkdir -p "$office/example.org/alice" "$office/example.org/bob"
echo 'a secret' | "$popd" passwd alice@example.org

say 'a letter with 8-bit text, lone dots and From lines'
{
	printf 'From: Carol <carol@example.com>\nTo: alice@example.org, bob@example.org\n'
	printf 'Subject: the whole way\nDate: Tue, 24 Nov 2026 12:00:00 +0000\nMessage-ID: <1@example.com>\n'
	printf 'X-Eight-Bit: gr\374n\n\n'
	printf 'From the start\n>From a quote\n.\n..\n.dot\n\nFrom a@b Tue Nov 24 12:00:00 2026\ngr\303\274n\n\n'
	i=0
	while [ $i -lt 3000 ]; do
		printf 'bGluZSBhZnRlciBsaW5lIG9mIGFuIGF0dGFjaG1lbnQgdGhhdCBpcyBub3Qgc21hbGwK\n'
		i=$((i + 1))
	done
} >"$work/letter"

say 'keys and a zone that publishes them'
{
	# shellcheck disable=SC2016 # these are words of zone files
	printf '$TTL 300\nexample.org. IN MX 10 mx.example.org.\nexample.org. IN MX 5 mx2.example.org.\n'
	printf 'mx.example.org. IN A 192.0.2.1\nmx2.example.org. IN A 192.0.2.2\n'
	mailauth keygen --type ed25519 --domain example.com --selector s1 --out "$work/key.pem"
} >"$work/zone"

say 'mx: where does it go?'
mx --zone "$work/zone" -a example.org | tee "$work/mx"
[ "$(head -n 1 "$work/mx")" = '5 mx2.example.org. 192.0.2.2' ] || fail 'mx answered something else'

say 'mailauth sign -- smtpsend --pipe smtpd -- mailauth verify -- deliver'
mailauth sign --domain example.com --selector s1 --key "$work/key.pem" <"$work/letter" >"$work/signed"
smtpsend -f carol@example.com --helo client.example.com --pipe "smtpd --name mx.example.org -- \
	mailauth verify --authserv-id mx.example.org --zone $work/zone -- deliver" \
	alice@example.org bob@example.org <"$work/signed" | tee "$work/sent"
[ "$(grep -c '^K	' "$work/sent")" = 2 ] || fail 'not both recipients were taken'

say 'it lies in both mailboxes, with the trace on top and nothing else changed'
for user in alice bob; do
	set -- "$office/example.org/$user/Maildir/new/"*
	[ $# = 1 ] || fail "$user has $# letters"
	sed '/^DKIM-Signature:/,$d' "$1" >"$work/trace"
	for field in "Return-Path: <carol@example.com>" "Delivered-To: $user@example.org" 'Authentication-Results: mx.example.org' 'Received: from client.example.com'; do
		grep -q "^$field" "$work/trace" || fail "no $field"
	done
	grep -q 'dkim=pass' "$work/trace" || fail 'the signature was not found good'
	sed -n '/^DKIM-Signature:/,$p' "$1" | cmp - "$work/signed"
done

say 'popd gives it to alice'
printf 'USER alice@example.org\r\nPASS a secret\r\nSTAT\r\nRETR 1\r\nQUIT\r\n' | "$popd" >"$work/pop"
grep -q '^Subject: the whole way' "$work/pop" || fail 'popd did not give the letter'
tr -d '\r' <"$work/pop" | sed -n '/^DKIM-Signature:/,/^\.$/p' | sed '$d; s/^\.//' | cmp - "$work/signed"

say 'imapd too'
printf 'a LOGIN alice@example.org "a secret"\r\nb SELECT INBOX\r\nc FETCH 1 (UID FLAGS BODY[])\r\nd LOGOUT\r\n' | imapd >"$work/imap"
grep -q '^c OK' "$work/imap" || fail 'imapd did not give the letter'
tr -d '\r' <"$work/imap" | sed -n '/^DKIM-Signature:/,/^bGlu/p' | head -n 5 | cmp -n 200 - "$work/signed"

say 'mboxconv: into an mbox and back, byte for byte'
box=$office/example.org/alice/Maildir
mboxconv "maildir:$box" "mbox:$work/alice.mbox"
grep -q '^From carol@example.com ' "$work/alice.mbox" || fail 'no From_ line'
mboxconv "mbox:$work/alice.mbox" "maildir:$work/back"
set -- "$box"/cur/* "$work/back"/cur/*
[ $# = 2 ] || fail "there and back: $# letters"
cmp "$1" "$2"

say 'an unknown user and a foreign domain are refused at once'
if smtpsend -f carol@example.com --pipe smtpd nobody@example.org eve@example.net <"$work/letter" >"$work/refused"; then
	fail 'they were taken'
fi
cat "$work/refused"
grep -q '^D	nobody@example.org	.*5\.1\.1' "$work/refused" || fail 'the unknown user with another answer'
grep -q '^Z	eve@example.net	.*4\.7\.1' "$work/refused" || fail 'the foreign domain with another answer'

say 'all well'
