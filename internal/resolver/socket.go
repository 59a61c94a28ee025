package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpBuffer is larger than ednsSize, for servers that do not care.
	udpBuffer = 4096
	// maxStrays is how many messages that fit no question a socket takes before
	// it is given up: someone is guessing (RFC 5452).
	maxStrays = 64
	// resendAfter is the wait before the first repetition of a datagram; each
	// further wait is twice as long.
	resendAfter = time.Second
	// Of how many questions and how long a socket is used. Those of UDP are
	// short-lived, so that a source port is worth little to whoever finds it out
	// (RFC 5452 section 9.2).
	datagramLife, datagramQuestions = time.Second, 256
	streamLife, streamQuestions     = 5 * time.Second, 16 << 10
)

// socket is one connected UDP or TCP socket with any number of questions under
// way (RFC 7766 section 6.2.1). A goroutine reads from it and hands out what
// comes; it ends with the socket, which closes itself when its time is over and
// nobody waits.
type socket struct {
	conn   net.Conn
	stream bool // TCP: a length stands before each message (RFC 1035 section 4.2.2)

	mu      sync.Mutex
	waiting map[uint16]*pending // by id; nil = nobody waits any more, but an answer may still come
	live    int                 // of them that somebody waits for
	asked   int
	strays  int
	retired bool // takes no further question
}

// pending is a question under way. Nothing in it changes until the answer came.
type pending struct {
	q      *dns.Msg
	answer chan answered // takes one without waiting
	again  bool          // was repeated, so there may be two answers
}

type answered struct {
	msg *dns.Msg
	err error
}

// errRetired is that a socket takes no question; another one has to be used.
var errRetired = errors.New("socket takes no further question")

// errClosed is that a connection ended before it brought the answer.
var errClosed = errors.New("connection closed by the server")

func newSocket(conn net.Conn, stream bool) *socket {
	s := &socket{conn: conn, stream: stream, waiting: make(map[uint16]*pending)}
	go s.read()
	return s
}

// load is how many wait for an answer; ok is false if no more may.
func (s *socket) load() (live int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live, !s.retired
}

// ask sends q under an id of its own, which it sets, and waits for the answer
// that fits; a datagram is repeated meanwhile. errRetired means that nothing was
// sent.
func (s *socket) ask(ctx context.Context, q *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	p, err := s.enter(q)
	if err != nil {
		return nil, err
	}
	raw, err := s.pack(q)
	if err == nil {
		_, err = s.conn.Write(raw)
	}
	if err != nil {
		s.fail(err)
		return nil, err
	}
	wait := resendAfter
	if s.stream {
		wait = timeout
	}
	wait = min(wait, timeout)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case a := <-p.answer:
			return a.msg, a.err
		case <-ctx.Done():
			s.leave(q.Id, false)
			return nil, ctx.Err()
		case <-timer.C:
		}
		if timeout -= wait; timeout <= 0 {
			s.leave(q.Id, true)
			return nil, context.DeadlineExceeded
		}
		s.repeat(p, raw)
		wait = min(2*wait, timeout)
		timer.Reset(wait)
	}
}

// enter notes q as waiting, under a random id that no other question has (RFC
// 5452 section 9.2).
func (s *socket) enter(q *dns.Msg) (*pending, error) {
	p := &pending{q: q, answer: make(chan answered, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return nil, errRetired
	}
	for taken := true; taken; {
		q.Id = uint16(rand.Uint32()) // ChaCha8, seeded by the system
		_, taken = s.waiting[q.Id]
	}
	s.waiting[q.Id] = p
	s.live++
	s.asked++
	s.retired = s.asked >= s.questions()
	return p, nil
}

func (s *socket) questions() int {
	if s.stream {
		return streamQuestions
	}
	return datagramQuestions
}

// pack makes what goes over the wire of q.
func (s *socket) pack(q *dns.Msg) ([]byte, error) {
	raw, err := q.Pack()
	if err != nil || !s.stream {
		return raw, err
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...), nil
}

// repeat sends a datagram once more, under the same id: to ask anew would double
// the chance of whoever guesses. That it fails is found out by the reader.
func (s *socket) repeat(p *pending, raw []byte) {
	s.mu.Lock()
	p.again = true
	s.mu.Unlock()
	_, _ = s.conn.Write(raw)
}

// leave is that nobody waits for the answer to id any more. Where it did not
// come in time another port may do better.
func (s *socket) leave(id uint16, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[id] != nil {
		s.waiting[id] = nil
		s.live--
	}
	s.retired = s.retired || silent
	s.closeIfDone()
}

func (s *socket) closeIfDone() {
	if s.retired && s.live == 0 {
		s.conn.Close()
	}
}

// fail closes the socket and tells everyone who waits.
func (s *socket) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	for id, p := range s.waiting {
		if p != nil {
			p.answer <- answered{err: err}
		}
		delete(s.waiting, id)
	}
	s.live = 0
	s.conn.Close()
}

// read hands out what comes until the socket is closed.
func (s *socket) read() {
	buf := make([]byte, udpBuffer)
	life := datagramLife
	if s.stream {
		life = streamLife
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(life))
	in := &frames{conn: s.conn}
	for {
		b, err := s.receive(in, buf)
		var timeout net.Error
		switch {
		case err == nil:
			err = s.deliver(b)
		case errors.As(err, &timeout) && timeout.Timeout():
			s.retire()
			err = s.conn.SetReadDeadline(time.Now().Add(life))
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			err = errClosed
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *socket) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.closeIfDone()
}

func (s *socket) receive(in *frames, buf []byte) ([]byte, error) {
	if s.stream {
		return in.next()
	}
	n, err := s.conn.Read(buf)
	return buf[:n], err
}

// frames reads messages of a stream. A deadline in the middle of one loses
// nothing.
type frames struct {
	conn net.Conn
	buf  []byte // of the present one, its length included
}

func (f *frames) next() ([]byte, error) {
	if err := f.fill(2); err != nil {
		return nil, err
	}
	size := 2 + int(binary.BigEndian.Uint16(f.buf))
	if err := f.fill(size); err != nil {
		return nil, err
	}
	b := f.buf[2:size]
	f.buf = nil
	return b, nil
}

func (f *frames) fill(size int) error {
	for len(f.buf) < size {
		room := make([]byte, size-len(f.buf))
		n, err := f.conn.Read(room)
		f.buf = append(f.buf, room[:n]...)
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver gives a message to whoever waits for it. What fits no question is
// passed over; the error is that there was too much of it.
func (s *socket) deliver(b []byte) error {
	var id uint16
	if len(b) >= 2 {
		id = binary.BigEndian.Uint16(b)
	}
	s.mu.Lock()
	p, known := s.waiting[id]
	s.mu.Unlock()
	if known && p == nil {
		return nil // too late, or once more
	}
	err := errStray
	var m *dns.Msg
	if p != nil {
		m, err = fitting(b, p.q)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, errStray):
		if s.strays++; s.strays >= maxStrays {
			return fmt.Errorf("%w: only answers to other questions", errMalformed)
		}
	case s.waiting[id] == p:
		s.settle(id, p, answered{m, err})
	}
	return nil
}

// settle hands over the answer.
func (s *socket) settle(id uint16, p *pending, a answered) {
	delete(s.waiting, id)
	if p.again {
		s.waiting[id] = nil
	}
	s.live--
	p.answer <- a
	s.closeIfDone()
}
