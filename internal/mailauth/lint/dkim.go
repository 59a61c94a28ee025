package lint

import (
	"strings"

	"pennypost/internal/dkim"
)

// commonSelectors are tried when nobody says how the keys are called.
var commonSelectors = strings.Fields("default dkim mail google selector1 selector2 s1 s2 k1 k2 key1 fm1 fm2 fm3")

const maxSelectors = 100

func (l *linter) dkim() {
	selectors, given := l.o.Selectors, true
	switch {
	case len(selectors) > 0:
	case l.o.Offline:
		for _, name := range l.o.Names {
			if s, ok := strings.CutSuffix(name, "._domainkey."+l.domain+"."); ok {
				selectors = append(selectors, s)
			}
		}
	default:
		selectors, given = commonSelectors, false
	}
	if len(selectors) > maxSelectors {
		l.say(Warning, "dkim", "", "only the first %d selectors are looked at", maxSelectors)
		selectors = selectors[:maxSelectors]
	}
	keys, before := 0, len(l.findings)
	for _, s := range selectors {
		if err := dkim.CheckName(l.domain, s); err != nil {
			l.say(Error, "dkim", s, "%v", err)
			continue
		}
		if l.key(dkim.Query(s, l.domain), given) {
			keys++
		}
	}
	switch {
	case keys > 0 || len(l.o.Selectors) > 0 || len(l.findings) > before:
	case given:
		l.say(Note, "dkim", "_domainkey."+l.domain, "there is no key")
	default:
		l.say(Note, "dkim", "_domainkey."+l.domain, "no key was found under %d common names; which are in use is not known",
			len(selectors))
	}
}

// key looks at the record of one key; false if there is none. must says that there has to be one.
func (l *linter) key(name string, must bool) bool {
	texts, ok := l.txt("dkim", name)
	if !ok {
		return false
	}
	var keys []string
	for _, text := range texts {
		if kindOf(text) == "dkim" || strings.Contains(text, "p=") {
			keys = append(keys, text)
		}
	}
	switch {
	case len(keys) == 0 && len(texts) > 0:
		if must {
			l.say(Error, "dkim", name, "%q is no key", clip(texts[0]))
		}
		return false
	case len(keys) == 0:
		if must {
			l.say(Error, "dkim", name, "there is no key")
		}
		return false
	case len(keys) > 1:
		l.say(Error, "dkim", name, "there are %d keys, of which anyone may take any", len(keys))
	case len(texts) > len(keys):
		l.say(Warning, "dkim", name, "there are other texts as well, as a wildcard brings them; not everyone passes over them")
	}
	for _, text := range keys {
		l.sayAll(name, dkimRecord(text))
	}
	return true
}
