package relay

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

const (
	maxTold = 100    // reports to one address in an hour
	toldDir = "told" // below the queue: a file for each address that got one in this hour, a byte long for each report
)

// mayTell counts a report to an address and tells whether it is not one too many: mail with a forged sender must not make us
// flood somebody. All runs of a queue count together. Where it cannot be counted the sender hears of his mail all the same.
func mayTell(queue *os.Root, to string, now time.Time) bool {
	if err := queue.Mkdir(toldDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return true
	}
	hour := now.UTC().Format("2006010215")
	name := fmt.Sprintf("%s/%s-%x", toldDir, hour, sha256.Sum256([]byte(strings.ToLower(to))))
	f, err := queue.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		forgetTold(queue, hour)
		f, err = queue.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	}
	if err != nil {
		return true
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() >= maxTold {
		return err != nil
	}
	f.Write([]byte{'.'})
	return true
}

// forgetTold removes what is of another hour.
func forgetTold(queue *os.Root, hour string) {
	d, err := queue.Open(toldDir)
	if err != nil {
		return
	}
	defer d.Close()
	for {
		some, err := d.Readdirnames(512)
		for _, name := range some {
			if !strings.HasPrefix(name, hour+"-") {
				queue.Remove(toldDir + "/" + name)
			}
		}
		if err != nil {
			return
		}
	}
}
