package mailauth

import (
	"strings"

	"pennypost/internal/spf"
)

// receivedSPF is the field of RFC 7208 section 9.1, its name and line end (LF) included. What comes from outside is quoted,
// cut and cleaned as in Format.
func receivedSPF(r *spf.Report, o Options) []byte {
	w := &writer{out: []byte(ReceivedSPFName + ":")}
	w.col = len(w.out)
	w.word(string(r.Result))
	w.word(comment(o.IDs[0] + ": " + r.Reason))
	pairs := [][2]string{
		{"receiver", o.IDs[0]}, {"client-ip", o.Session.IP.Unmap().String()}, {"envelope-from", o.Session.Sender},
		{"helo", o.Session.Helo}, {"identity", string(r.Scope)}, {"mechanism", r.Mechanism},
	}
	if r.Result == spf.PermError || r.Result == spf.TempError {
		pairs = append(pairs, [2]string{"problem", r.Reason})
	}
	for _, p := range pairs {
		if p[1] != "" || p[0] == "envelope-from" {
			w.word(p[0] + "=" + quote(p[1], isDotAtom) + ";")
		}
	}
	w.out = w.out[:len(w.out)-1]
	return append(w.out, '\n')
}

// isDotAtom accepts what stands unquoted in a value.
func isDotAtom(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0
}

func comment(s string) string {
	return "(" + strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(clean(s)) + ")"
}
