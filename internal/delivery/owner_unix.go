//go:build unix

package delivery

import (
	"os"
	"syscall"

	"pennypost/internal/handoff"
	"pennypost/internal/status"
)

// ownerOf is who a command in home is to be run as: nil, which is us, or for root the owner of home, who must be somebody
// else.
func ownerOf(home *os.Root) (*handoff.Owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := home.Stat(".")
	if err != nil {
		return nil, status.Errorf(status.Config, "whose is %q: %w", home.Name(), err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil, status.Errorf(status.Config, "no command is run as root, to whom %q belongs", home.Name())
	}
	return &handoff.Owner{UID: st.Uid, GID: st.Gid}, nil
}
