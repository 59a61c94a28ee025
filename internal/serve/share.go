package serve

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"time"
)

// Limits of what Options.LimitDir holds: so many files of each kind, and so many records in each.
const (
	shareFiles   = 256
	shareSlots   = 4096
	shareRates   = 1024
	rateRecord   = 16 + 8 // address, time
	rateWindow   = time.Minute
	shareMutex   = 1 << 40         // the byte whose lock guards a file; records and their locks are below
	shareTimeout = 2 * time.Second // to wait for it; it is held for less than a millisecond
)

// peerKeys say what a peer counts as: one address and one network. The zero value is a peer without an address, which is not
// limited.
type peerKeys struct{ address, network netip.Prefix }

func keysOf(ip string) peerKeys { return peerKeys{addressKey(ip), networkKey(ip)} }

// networkKey is what counts as one network: 256 IPv4 addresses, or an IPv6 network of 48 bits, which is what one site gets.
func networkKey(ip string) netip.Prefix {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// file is the number of the file that has all peers of a network.
func (k peerKeys) file() int {
	h := fnv.New32a()
	b := k.network.Addr().As16()
	h.Write(b[:])
	return int(h.Sum32() % shareFiles)
}

// allow is whether one more connection comes in time, and when the next would, if connections are to come no faster than
// limit in a window. next is that time for the connections so far. A whole window may come at once.
func allow(next, now time.Time, limit int) (time.Time, bool) {
	step := rateWindow / time.Duration(limit)
	if next.Before(now) {
		next = now
	}
	if next = next.Add(step); next.Sub(now) > rateWindow {
		return time.Time{}, false
	}
	return next, true
}

// rateTable is the content of a file of rates: for each address that was here lately, when its next connection is due.
type rateTable []byte

// find is the record of an address, or else one that nobody needs any more, or else room for a new one, or else the one that
// is the first to be needed no more.
func (t rateTable) find(key [16]byte, now time.Time) (offset int, next time.Time) {
	free, oldest := -1, int64(0)
	for i := 0; i+rateRecord <= len(t); i += rateRecord {
		due := int64(binary.BigEndian.Uint64(t[i+16:]))
		if [16]byte(t[i:i+16]) == key {
			return i, clamp(due, now)
		}
		if free < 0 || due < oldest {
			free, oldest = i, due
		}
	}
	end := len(t) / rateRecord * rateRecord
	if free < 0 || oldest > now.UnixNano() && end < shareRates*rateRecord {
		free = end
	}
	return free, time.Time{}
}

// clamp reads a time from a file; one that cannot have been written before now is not believed.
func clamp(nano int64, now time.Time) time.Time {
	t := time.Unix(0, nano)
	if t.Sub(now) > rateWindow {
		return now
	}
	return t
}

func rateBytes(key [16]byte, next time.Time) []byte {
	return binary.BigEndian.AppendUint64(key[:], uint64(next.UnixNano()))
}
