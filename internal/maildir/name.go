package maildir

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// uniqueName makes `<sec>.M<usec>P<pid>.<host>`. A process never makes the same name twice, also when
// the clock stands still or goes back.
func uniqueName() string {
	nameMu.Lock()
	now := time.Now().UnixMicro()
	if now <= nameLast {
		now = nameLast + 1
	}
	nameLast = now
	nameMu.Unlock()
	return fmt.Sprintf("%d.M%dP%d.%s", now/1e6, now%1e6, os.Getpid(), hostName())
}

var (
	nameMu   sync.Mutex
	nameLast int64 // microseconds since 1970 of the last name made
)

var hostName = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return escapeHost(host)
})

// escapeHost writes every byte that could end the name or confuse a reader of it as \ooo.
func escapeHost(host string) string {
	const most = 64 // leaves room for sizes and flags below the 255 bytes of a file name
	var b strings.Builder
	for i := 0; i < len(host) && b.Len() < most; i++ {
		c := host[i]
		if c == '.' || c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	if b.Len() == 0 {
		return "localhost"
	}
	return b.String()
}

// splitName takes a file name apart: key is the part before the info, flags are the letters of a
// "2," info, sorted and each once, and tail is what follows the letters, from a second ',' on.
// Only the last ':' counts, and only when "2," follows it; else the whole name is the key.
func splitName(name string) (key, flags, tail string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || !strings.HasPrefix(name[i+1:], "2,") {
		return name, "", ""
	}
	key, flags = name[:i], name[i+len(":2,"):]
	if j := strings.IndexByte(flags, ','); j >= 0 {
		flags, tail = flags[:j], flags[j:]
	}
	return key, sortFlags(flags), tail
}

// joinName is the reverse of splitName; the result always has an info.
func joinName(key, flags, tail string) string {
	return key + ":2," + sortFlags(flags) + tail
}

// sortFlags puts letters in ASCII order, each once.
func sortFlags(flags string) string {
	b := []byte(flags)
	slices.Sort(b)
	return string(slices.Compact(b))
}

// settable tells whether a letter is one a caller may set: the flags of Maildir and the keyword letters.
// Every other letter belongs to someone else and is kept.
func settable(c byte) bool {
	return strings.IndexByte("DFPRST", c) >= 0 || 'a' <= c && c <= 'z'
}

// checkFlags refuses letters that are not settable.
func checkFlags(flags string) error {
	for i := range len(flags) {
		if !settable(flags[i]) {
			return fmt.Errorf("flag letter %q is none of D F P R S T a-z", flags[i])
		}
	}
	return nil
}

// mergeFlags changes current by the difference of want and base: what want has more is added, what it
// has less is taken away. A change that somebody else made between base and current stays.
func mergeFlags(current, base, want string) string {
	out := make([]byte, 0, len(current)+len(want))
	for i := range len(current) {
		c := current[i]
		if settable(c) && strings.IndexByte(base, c) >= 0 && strings.IndexByte(want, c) < 0 {
			continue
		}
		out = append(out, c)
	}
	for i := range len(want) {
		if strings.IndexByte(base, want[i]) < 0 {
			out = append(out, want[i])
		}
	}
	return sortFlags(string(out))
}

// nameSize reads the number after the first ",<letter>=" of a key, -1 when there is none or when it
// does not end where a number must.
func nameSize(key string, letter byte) int64 {
	i := strings.Index(key, ","+string(letter)+"=")
	if i < 0 {
		return -1
	}
	digits := key[i+3:]
	if j := strings.IndexAny(digits, ",:"); j >= 0 {
		digits = digits[:j]
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return -1
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// nameTime is the time a name was made: seconds and microseconds; 0 where the name does not tell.
func nameTime(key string) (sec, usec int64) {
	head, rest, _ := strings.Cut(key, ".")
	sec, err := strconv.ParseInt(head, 10, 64)
	if err != nil || sec < 0 {
		return 0, 0
	}
	if after, ok := strings.CutPrefix(rest, "M"); ok {
		end := len(after) - len(strings.TrimLeft(after, "0123456789"))
		if n, err := strconv.ParseInt(after[:end], 10, 64); err == nil {
			usec = n
		}
	}
	return sec, usec
}

// visible tells whether a name in new or cur can be a message's: not hidden, and of one line, since
// the files that list names hold one a line.
func visible(name string) bool {
	return !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "\n\x00")
}
