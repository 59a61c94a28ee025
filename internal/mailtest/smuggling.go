package mailtest

import "strings"

// AlmostEnds are sequences that some server or other takes for the end of a message, and many more of their kind: those that
// public scanners try are among them. None of them has CRLF.CRLF in it.
func AlmostEnds() []string {
	var list []string
	for _, before := range []string{"\n", "\r", "\r\n", "\r\r\n", "\n\n", "\n\r", "\r\n\x00", "\x00\r\n"} {
		for _, dot := range []string{".", "..", ".\x00", "\x00."} {
			for _, after := range []string{"\n", "\r", "\r\n", "\r\r\n", "\n\r", "\x00\r\n", "\r\x00\n", " \r\n"} {
				if s := before + dot + after; !strings.Contains(s, "\r\n.\r\n") {
					list = append(list, s)
				}
			}
		}
	}
	return list
}
