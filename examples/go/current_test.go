//go:build cgo

package cloposauth

import (
	"testing"
	"time"
)

func TestATokenIsReadUntilTheLibraryHasToBeAsked(t *testing.T) {
	at := reading{monotonic: time.Hour, wall: 1000 * time.Hour}
	k := &kept{token: Token{Type: "Bearer"}, at: at, left: time.Hour, fresh: 50 * time.Minute}
	for _, c := range []struct {
		monotonic, wall time.Duration // later
		left            time.Duration // 0: it is not read
	}{
		{0, 0, time.Hour},
		{49 * time.Minute, 49 * time.Minute, 11 * time.Minute},
		{50 * time.Minute, 50 * time.Minute, 0},
		{2 * time.Hour, 2 * time.Hour, 0},
		// The device slept for two hours, or for a second.
		{time.Minute, 121 * time.Minute, 0},
		{time.Minute, 61 * time.Second, 0},
		// Somebody set the date.
		{time.Minute, -time.Hour, 0},
		// The thread lost the processor for a moment.
		{time.Minute, time.Minute - 20*time.Millisecond, 59 * time.Minute},
	} {
		token, ok := k.read(reading{at.monotonic + c.monotonic, at.wall + c.wall})
		if ok != (c.left > 0) || token.ExpiresIn != c.left || ok && token.Type != "Bearer" {
			t.Error(c, token.ExpiresIn, ok)
		}
	}
	k.fresh = 0
	if _, ok := k.read(at); ok {
		t.Error("the library is always to be asked")
	}
}

func TestTheTwoClocksGoTogether(t *testing.T) {
	first := now()
	for range 1000 {
		if elapsed, known := now().since(first); !known || elapsed < 0 || elapsed > time.Minute {
			t.Fatal(elapsed, known)
		}
	}
}

func TestATokenThatWasForgottenMeanwhileIsNotKept(t *testing.T) {
	var c current
	a, b := &kept{serial: 1}, &kept{serial: 2}
	before := c.changes()
	c.put(a, before)
	if c.slot.Load() != a {
		t.Error("it is not kept")
	}
	c.put(b, before) // a newer one was kept since
	if c.slot.Load() != a {
		t.Error("an old one replaced it")
	}
	before = c.changes()
	c.forget()
	c.put(b, before)
	if c.slot.Load() != nil {
		t.Error("it came back")
	}
	c.forgetForEver()
	c.put(b, c.changes())
	if c.slot.Load() != nil {
		t.Error("a closed client keeps it")
	}
}
