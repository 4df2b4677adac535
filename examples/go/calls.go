package cloposauth

/*
#include <stdint.h>
*/
import "C"

import (
	"context"
	"errors"
	"sync"
	"time"
)

// calls lets any number of goroutines wait for one C call, since each that waits occupies a thread and
// cannot be broken off for one context alone. The call has the patience of the goroutine that began it.
type calls struct {
	mu      sync.Mutex
	current *call
}

type call struct {
	deadline time.Time
	done     chan struct{} // closed when the results are there
	token    Token
	err      error
}

// wait waits for the call that is under way, or begins one.
func (s *calls) wait(ctx context.Context, deadline time.Time, begin func(C.uint32_t) (Token, error)) (Token, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for {
		joined := s.join(deadline, begin)
		select {
		case <-joined.done:
			// Where only the other one's patience ended, this one has another go with its own.
			if joined.err == nil || worthWaiting(joined.err, joined.deadline) || !worthWaiting(joined.err, deadline) {
				return joined.token, joined.err
			}
		case <-ctx.Done():
			return Token{}, contextError(ctx)
		}
	}
}

func (s *calls) join(deadline time.Time, begin func(C.uint32_t) (Token, error)) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		begun := &call{deadline: deadline, done: make(chan struct{})}
		s.current = begun
		go func() {
			// Whoever began it may have run out of time since: that is not for ever, which is what the
			// library would take a negative number for, and not nothing, which would not wait at all.
			begun.token, begun.err = begin(milliseconds(max(time.Until(deadline), time.Millisecond)))
			s.mu.Lock()
			s.current = nil
			s.mu.Unlock()
			close(begun.done)
		}()
	}
	return s.current
}

// worthWaiting tells whether a call that may take until deadline may still succeed after this error.
func worthWaiting(err error, deadline time.Time) bool {
	var e *Error
	if !errors.As(err, &e) || !e.Retryable || e.Status == ErrCancelled {
		return false
	}
	return time.Now().Add(max(e.RetryAfter, 0)).Before(deadline)
}
