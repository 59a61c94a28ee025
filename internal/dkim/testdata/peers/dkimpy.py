# dkimpy as a peer: takes orders from standard input, a line each, and answers each with a line.
#   verify FILE                      -> pass, or why not
#   sign FILE OUT CANON SELECTOR     -> ok, or why not; the key is KEYS/SELECTOR.key
# usage: dkimpy.py ZONE KEYS, where ZONE has lines of name, blank and record.
import base64
import sys

import dkim

zone = dict(line.rstrip("\n").split(" ", 1) for line in open(sys.argv[1]))
keys = sys.argv[2]


def lookup(name, timeout=5):
    return zone.get(name.decode().rstrip("."), "").encode()


def key(selector):
    text = open(f"{keys}/{selector}.key", "rb").read()
    if selector != "ed":
        return text, b"rsa-sha256"
    # PKCS #8 of Ed25519 ends in the 32 bytes of the seed, which is what dkimpy wants.
    der = base64.b64decode(b"".join(text.split(b"\n")[1:-2]))
    return base64.b64encode(der[-32:]), b"ed25519-sha256"


def verify(file):
    d = dkim.DKIM(open(file, "rb").read())
    return "pass" if d.verify(dnsfunc=lookup) else "fail"


def sign(file, out, canon, selector):
    message = open(file, "rb").read()
    private, algorithm = key(selector)
    d = dkim.DKIM(message, signature_algorithm=algorithm)
    header, body = canon.encode().split(b"/")
    field = d.sign(selector.encode(), b"example.org", private, canonicalize=(header, body))
    open(out, "wb").write(field + message)
    return "ok"


for line in sys.stdin:
    order = line.rstrip("\n").split(" ")
    try:
        answer = {"verify": verify, "sign": sign}[order[0]](*order[1:])
    except Exception as e:
        answer = f"{type(e).__name__}: {e}"
    print(answer.replace("\n", " "), flush=True)
