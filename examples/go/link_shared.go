//go:build !clopos_auth_static && !clopos_auth_pkgconfig

package cloposauth

// #cgo LDFLAGS: -lclopos_auth
import "C"
