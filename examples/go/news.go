//go:build cgo

package cloposauth

import "sync"

// news wakes the goroutines that wait for a change of a client. The C library's callbacks publish changes, on
// any thread; they never wait here.
type news struct {
	mu      sync.Mutex
	latest  seen
	changed chan struct{} // closed at the next change; nil if no goroutine waits
}

// seen counts the changes up to a moment.
type seen struct {
	tokens   uint64 // new tokens
	failures uint64 // failed requests
	cancels  uint64 // calls of Cancel
	closed   bool
}

// look returns the counts so far, and a channel that is closed at the next change. Call it before calling the
// library: then no change in between is missed.
func (n *news) look() (seen, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.latest, n.changed
}

// publish changes the counts and wakes all waiting goroutines.
func (n *news) publish(change func(*seen)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.latest)
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}
