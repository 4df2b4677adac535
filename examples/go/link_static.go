//go:build clopos_auth_static && !clopos_auth_pkgconfig

package cloposauth

// Beside the static library come those of the system that it uses. Only on Linux can the linker be
// told to take it where the shared one is, too: elsewhere let CGO_LDFLAGS name a folder without that.

// #cgo linux LDFLAGS: -l:libclopos_auth.a -lpthread -lm -ldl
// #cgo darwin LDFLAGS: -lclopos_auth -framework Security -framework CoreFoundation
// #cgo windows LDFLAGS: -lclopos_auth -lcrypt32 -lws2_32 -luserenv -lntdll -lbcrypt
import "C"
