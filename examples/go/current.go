//go:build cgo

package cloposauth

import (
	"sync"
	"sync/atomic"
	"time"
)

// current keeps the client's token in Go while nothing needs to be decided about it, since a call of C
// costs more than reading it. What holds, and how:
//
//   - It is used only until the library would start to replace it, which is long before its end. From then
//     on every call asks the library, which starts the refresh and hands out the old token until its end.
//   - Time that the device sleeps counts, see reading.
//   - A refused token is gone when Invalidate returns, an old one when a new one is announced, and each when
//     the client is closed: forget removes it. A call that got it from the library before that cannot bring
//     it back: put keeps it only if nothing was put or forgotten since that call began, and nothing after
//     the client was closed.
type current struct {
	slot   atomic.Pointer[kept]
	mu     sync.Mutex
	change uint64 // of slot; only with mu
	closed bool   // only with mu
}

// kept is a token with what the library said of it.
type kept struct {
	token  Token
	serial uint64
	at     reading       // before the library was asked
	left   time.Duration // of its life, then
	fresh  time.Duration // until the library has to be asked again; 0 if always
}

// changes counts the changes so far, for put.
func (c *current) changes() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.change
}

// put keeps a token unless something has changed since changes were counted.
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

// forgetForEver is for a client that is being closed.
func (c *current) forgetForEver() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.forget()
}

// reading is a moment on two clocks: Go's monotonic one, which stops on most systems while the device
// sleeps, and the date, which does not. Their difference stays the same until the device sleeps or somebody
// sets the date.
type reading struct {
	monotonic, wall time.Duration
}

// start makes the monotonic clock's times readable.
var start = time.Now()

func now() reading {
	t := time.Now()
	return reading{t.Sub(start), time.Duration(t.UnixNano())}
}

// unexplained is how far the two clocks may move apart without a sleep: a thread may lose the processor
// between reading the one and the other. A token is given up this much earlier.
const unexplained = 100 * time.Millisecond

// since returns the time from earlier to r. It is not known after a sleep, or if the date was set.
func (r reading) since(earlier reading) (elapsed time.Duration, known bool) {
	elapsed = r.monotonic - earlier.monotonic
	apart := r.wall - earlier.wall - elapsed
	return elapsed, -unexplained < apart && apart < unexplained
}

// read returns the token with its time left at r, unless the library has to be asked.
func (k *kept) read(r reading) (Token, bool) {
	elapsed, known := r.since(k.at)
	if !known || elapsed+unexplained >= k.fresh {
		return Token{}, false
	}
	token := k.token
	token.ExpiresIn = k.left - elapsed
	return token, true
}
