//go:build !race

package cloposauth_test

const raceDetector = false
