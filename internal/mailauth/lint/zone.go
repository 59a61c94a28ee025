package lint

import (
	"fmt"
	"strings"

	"pennypost/internal/lazy"
)

// unquoted is a TXT record in a zone file whose text has no quotes.
var unquoted = lazy.Regexp(`(?i)\sTXT\s+\(?\s*([^"\s;(][^"]*?);`)

// Zone looks at the text of a zone file, for what can no longer be seen in its records: strings that are too long, and
// texts that lost what follows their first semicolon.
func Zone(text string) (found []Finding) {
	for n, line := range strings.Split(text, "\n") {
		say := func(format string, a ...any) {
			if len(found) < maxFindings {
				found = append(found, Finding{Error, "zone", fmt.Sprintf("line %d", n+1), fmt.Sprintf(format, a...)})
			}
		}
		if strings.HasPrefix(strings.TrimSpace(line), ";") {
			continue
		}
		if m := unquoted().FindStringSubmatch(line); m != nil && kindOf(m[1]) != "" {
			say("everything from the first semicolon on is a comment: the text has to stand in quotes")
			continue
		}
		for _, s := range quotedStrings(line) {
			if len(s) > maxString {
				say("%s", tooLong(s))
			}
		}
	}
	return found
}
