package smtp

import (
	"bytes"
	"errors"
	"io"
)

var (
	errBareCR = errors.New("bare CR in the message")
	errNUL    = errors.New("NUL byte in the message")
)

// DotWriter writes message data as it goes over the wire (RFC 5321 sections 2.3.8 and 4.5.2): every LF as CRLF, a CRLF as
// it is, a dot before a dot that begins a line. A CR without LF and a NUL are an error and nothing of them
// is written, so no CR or LF ever leaves except as CRLF. How the input is cut into writes changes nothing.
type DotWriter struct {
	w   io.Writer
	raw bool // no dots, and no end: for BDAT
	mid bool // inside a line
	cr  bool // a CR was held back at the end of the last write
	err error
}

// NewDotWriter writes to w, several small writes for each line: give it a buffered writer.
func NewDotWriter(w io.Writer) *DotWriter { return &DotWriter{w: w} }

// Write takes message bytes with LF or CRLF line ends. After an error every Write and Close fails with it.
func (d *DotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && d.err == nil {
		p = d.line(p)
	}
	if d.err != nil {
		return 0, d.err
	}
	return n, nil
}

// line writes up to the next line end and returns what follows it.
func (d *DotWriter) line(p []byte) []byte {
	if d.cr && p[0] != '\n' {
		d.err = errBareCR
		return nil
	}
	d.cr = false
	line, rest, ended := bytes.Cut(p, []byte("\n"))
	if bytes.HasSuffix(line, []byte("\r")) {
		line, d.cr = line[:len(line)-1], !ended
	}
	if i := bytes.IndexAny(line, "\r\x00"); i >= 0 {
		d.err = errBareCR
		if line[i] == 0 {
			d.err = errNUL
		}
		return nil
	}
	if len(line) > 0 && line[0] == '.' && !d.mid && !d.raw {
		d.write([]byte("."))
	}
	d.write(line)
	d.mid = d.mid || len(line) > 0
	if ended {
		d.write([]byte("\r\n"))
		d.mid = false
	}
	return rest
}

func (d *DotWriter) write(b []byte) {
	if d.err == nil && len(b) > 0 {
		_, d.err = d.w.Write(b)
	}
}

// Close ends the last line if it is open, and the message: CRLF "." CRLF. It does not close the writer under it. After
// an error it writes nothing, so what was sent can not be taken for a complete message.
func (d *DotWriter) Close() error {
	if d.err == nil && d.cr {
		d.err = errBareCR
	}
	if d.mid {
		d.write([]byte("\r\n"))
	}
	if !d.raw {
		d.write([]byte(".\r\n"))
	}
	return d.err
}
