//go:build cgo

package cloposauth

import (
	"context"
	"sync/atomic"
)

// TokenSource is the part of a [Client] that code needs to send requests. Code that takes a TokenSource can be
// tested with a [StaticSource]. Any number of goroutines may use one at the same time.
type TokenSource interface {
	// Token returns a token for one request.
	Token(ctx context.Context) (Token, error)
	// Invalidate reports a token that the service refused: Token does not return it again.
	Invalidate(refused Token) error
}

// StaticSource returns a TokenSource for tests. It returns this token until that is invalidated, afterwards
// ErrRejected, like a client whose new tokens the service refuses. It sends no request.
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
