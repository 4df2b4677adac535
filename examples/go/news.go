//go:build cgo

package cloposauth

import "sync"

// news tells goroutines that wait what has happened to a client. The C library's callbacks write it, from
// any thread; nothing of C waits here, and no goroutine waits in C.
type news struct {
	mu      sync.Mutex
	latest  seen
	changed chan struct{} // closed at the next change; nil if nobody waits
}

// seen is what has happened up to some moment.
type seen struct {
	tokens   uint64 // how many tokens came
	failures uint64 // how many requests failed
	cancels  uint64 // how often the waiting calls were cancelled
	closed   bool
}

// look returns what has happened so far, and a channel that is closed when more does. Look before asking
// the library: then nothing is missed in between.
func (n *news) look() (seen, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.latest, n.changed
}

// publish changes what has happened and wakes all who wait.
func (n *news) publish(change func(*seen)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.latest)
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}
