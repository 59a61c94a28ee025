package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

const (
	defaultOffice = "/srv/mail"    // where cron and PHP, who set no variable, find the office
	settingsFile  = "sendmail.env" // in the office
	maxSettings   = 16 << 10       // bytes of it
)

// settingNames are the variables that the settings file may set. The environment goes before it.
var settingNames = []string{"MAIL_QUEUE", "MAIL_DOMAIN", "MAIL_RESOLVER", "MAIL_RUN", "MAIL_SIGN", "MAIL_SUBMIT"}

// settings are what sendmail goes by.
type settings struct {
	office  string   // directory
	queue   string   // directory
	program []string // takes letters by mailpipe(7) instead; nil = none
}

// readSettings takes the environment, then the settings file. When somebody with other rights called us (real and effective
// ids differ) his environment counts for nothing. What the file sets goes into our environment, for those we run.
func readSettings() (*settings, error) {
	if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
		for _, name := range append([]string{"MAIL_OFFICE"}, settingNames...) {
			os.Unsetenv(name)
		}
	}
	s := &settings{office: os.Getenv("MAIL_OFFICE")}
	if s.office == "" {
		s.office = defaultOffice
		os.Setenv("MAIL_OFFICE", s.office)
	}
	if err := s.readFile(); err != nil {
		return nil, err
	}
	if s.queue = os.Getenv("MAIL_QUEUE"); s.queue == "" {
		s.queue = filepath.Join(s.office, "queue")
	}
	if words := strings.Fields(os.Getenv("MAIL_SUBMIT")); len(words) > 0 {
		s.program = words
	}
	return s, nil
}

// readFile reads the settings file, if there is one.
func (s *settings) readFile() error {
	name := filepath.Join(s.office, settingsFile)
	f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return status.Errorf(status.Config, "read settings: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return status.Errorf(status.Config, "read settings: %w", err)
	}
	if why := mistrust(info, s.office); why != "" {
		return status.Errorf(status.Config, "read settings: %s: %s", name, why)
	}
	text := bufio.NewScanner(io.LimitReader(f, maxSettings))
	for n := 1; text.Scan(); n++ {
		if err := setting(text.Text()); err != nil {
			return status.Errorf(status.Config, "%s:%d: %w", name, n, err)
		}
	}
	if err := text.Err(); err != nil {
		return status.Errorf(status.Config, "read settings: %s: %w", name, err)
	}
	return nil
}

// mistrust says why a settings file is not to be followed, or "".
func mistrust(info fs.FileInfo, office string) string {
	switch {
	case !info.Mode().IsRegular():
		return "no regular file"
	case info.Size() > maxSettings:
		return fmt.Sprintf("larger than %d bytes", maxSettings)
	case info.Mode().Perm()&0o022 != 0:
		return "others than its owner may write to it"
	}
	home, err := os.Stat(office)
	if err != nil {
		return err.Error()
	}
	if who := owner(info); who != 0 && who != owner(home) && who != os.Geteuid() {
		return fmt.Sprintf("belongs to user %d, who is neither root nor the office's owner", who)
	}
	return ""
}

// setting reads a line NAME=VALUE. Nothing in it is unquoted or expanded.
func setting(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("want NAME=VALUE, without control characters")
	}
	for _, known := range settingNames {
		if name == known {
			if _, set := os.LookupEnv(name); !set {
				return os.Setenv(name, value)
			}
			return nil
		}
	}
	return fmt.Errorf("unknown setting %q, want one of %s", status.Escape(name, 100), strings.Join(settingNames, ", "))
}

// writer finds out who calls us and where. Bare names get the domain of MAIL_DOMAIN; else this host's name, if the office has
// it, or the office's domain that the host is in, or the only one; else the host's name.
func (s *settings) writer(fullName string) (*writer, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if host, err = envelope.ParseDomain(host); err != nil {
		host = "localhost"
	}
	w := &writer{host: host, domain: os.Getenv("MAIL_DOMAIN"), uid: os.Getuid(), fullName: fullName}
	if w.domain == "" {
		w.domain = s.domain(host)
	} else if w.domain, err = envelope.ParseDomain(w.domain); err != nil {
		return nil, status.Errorf(status.Config, "MAIL_DOMAIN: %w", err)
	}
	if !strings.Contains(w.host, ".") {
		w.host = w.domain
	}
	w.user = "uid" + strconv.Itoa(w.uid)
	if u, err := user.LookupId(strconv.Itoa(w.uid)); err == nil {
		w.user = u.Username
		if w.fullName == "" {
			w.fullName = u.Name
		}
	}
	w.fullName = status.Escape(w.fullName, 200)
	return w, nil
}

// domain is that of bare names where MAIL_DOMAIN does not say it.
func (s *settings) domain(host string) string {
	office, err := postoffice.Open(s.office)
	if err != nil {
		return host
	}
	defer office.Close()
	domains, err := office.Domains()
	if err != nil {
		return host
	}
	best := ""
	for _, d := range domains {
		if d == host || strings.HasSuffix(host, "."+d) && len(d) > len(best) {
			best = d
		}
	}
	switch {
	case best != "":
		return best
	case len(domains) == 1:
		return domains[0]
	}
	return host
}
