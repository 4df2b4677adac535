//go:build race

package cloposauth_test

// The race detector allocates memory of its own.
const raceDetector = true
