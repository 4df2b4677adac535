//go:build clopos_auth_static && !clopos_auth_pkgconfig

package cloposauth

// Also links the system libraries that the static library needs. Only on Linux is the static library chosen
// if the shared library is in the same folder; elsewhere point CGO_LDFLAGS to a folder without the latter.

// #cgo linux LDFLAGS: -l:libclopos_auth.a -lpthread -lm -ldl
// #cgo darwin LDFLAGS: -lclopos_auth -framework Security -framework CoreFoundation
// #cgo windows LDFLAGS: -lclopos_auth -lcrypt32 -lws2_32 -luserenv -lntdll -lbcrypt
import "C"
