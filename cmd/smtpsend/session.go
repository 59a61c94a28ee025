package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
)

const maxSession = 1 << 18 // bytes of the file

// sessionFile keeps the last TLS session in a file, so that the next process can resume it (RFC 8446 section 2.2). It holds
// keys: whoever reads it can read what a resumed connection carries. What cannot be read or written is no session.
type sessionFile struct {
	mu   sync.Mutex
	name string
}

type keptSession struct {
	Server string `json:"server"`
	Ticket string `json:"ticket"`
	State  string `json:"state"`
}

// Get is the kept session when it is of this server.
func (s *sessionFile) Get(server string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(s.name)
	if err != nil || info.Mode().Perm()&0o077 != 0 || info.Size() > maxSession {
		return nil, false
	}
	text, err := os.ReadFile(s.name)
	if err != nil {
		return nil, false
	}
	var kept keptSession
	if json.Unmarshal(text, &kept) != nil || kept.Server != server {
		return nil, false
	}
	ticket, err1 := base64.StdEncoding.DecodeString(kept.Ticket)
	state, err2 := base64.StdEncoding.DecodeString(kept.State)
	if err1 != nil || err2 != nil {
		return nil, false
	}
	parsed, err := tls.ParseSessionState(state)
	if err != nil {
		return nil, false
	}
	session, err := tls.NewResumptionState(ticket, parsed)
	return session, err == nil
}

// Put keeps a session in the place of the one before; nil forgets it.
func (s *sessionFile) Put(server string, session *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session == nil {
		os.Remove(s.name)
		return
	}
	ticket, state, err := session.ResumptionState()
	if err != nil || state == nil {
		return
	}
	plain, err := state.Bytes()
	if err != nil {
		return
	}
	code := base64.StdEncoding.EncodeToString
	text, err := json.Marshal(keptSession{server, code(ticket), code(plain)})
	if err == nil {
		s.write(text)
	}
}

// write makes the file anew beside the old one: CreateTemp gives mode 600.
func (s *sessionFile) write(text []byte) {
	f, err := os.CreateTemp(filepath.Dir(s.name), ".tls-session-")
	if err != nil {
		return
	}
	_, err = bytes.NewReader(text).WriteTo(f)
	if f.Close() != nil || err != nil || os.Rename(f.Name(), s.name) != nil {
		os.Remove(f.Name())
	}
}
