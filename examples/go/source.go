//go:build cgo

package cloposauth

import (
	"context"
	"sync/atomic"
)

// TokenSource is what a program needs from a [Client] to send requests. Depend on it where a test puts a
// [StaticSource] in place of the client. Any number of goroutines may use one at any time.
type TokenSource interface {
	// Token returns a token to use for one request.
	Token(ctx context.Context) (Token, error)
	// Invalidate reports a token that the service refused: Token does not return it again.
	Invalidate(refused Token) error
}

// StaticSource makes a TokenSource for tests that always returns this token, until it is invalidated:
// then ErrRejected, as from a client whose new tokens the service refuses. It sends no request.
func StaticSource(token Token) TokenSource {
	return &staticSource{token: token}
}

type staticSource struct {
	token   Token
	refused atomic.Bool
}

func (s *staticSource) Token(ctx context.Context) (Token, error) {
	if ctx.Err() != nil {
		return Token{}, contextError(ctx)
	}
	if s.refused.Load() {
		return Token{}, newError(ErrRejected, "the token was refused")
	}
	return s.token, nil
}

func (s *staticSource) Invalidate(refused Token) error {
	if refused.Value.Reveal() == s.token.Value.Reveal() {
		s.refused.Store(true)
	}
	return nil
}
