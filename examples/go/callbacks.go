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

// callbacks is what the C library's callbacks reach. It does not refer to the Client, which the garbage
// collector could not close otherwise.
type callbacks struct {
	current
	news
	logger   *slog.Logger
	onChange func(error)
}

// cloposAuthLog hands a line of the library to the logger of the callbacks that user stands for.
//
//export cloposAuthLog
func cloposAuthLog(level C.int32_t, line *C.const_char, user C.uintptr_t) {
	// A handler that panics has nowhere to say so.
	defer func() { _ = recover() }()
	logger := cgo.Handle(user).Value().(*callbacks).logger
	logger.Log(context.Background(), slogLevel(int32(level)), C.GoString(line))
}

// cloposAuthChanged is told that there is a new token (status 0), or how the last request failed.
//
//export cloposAuthChanged
func cloposAuthChanged(status C.int32_t, user C.uintptr_t) {
	c := cgo.Handle(user).Value().(*callbacks)
	// First what waits here: the host's function may take its time.
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

// reportPanic ends a panic of the host's function, which must not unwind the library's frames.
func (c *callbacks) reportPanic() {
	reason := recover()
	if reason == nil || c.logger == nil {
		return
	}
	defer func() { _ = recover() }()
	c.logger.Error("OnChange panicked", "panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
}

// slogLevel turns 1 (error) to 4 (debug) into the levels of slog, whose steps are 4.
func slogLevel(level int32) slog.Level {
	return slog.LevelError - 4*slog.Level(level-1)
}
