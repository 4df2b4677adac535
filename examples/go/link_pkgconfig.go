//go:build clopos_auth_pkgconfig && !clopos_auth_static

package cloposauth

// #cgo pkg-config: clopos_auth
import "C"
