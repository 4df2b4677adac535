//go:build cgo

package cloposauth

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that is printed, logged and encoded as "***", alone and inside other values (as an address
// in an unexported field, whose methods fmt cannot call). Only Reveal returns the text.
type Secret struct {
	reveal func() string // nil for the empty text; reflection cannot look into a function
}

// NewSecret makes a Secret of a text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return text }}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String returns "***", or "" if the text is empty.
func (s Secret) String() string {
	if s.reveal == nil {
		return ""
	}
	return "***"
}

// Format writes the result of String, whatever the verb is.
func (s Secret) Format(state fmt.State, _ rune) {
	io.WriteString(state, s.String())
}

// LogValue returns the result of String, for log/slog.
func (s Secret) LogValue() slog.Value {
	return slog.StringValue(s.String())
}

// MarshalText returns the result of String, for encoding/json and others.
func (s Secret) MarshalText() ([]byte, error) {
	return []byte(s.String()), nil
}

// UnmarshalText sets the text: a Secret can be read from a file, but is never written to one.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
