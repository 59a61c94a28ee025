// Package lazy compiles regular expressions when they are first used. The programs that start for each message need few of
// those they know: compiled at the start they would cost more than the work.
package lazy

import (
	"regexp"
	"sync"
)

// Regexp is an expression of package regexp, compiled at the first call, by whomever. A faulty one panics then.
func Regexp(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
