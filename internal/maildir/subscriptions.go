package maildir

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	subscriptionsName = "subscriptions"
	subscriptionsTmp  = "subscriptions.tmp"
	subscriptionsLock = "subscriptions.lock"
	subscriptionsV2   = "V\t2"
)

// maxSubscriptions bounds the list.
const maxSubscriptions = 100_000

// ParseSubscriptions reads the list of subscribed mailboxes as Dovecot keeps it, both the old form (a name a
// line) and version 2 (levels parted by tabs). Names come with '.' between levels, each once.
func ParseSubscriptions(r io.Reader) ([]string, error) {
	var names []string
	seen := make(map[string]bool)
	v2, first := false, true
	s := bufio.NewScanner(r)
	for s.Scan() && len(names) < maxSubscriptions {
		line := s.Text()
		if first {
			first = false
			if v2 = line == subscriptionsV2; v2 {
				continue
			}
		}
		if v2 {
			line = unescapeTabs(strings.ReplaceAll(line, "\t", "."))
		}
		if line != "" && !seen[line] {
			seen[line] = true
			names = append(names, line)
		}
	}
	return names, s.Err()
}

// Dovecot writes control bytes inside a level as \001 and a letter.
var (
	tabEscaper   = strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")
	tabUnescaper = strings.NewReplacer("\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n")
)

func unescapeTabs(s string) string { return tabUnescaper.Replace(s) }

// appendSubscriptions writes version 2.
func appendSubscriptions(b []byte, names []string) []byte {
	b = append(b, subscriptionsV2+"\n\n"...)
	for _, n := range names {
		levels := strings.Split(n, ".")
		for i := range levels {
			levels[i] = tabEscaper.Replace(levels[i])
		}
		b = append(append(b, strings.Join(levels, "\t")...), '\n')
	}
	return b
}

// Subscriptions lists the subscribed mailboxes, "INBOX" among them if it is. d is the root, not a folder.
func (d *Dir) Subscriptions() ([]string, error) {
	f, err := open(d.root, subscriptionsName)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the subscriptions of %q: %w", d.Path(), err)
	}
	defer f.Close()
	names, err := ParseSubscriptions(f)
	if err != nil {
		return nil, fmt.Errorf("read the subscriptions of %q: %w", d.Path(), err)
	}
	return names, nil
}

// Subscribe adds the mailbox to the list or takes it off, durably. It makes no difference whether it exists.
func (d *Dir) Subscribe(ctx context.Context, name string, on bool) error {
	lock, err := d.lock(ctx, subscriptionsLock)
	if err != nil {
		return err
	}
	defer lock.release()
	names, err := d.Subscriptions()
	if err != nil || slices.Contains(names, name) == on {
		return err
	}
	if on {
		if len(names) >= maxSubscriptions {
			return fmt.Errorf("subscribe to %q in %q: there are %d already", name, d.Path(), maxSubscriptions)
		}
		names = append(names, name)
	} else {
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	}
	if err := d.replace(subscriptionsTmp, subscriptionsName, appendSubscriptions(nil, names), lock); err != nil {
		return fmt.Errorf("write the subscriptions of %q: %w", d.Path(), err)
	}
	return nil
}
