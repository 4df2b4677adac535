package cloposauth

/*
#include <stdint.h>

typedef const char const_char;
*/
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
)

// cloposAuthLog hands a line of the library to the logger that user stands for.
//
//export cloposAuthLog
func cloposAuthLog(level C.int32_t, line *C.const_char, user C.uintptr_t) {
	logger := cgo.Handle(user).Value().(*slog.Logger)
	logger.Log(context.Background(), slogLevel(int32(level)), C.GoString(line))
}

// slogLevel turns 1 (error) to 4 (debug) into the levels of slog, whose steps are 4.
func slogLevel(level int32) slog.Level {
	return slog.LevelError - 4*slog.Level(level-1)
}
