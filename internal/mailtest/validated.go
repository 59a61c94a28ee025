package mailtest

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A ZoneBelow is a zone below example., for Validated.
type ZoneBelow struct {
	Text     string // its records but SOA and NS; indentation common to all lines is taken off, names are relative to the zone
	Unsigned bool
	Signed   time.Time                // when it was signed, for two weeks; zero = an hour ago
	Spoil    func(file string) string // what becomes of the zone after it was signed, nil = nothing
}

// Validated runs a Knot DNS that has zones, by names such as "good.example", and example. itself, which is signed and vouches for
// those that are; and an Unbound that asks it and believes in the key of example. alone. Both end with the test. It returns the
// address of the latter, by which the DNS is as a host with a validating resolver sees it.
func Validated(t testing.TB, zones map[string]ZoneBelow) (resolver string) {
	t.Helper()
	for _, program := range []string{"knotd", "keymgr", "kzonesign", "unbound"} {
		Peer(t, program)
	}
	k := &knot{t: t, dir: Passable(t)}
	for _, sub := range []string{"keys", "served"} {
		if err := os.Mkdir(filepath.Join(k.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	k.write("signing", "database:\n  storage: "+k.dir+"/keys\npolicy:\n  - id: own\n    manual: on\n    single-type-signing: on\n"+
		"template:\n  - id: default\n    storage: "+k.dir+"\n    dnssec-policy: own\nzone:\n  - domain: example\n    file: example")
	parent := "ns A 127.0.0.1\n"
	for name, z := range zones {
		k.append("signing", "\n  - domain: "+name+"\n    file: "+name)
		parent += name + ". NS ns.example.\n"
		k.write(name, head(name)+dedent(z.Text)+"\n")
		if !z.Unsigned {
			parent += k.sign(name, z.Signed) + "\n"
		}
		if z.Spoil != nil {
			k.write(name, z.Spoil(k.read(name)))
		}
	}
	k.write("example", head("example")+parent)
	anchor := k.sign("example", time.Time{})
	server, resolver := apart(t), apart(t)
	k.serve(server, zones)
	k.validate(resolver, server, anchor, zones)
	return resolver
}

// head is how a zone begins.
func head(name string) string {
	return "$ORIGIN " + name + ".\n$TTL 60\n@ SOA ns.example. postmaster.example. 1 600 600 600 60\n@ NS ns.example.\n"
}

// apart is an address of loopback that no other test has, with a port.
func apart(t testing.TB) string {
	var b [3]byte
	rand.Read(b[:])
	ip := net.IPv4(127, b[0]%253+1, b[1], b[2]%253+1).String()
	c, err := net.ListenPacket("udp", ip+":0")
	if err != nil {
		t.Skipf("no loopback address of its own: %v", err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// at is the form of both programs for an address with a port.
func at(address string) string { return strings.ReplaceAll(address, ":", "@") }

// knot is a directory of zones, and of what its programs need.
type knot struct {
	t   testing.TB
	dir string
}

func (k *knot) read(name string) string {
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(b)
}

func (k *knot) write(name, text string) {
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k *knot) append(name, text string) { k.write(name, k.read(name)+text) }

func (k *knot) do(program string, args ...string) string {
	out, err := exec.Command(Peer(k.t, program), append([]string{"-c", filepath.Join(k.dir, "signing")}, args...)...).CombinedOutput()
	if err != nil {
		k.t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// sign signs a zone with a key of its own, and returns the DS record for it.
func (k *knot) sign(zone string, at time.Time) string {
	if at.IsZero() {
		at = time.Now().Add(-time.Hour)
	}
	second := fmt.Sprint(at.Unix())
	k.do("keymgr", zone, "generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=yes",
		"created="+second, "publish="+second, "ready="+second, "active="+second)
	k.do("kzonesign", "-o", k.dir, "-t", second, zone)
	first, _, _ := strings.Cut(k.do("keymgr", zone, "ds"), "\n")
	return first
}

func (k *knot) serve(address string, zones map[string]ZoneBelow) {
	text := "server:\n  rundir: " + k.dir + "\n  listen: " + at(address) + "\ndatabase:\n  storage: " + k.dir + "/served\n" +
		"template:\n  - id: default\n    storage: " + k.dir + "\n    zonefile-sync: -1\nzone:\n  - domain: example\n    file: example\n"
	for name := range zones {
		text += "  - domain: " + name + "\n    file: " + name + "\n"
	}
	k.write("serving", text)
	Await(k.t, Follow(k.t, exec.Command(Peer(k.t, "knotd"), "-c", filepath.Join(k.dir, "serving"))), 1, "server started", " error: ")
}

func (k *knot) validate(address, server, anchor string, zones map[string]ZoneBelow) {
	ip, port, _ := strings.Cut(address, ":")
	text := "server:\n  directory: " + k.dir + "\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n" +
		"  verbosity: 1\n  val-log-level: 2\n  interface: " + ip + "\n  port: " + port + "\n  do-ip6: no\n  do-not-query-localhost: no\n" +
		"  module-config: \"validator iterator\"\n  trust-anchor: \"" + anchor + "\"\nremote-control:\n  control-enable: no\n"
	for name := range zones {
		text += "stub-zone:\n  name: " + name + "\n  stub-addr: " + at(server) + "\n"
	}
	k.write("validating", text+"stub-zone:\n  name: example\n  stub-addr: "+at(server)+"\n")
	Await(k.t, Follow(k.t, exec.Command(Peer(k.t, "unbound"), "-d", "-c", filepath.Join(k.dir, "validating"))), 1, "start of service", "fatal|error:")
}
