package mailtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Unpacked is the path of a file of a Debian package that cannot be installed beside the others, as exim4 beside postfix: it
// is unpacked in $MAIL_PEERS, which .ci/run does. Without it the test is skipped with the reason.
func Unpacked(t testing.TB, path string) string {
	t.Helper()
	dir := os.Getenv("MAIL_PEERS")
	if dir == "" {
		t.Skipf("peer %s: MAIL_PEERS does not say where packages are unpacked", path)
	}
	file := filepath.Join(dir, path)
	if _, err := os.Stat(file); err != nil {
		t.Skipf("peer %s is not unpacked: %v", path, err)
	}
	return file
}

// besides makes what an installation would have made, in a mount namespace of its own: the users of exim4 and opensmtpd, and
// empty directories for their state in place of the system's.
const besides = `set -eu
own=$1 root=$2; shift 2
for f in passwd group; do cp /etc/$f "$own/$f"; chmod 644 "$own/$f"; done
id=65534 # exim4, which cannot become anybody else here, runs commands as nobody
for u in Debian-exim opensmtpd opensmtpq; do
	echo "$u:x:$id:$id::/var/lib/opensmtpd/empty:/bin/false" >>"$own/passwd"
	echo "$u:x:$id:" >>"$own/group"
	id=$((id-10))
done
for f in passwd group; do mount --bind "$own/$f" /etc/$f; done
for d in /var/spool /var/lib /run /usr/libexec; do mount -t tmpfs -o mode=755 tmpfs $d; done
mkdir -p /var/lib/opensmtpd/empty /var/spool/exim4
chown Debian-exim:Debian-exim /var/spool/exim4
cp -r "$root/usr/libexec/opensmtpd" /usr/libexec/
exec "$@"`

// Apart is the command that runs an unpacked program as if its package were installed, without a trace on the machine. That
// takes root and mount namespaces; where these are not to be had the test is skipped.
func Apart(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	path := Unpacked(t, program)
	alone := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c"}
	unshare := Peer(t, "unshare")
	if out, err := exec.Command(unshare, append(alone, "mount -t tmpfs tmpfs /var/lib")...).CombinedOutput(); err != nil {
		t.Skipf("peer %s needs a mount namespace: %v: %s", program, err, out)
	}
	alone = append(alone, besides, "sh", Passable(t), os.Getenv("MAIL_PEERS"), path)
	return exec.Command(unshare, append(alone, args...)...)
}
