"""Checks or seals the message on standard input with dkimpy.

dkimpy.py verify ZONE                             prints pass, fail, none or closed, and why
dkimpy.py seal DOMAIN SELECTOR KEYFILE AUTHSERV   prints the message with one more set
ZONE has one key a line: its name, a space, its record.
"""

import sys

import dkim


def verify(message, zone):
    keys = dict(line.rstrip("\n").split(" ", 1) for line in open(zone))

    def lookup(name, timeout=5):
        record = keys.get(name.decode().rstrip("."))
        return record.encode() if record else None

    cv, sets, reason = dkim.arc_verify(message, dnsfunc=lookup)
    valid = "".join("1" if s["ams-valid"] else "0" for s in sets)
    print({dkim.CV_Pass: "pass", dkim.CV_Fail: "fail", dkim.CV_None: "none"}.get(cv, "closed"), valid, reason)


def seal(message, domain, selector, key, authserv):
    with open(key, "rb") as f:
        fields = dkim.arc_sign(message, selector.encode(), domain.encode(), f.read(), authserv.encode(), linesep=b"\r\n")
    sys.stdout.buffer.write(b"".join(f.rstrip(b"\r\n") + b"\r\n" for f in fields) + message)


message = sys.stdin.buffer.read()
{"verify": verify, "seal": seal}[sys.argv[1]](message, *sys.argv[2:])
