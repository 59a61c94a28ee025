#!/bin/sh
# Why does the signature of a message not hold that came by a mailing list? The message and a recording of the DNS answers stand
# here, so the explanation is the same everywhere and at any time.
# usage: explain.sh [FLAGS of mailauth explain]     (with mailauth in PATH; what it makes is gone afterwards)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

cat >"$work/message" <<'END'
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org;
 s=ed; t=1795500000; h=From:From:To:Subject:Subject;
 bh=XIw/xn834OC4xISYLLX3b88w6FoqI+YfqYP9UzTeRJg=;
 b=WicYWO32001GYia+i0IGozJ90tarV3o6fCfQo/Up33cOqpi4pxP5QI0OkN2/E9zNxjhitNhzv
 WMoMoC94ax7Cw==
From: Alice <alice@example.org>
To: friends@lists.example.net
Subject: [friends] the meeting

It is on Monday.
-- 
friends@lists.example.net
To leave: friends-leave@lists.example.net
END
cat >"$work/dns" <<'END'
;! recording 1
;! clock 2026-11-24T12:00:00Z
;! answer ed._domainkey.example.org. TXT NOERROR from "zone" trusted
ed._domainkey.example.org.	300	IN	TXT	"v=DKIM1; k=ed25519; p=6UGG1FUBLKFGd3ovHQuodmW1bDXx+Xh7CwiOShcBtA8="
;! answer _dmarc.example.org. TXT NOERROR from "zone" trusted
_dmarc.example.org.	300	IN	TXT	"v=DMARC1; p=reject; sp=none"
;! answer _dmarc.org. TXT NXDOMAIN from "zone" trusted
;! answer lists.example.net. TXT NXDOMAIN from "zone" trusted
END
mailauth explain "$@" --replay "$work/dns" --ip 203.0.113.25 --helo lists.example.net -f bounces@lists.example.net <"$work/message"
