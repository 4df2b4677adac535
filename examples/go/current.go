//go:build cgo

package cloposauth

import (
	"sync"
	"sync/atomic"
	"time"
)

// current keeps the client's token in Go, because a call of C costs more than reading it. Its rules:
//
//   - The token is used until it is due to be replaced, long before its expiry. From then on every call asks
//     the library, which starts the refresh and returns the old token meanwhile.
//   - The time that the device sleeps counts, see reading.
//   - forget removes a refused token before Invalidate returns, an old one when a new one is announced, and
//     any when the client is closed. A call that got the token from the library before that cannot bring it
//     back: put does nothing if the slot has changed since that call began, or the client is closed.
type current struct {
	slot   atomic.Pointer[kept]
	mu     sync.Mutex
	change uint64 // the number of changes of slot; guarded by mu
	closed bool   // guarded by mu
}

// kept is a token with its times.
type kept struct {
	token  Token
	serial uint64
	at     reading       // taken before the library was called
	left   time.Duration // until the token expires, from at
	fresh  time.Duration // how long the token may be returned, from at; 0: not at all
}

// changes returns the number of changes so far, for put.
func (c *current) changes() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.change
}

// put keeps a token, unless the slot has changed since changes was called.
func (c *current) put(k *kept, changes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.change == changes && !c.closed {
		c.change++
		c.slot.Store(k)
	}
}

func (c *current) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change++
	c.slot.Store(nil)
}

// closeSlot removes the token and keeps none from now on.
func (c *current) closeSlot() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.forget()
}

// reading is a time on two clocks: Go's monotonic one, which on most systems stops while the device sleeps,
// and the wall clock, which does not. Their difference changes only if the device sleeps or the date is set.
type reading struct {
	monotonic, wall time.Duration
}

// start is the zero of reading.monotonic.
var start = time.Now()

func now() reading {
	t := time.Now()
	return reading{t.Sub(start), time.Duration(t.UnixNano())}
}

// tolerance is how far the two clocks may move apart without a sleep: the thread may be interrupted between
// the two readings. A token is returned for this much less time.
const tolerance = 100 * time.Millisecond

// since returns the time from earlier to r. It is not known if the device slept or the date was set.
func (r reading) since(earlier reading) (elapsed time.Duration, known bool) {
	elapsed = r.monotonic - earlier.monotonic
	apart := r.wall - earlier.wall - elapsed
	return elapsed, -tolerance < apart && apart < tolerance
}

// read returns the token with the time left at r, unless the library has to be called.
func (k *kept) read(r reading) (Token, bool) {
	elapsed, known := r.since(k.at)
	if !known || elapsed+tolerance >= k.fresh {
		return Token{}, false
	}
	token := k.token
	token.ExpiresIn = k.left - elapsed
	return token, true
}
