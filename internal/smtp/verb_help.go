package smtp

import (
	"maps"
	"slices"
	"strings"
)

// help is RFC 5321 section 4.1.1.8: the commands there are.
func (s *session) help(string) Reply {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(verbs)), func(name string) bool { return !s.offers(verbs[name]) })
	return Reply{214, "2.0.0", []string{"Commands: " + strings.Join(names, " ")}}
}
