package serve

import (
	"net"
	"os"
)

// takeNotifySocket returns a function that tells the service manager a state (sd_notify(3)); it does nothing where there
// is none. The variable is removed, so that programs we run do not speak in our name.
func takeNotifySocket() func(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	os.Unsetenv("NOTIFY_SOCKET")
	if path == "" {
		return func(string) {}
	}
	return func(state string) {
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			return // a manager that does not listen is no reason to stop serving
		}
		defer c.Close()
		c.Write([]byte(state))
	}
}
