//go:build cgo

package cloposauth

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that is not shown. Whatever prints, logs or encodes one, alone or inside of other
// values, writes "***"; in an unexported field, where its methods cannot be called, an address. Only
// Reveal gives the text.
type Secret struct {
	reveal func() string // nil for the empty text; a function is opaque to reflection, too
}

// NewSecret makes a Secret of a text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return text }}
}

// Reveal gives the text.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String is "***", or empty if the text is.
func (s Secret) String() string {
	if s.reveal == nil {
		return ""
	}
	return "***"
}

// Format writes String for every verb.
func (s Secret) Format(state fmt.State, _ rune) {
	io.WriteString(state, s.String())
}

// LogValue is String, for log/slog.
func (s Secret) LogValue() slog.Value {
	return slog.StringValue(s.String())
}

// MarshalText gives String, to encoding/json for example.
func (s Secret) MarshalText() ([]byte, error) {
	return []byte(s.String()), nil
}

// UnmarshalText takes the text itself: a Secret can be read from a file, and is never written to one.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
