//go:build !cgo

package cloposauth

// The compiler's error shows this name if cgo is off: CGO_ENABLED is 0; or it is not set, and there is no C
// compiler or the program is for another platform.
var _ = cloposauth_needs_cgo__set_CGO_ENABLED_to_1_and_CC_to_a_C_compiler_for_this_platform
