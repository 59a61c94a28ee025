#!/bin/sh
# Lets Postfix call deliver. As root, and "postfix reload" after it.
# usage: postfix.sh users [-c CONFIGDIR]     local(8) calls it for the users of the system, each in his home
#        postfix.sh office [-c CONFIGDIR]    pipe(8) calls it for the domain example.org of the office /srv/mail, whose owner is vmail
set -eu
how=${1:?usage: postfix.sh users|office}
shift
case $how in
users)
	# Postfix's own Delivered-To line would be the one by which deliver knows a loop: deliver is to put it there.
	# shellcheck disable=SC2016 # local(8) sets these in the environment of the command
	postconf "$@" -e 'prepend_delivered_header = forward, file' \
		'mailbox_command = /usr/local/bin/deliver --exit mta --home "$HOME" -f "$SENDER" "$RECIPIENT"'
	;;
office)
	# One recipient at a time, so that each has a fate of his own; without null_sender bounces would come from MAILER-DAEMON.
	# shellcheck disable=SC2016 # pipe(8) fills these in, each as one argument and without a shell
	command='/usr/local/bin/deliver --exit mta --office /srv/mail -f ${sender} ${recipient}'
	postconf "$@" -M "deliver/unix=deliver unix - n n - - pipe user=vmail null_sender= argv=$command"
	postconf "$@" -e 'deliver_destination_recipient_limit = 1' 'virtual_mailbox_domains = example.org' 'virtual_transport = deliver'
	;;
*)
	echo 'usage: postfix.sh users|office' >&2
	exit 64
	;;
esac
