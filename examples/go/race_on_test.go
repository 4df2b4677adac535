//go:build race

package cloposauth_test

// raceDetector: it needs memory of its own.
const raceDetector = true
