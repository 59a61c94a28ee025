"""Checks or seals messages with dkimpy. They come on standard input with a NUL between them.

dkimpy.py verify ZONE                             prints a line for each: pass, fail, none or closed, and why
dkimpy.py seal DOMAIN SELECTOR KEYFILE AUTHSERV   prints each with one more set, a NUL between them
ZONE has one key a line: its name, a space, its record.
"""

import sys

import dkim


def verify(messages, zone):
    keys = dict(line.rstrip("\n").split(" ", 1) for line in open(zone))

    def lookup(name, timeout=5):
        record = keys.get(name.decode().rstrip("."))
        return record.encode() if record else None

    for message in messages:
        cv, sets, reason = dkim.arc_verify(message, dnsfunc=lookup)
        valid = "".join("1" if s["ams-valid"] else "0" for s in sets)
        print({dkim.CV_Pass: "pass", dkim.CV_Fail: "fail", dkim.CV_None: "none"}.get(cv, "closed"), valid, reason)


def seal(messages, domain, selector, key, authserv):
    with open(key, "rb") as f:
        key = f.read()
    sealed = []
    for message in messages:
        fields = dkim.arc_sign(message, selector.encode(), domain.encode(), key, authserv.encode(), linesep=b"\r\n")
        sealed.append(b"".join(f.rstrip(b"\r\n") + b"\r\n" for f in fields) + message)
    sys.stdout.buffer.write(b"\0".join(sealed))


messages = sys.stdin.buffer.read().split(b"\0")
{"verify": verify, "seal": seal}[sys.argv[1]](messages, *sys.argv[2:])
