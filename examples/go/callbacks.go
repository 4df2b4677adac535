package cloposauth

/*
#include <clopos_auth.h>

typedef const char const_char;
*/
import "C"

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/cgo"
	"runtime/debug"
)

// callbacks are the parts of a client that the C library's callbacks use. It does not refer to the Client:
// the garbage collector could never close that.
type callbacks struct {
	current
	news
	logger   *slog.Logger
	onChange func(error)
}

// cloposAuthLog passes a line of the library to the client's logger. user is the cgo.Handle of its callbacks.
//
//export cloposAuthLog
func cloposAuthLog(level C.int32_t, line *C.const_char, user C.uintptr_t) {
	// A panic of the handler cannot be logged.
	defer func() { _ = recover() }()
	logger := cgo.Handle(user).Value().(*callbacks).logger
	logger.Log(context.Background(), slogLevel(int32(level)), C.GoString(line))
}

// cloposAuthChanged receives a change: there is a new token (status 0), or why a request failed or has to wait.
//
//export cloposAuthChanged
func cloposAuthChanged(status C.int32_t, user C.uintptr_t) {
	c := cgo.Handle(user).Value().(*callbacks)
	// Wake the waiting goroutines first: OnChange may take long.
	if status == C.CLOPOS_AUTH_OK {
		c.forget()
		c.publish(func(s *seen) { s.tokens++ })
	} else {
		c.publish(func(s *seen) { s.failures++ })
	}
	if c.onChange == nil {
		return
	}
	defer c.reportPanic()
	if status == C.CLOPOS_AUTH_OK {
		c.onChange(nil)
	} else {
		c.onChange(Status(status))
	}
}

// reportPanic stops a panic of OnChange, which must not unwind the library's frames.
func (c *callbacks) reportPanic() {
	reason := recover()
	if reason == nil || c.logger == nil {
		return
	}
	defer func() { _ = recover() }()
	c.logger.Error("OnChange panicked", "panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
}

// slogLevel converts 1 (error) to 4 (debug) to the levels of slog, which are 4 apart.
func slogLevel(level int32) slog.Level {
	return slog.LevelError - 4*slog.Level(level-1)
}
