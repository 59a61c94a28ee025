package delivery

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// outward is a copy that cannot be taken back.
type outward struct {
	p *Plan
	i Instruction
}

// later notes a copy that cannot be taken back for the time when all others are staged.
func (j *job) later(p *Plan, i Instruction) error {
	key := string(i.Kind) + " " + i.Arg + " " + p.To.String()
	if !j.done[key] {
		j.done[key] = true
		j.outward = append(j.outward, outward{p, i})
	}
	return nil
}

// sendOut gives servers and standard output their copies.
func (j *job) sendOut() error {
	for _, o := range j.outward {
		var err error
		if o.i.Kind == Stdout {
			err = j.print(o.p)
		} else {
			err = j.lmtp(o.p, o.i.Arg)
		}
		if err != nil {
			return o.p.trouble(o.i, err)
		}
		j.gone = append(j.gone, "it went to "+o.i.target())
	}
	return nil
}

// print writes a copy to standard output.
func (j *job) print(p *Plan) error {
	if j.opt.Stdout == nil {
		return status.Errorf(status.Config, "there is no standard output to deliver to")
	}
	if _, err := io.Copy(j.opt.Stdout, j.copy(p.To)); err != nil {
		return status.Errorf(status.IO, "write the message to standard output: %w", err)
	}
	return nil
}

// lmtp hands the message, without lines of ours, to an LMTP server. It is an error when the server does not take it for all of
// its recipients; a temporary one when that may change for some of them.
func (j *job) lmtp(p *Plan, url string) error {
	at, err := smtp.ParseURL(url)
	if err != nil {
		return status.Errorf(status.Usage, "%w", err)
	}
	e := j.envelope.Envelope
	if p.box != nil {
		e = j.envelope.to(p)
	}
	if len(e.Recipients) == 0 {
		return errNobody
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&smtp.Network{}).Dial(ctx, at.Network, at.Address)
	}
	c, err := smtp.Connect(j.ctx, dial, smtp.Options{LMTP: true, TLS: at.TLS, TLSConfig: &tls.Config{ServerName: at.Host}})
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	defer c.Close()
	out := c.Send(j.ctx, j.m, e)
	if c.Err() == nil {
		c.Quit(j.ctx)
	}
	return worst(url, out)
}

var errNobody = status.Errorf(status.Usage, "LMTP needs a recipient")

// worst is the first temporary failure, or else the first permanent one.
func worst(url string, out []smtp.Outcome) error {
	var worst *status.Error
	taken := 0
	for _, o := range out {
		switch {
		case o.Err == nil:
			taken++
		case worst == nil || o.Err.Class == status.Temporary && worst.Class == status.Permanent:
			worst = o.Err
		}
	}
	if worst == nil {
		return nil
	}
	e := *worst
	e.Text, e.Err = url+": "+e.Text, worst
	if taken > 0 {
		e.Text += fmt.Sprintf("; it was taken for %d of %d recipients", taken, len(out))
	}
	return &e
}
