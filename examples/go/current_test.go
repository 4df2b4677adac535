//go:build cgo

package cloposauth

import (
	"testing"
	"time"
)

func TestAKeptTokenIsReturnedUntilItIsDueToBeReplaced(t *testing.T) {
	at := reading{monotonic: time.Hour, wall: 1000 * time.Hour}
	k := &kept{token: Token{Type: "Bearer"}, at: at, left: time.Hour, fresh: 50 * time.Minute}
	for _, c := range []struct {
		monotonic, wall time.Duration // later
		left            time.Duration // 0: it is not returned
	}{
		{0, 0, time.Hour},
		{49 * time.Minute, 49 * time.Minute, 11 * time.Minute},
		{50 * time.Minute, 50 * time.Minute, 0},
		{2 * time.Hour, 2 * time.Hour, 0},
		// The device slept for two hours, or for a second.
		{time.Minute, 121 * time.Minute, 0},
		{time.Minute, 61 * time.Second, 0},
		// The date was set.
		{time.Minute, -time.Hour, 0},
		// The thread was interrupted.
		{time.Minute, time.Minute - 20*time.Millisecond, 59 * time.Minute},
	} {
		token, ok := k.read(reading{at.monotonic + c.monotonic, at.wall + c.wall})
		if ok != (c.left > 0) || token.ExpiresIn != c.left || ok && token.Type != "Bearer" {
			t.Error(c, token.ExpiresIn, ok)
		}
	}
	k.fresh = 0
	if _, ok := k.read(at); ok {
		t.Error("it must not be returned")
	}
}

func TestTheTwoClocksAgreeWithoutASleep(t *testing.T) {
	first := now()
	for range 1000 {
		if elapsed, known := now().since(first); !known || elapsed < 0 || elapsed > time.Minute {
			t.Fatal(elapsed, known)
		}
	}
}

func TestATokenThatWasDroppedMeanwhileIsNotKept(t *testing.T) {
	var c current
	a, b := &kept{serial: 1}, &kept{serial: 2}
	before := c.changes()
	c.put(a, before)
	if c.slot.Load() != a {
		t.Error("it is not kept")
	}
	c.put(b, before) // a was kept since
	if c.slot.Load() != a {
		t.Error("an older one replaced it")
	}
	before = c.changes()
	c.forget()
	c.put(b, before)
	if c.slot.Load() != nil {
		t.Error("a dropped one was kept")
	}
	c.closeSlot()
	c.put(b, c.changes())
	if c.slot.Load() != nil {
		t.Error("a closed client keeps it")
	}
}
