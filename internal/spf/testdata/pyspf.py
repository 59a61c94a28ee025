# Evaluates SPF with pyspf. The argument is a JSON file of names with their records; standard input has lines of ip, helo,
# sender and the record of the sender's domain, as JSON. Writes one result a line. The limit on void look-ups is off,
# since pyspf counts questions.
import json
import sys

import spf

zone = json.load(open(sys.argv[1]))


def lookup(name, qtype, strict=True, timeout=None):
    at = zone.get(name.lower().rstrip("."), {})
    if "fail" in at:
        raise spf.TempError("DNS trouble")
    values = at.get(qtype, [])
    if qtype == "TXT":
        values = [[v.encode("utf-8")] for v in values]
    return [((name, qtype), tuple(v) if isinstance(v, list) else v) for v in values]


spf.DNSLookup = lookup
spf.MAX_VOID_LOOKUPS = 1000
for line in sys.stdin:
    q = json.loads(line)
    zone[q["sender"].split("@")[1]] = {"TXT": [q["record"]]}
    print(spf.check2(i=q["ip"], s=q["sender"], h=q["helo"])[0], flush=True)
