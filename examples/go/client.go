package cloposauth

/*
#include <clopos_auth.h>

// Returned by value: out parameters would be allocated by Go.
typedef struct outcome {
	clopos_auth_status status;
	clopos_auth_token *token;
	clopos_auth_error *error;
	uint64_t serial;    // of the token
	int64_t expires_in; // of the token, in seconds
	int64_t left_ms;    // until the token expires, if fresh_ms is not 0
	int64_t fresh_ms;   // how long the token may be returned without calling C again
} outcome;

// Sets left_ms and fresh_ms, if the state is the token's: no two tokens have the same serial, so a token
// that is current after the state was read was current then.
static void add_times(clopos_auth_client *client, outcome *a)
{
	clopos_auth_state *state = NULL;
	if (clopos_auth_get_state(client, &state, NULL) != CLOPOS_AUTH_OK)
		return;
	if (state->refresh_in_ms > 0 && clopos_auth_current(client, NULL) == a->serial) {
		a->left_ms = state->expires_in_ms;
		a->fresh_ms = state->refresh_in_ms;
	}
	clopos_auth_state_free(state);
}

// Completes an outcome. A token with the serial `known` is freed: the caller has it already.
static outcome describe(clopos_auth_client *client, outcome a, uint64_t known)
{
	if (a.token == NULL)
		return a;
	a.serial = a.token->serial;
	a.expires_in = a.token->expires_in;
	if (a.serial == known) {
		clopos_auth_token_free(a.token);
		a.token = NULL;
	} else {
		add_times(client, &a);
	}
	return a;
}

// Does not wait.
static outcome get_token(clopos_auth_client *client, uint64_t known)
{
	outcome a = {CLOPOS_AUTH_OK, NULL, NULL, 0, 0, 0, 0};
	a.status = clopos_auth_get_token(client, 0, &a.token, &a.error);
	return describe(client, a, known);
}

// Does not wait.
static outcome authenticate(clopos_auth_client *client)
{
	outcome a = {CLOPOS_AUTH_OK, NULL, NULL, 0, 0, 0, 0};
	a.status = clopos_auth_authenticate(client, 0, &a.token, &a.error);
	return describe(client, a, 0);
}
*/
import "C"

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/cgo"
	"sync/atomic"
	"time"
)

// Client signs in to the service and keeps the token. Make one for the whole program. Any number of
// goroutines may use it at the same time, and one may close it while others use it. It is a [TokenSource].
type Client struct {
	resources
	*callbacks
	cleanup runtime.Cleanup
	closed  atomic.Bool
	calling chan struct{} // full while a goroutine calls the library
	baseURL string
	timeout time.Duration
}

// resources are those parts of a client that the garbage collector does not free.
type resources struct {
	handle    *C.clopos_auth_client // a key, not an address: a freed one is only refused
	reachable cgo.Handle            // the callbacks, for C
}

// Token is a token of the service.
type Token struct {
	Value     Secret        // send it unchanged in the header x-token, as [Transport] does
	Type      string        // "Bearer"; do not send it in x-token
	ExpiresAt time.Time     // the expiry time, by the server's clock; this device's may differ
	ExpiresIn time.Duration // the remaining time when the token was returned; independent of the device's date
}

// LogValue returns all fields but the value, for log/slog.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Any("value", t.Value), slog.String("type", t.Type),
		slog.Time("expires_at", t.ExpiresAt), slog.Duration("expires_in", t.ExpiresIn))
}

// New makes a client. It sends nothing yet. Close the client at the end; the garbage collector closes a
// client that is no longer reachable, unless its Logger or OnChange refers to it. New fails with
// ErrInvalidArgument if a field of config is not valid (the message names it), ErrProxy if the proxy of the
// environment cannot be used, or ErrInternal.
func New(config Config) (*Client, error) {
	c := &Client{
		callbacks: &callbacks{logger: config.Logger, onChange: config.OnChange},
		calling:   make(chan struct{}, 1),
		baseURL:   config.BaseURL,
		timeout:   config.timeout(),
	}
	if c.baseURL == "" {
		c.baseURL = DefaultBaseURL
	}
	c.reachable = cgo.NewHandle(c.callbacks)
	if err := c.open(config); err != nil {
		c.release()
		return nil, err
	}
	c.cleanup = runtime.AddCleanup(c, resources.release, c.resources)
	return c, nil
}

func (r *resources) open(config Config) error {
	settings, err := config.settings(r.reachable)
	if err != nil {
		return err
	}
	defer C.clopos_auth_config_free(settings)
	secret := cString(config.ClientSecret.Reveal())
	defer clear(secret)
	var e *C.clopos_auth_error
	status := C.clopos_auth_client_new(
		pointer(cString(config.ClientID)), pointer(secret), pointer(cString(config.Brand)),
		pointer(cString(config.IntegratorID)), settings, &r.handle, &e)
	return failure(status, e)
}

func (r resources) release() {
	C.clopos_auth_client_free(r.handle)
	r.reachable.Delete() // the library makes no more callbacks
}

// Token returns the cached token if it is fresh, immediately; otherwise it requests a new one. Call it
// before every request instead of keeping a token. It waits until ctx is done, or for Config.Timeout if ctx
// has no deadline; the sign-in then continues, and later calls can use its result. The error is
// an *[Error].
func (c *Client) Token(ctx context.Context) (Token, error) {
	if ctx.Err() != nil {
		return Token{}, contextError(ctx)
	}
	if k := c.slot.Load(); k != nil {
		if token, ok := k.read(now()); ok {
			return token, nil
		}
	}
	return c.wait(ctx, func(seen) (Token, error) { return c.TryToken() })
}

// TryToken is like Token but does not wait: without a token it starts or joins a sign-in and returns
// ErrWouldWait, or the last error while no request may be sent. A loop of calls must wait for its RetryAfter.
func (c *Client) TryToken() (Token, error) {
	r := now()
	known := c.slot.Load()
	if known != nil {
		if token, ok := known.read(r); ok {
			return token, nil
		}
		if _, clocksHold := r.since(known.at); !clocksHold {
			known = nil // after a sleep or a change of the date: keep it again, with the clocks of now
		}
	}
	var serial uint64
	if known != nil {
		serial = known.serial
	}
	changes := c.changes()
	outcome := C.get_token(c.handle, C.uint64_t(serial))
	runtime.KeepAlive(c) // otherwise the collector may close it meanwhile
	if outcome.status == C.CLOPOS_AUTH_OK && outcome.token == nil {
		token := known.token
		token.ExpiresIn = seconds(outcome.expires_in)
		return token, nil
	}
	return c.take(outcome, r, changes)
}

// Authenticate signs in now: it requests a new token even if one is cached, or joins a sign-in that is
// running. The new token replaces the cached one. It is for a button that tests the credentials. It waits
// and fails like Token.
func (c *Client) Authenticate(ctx context.Context) (Token, error) {
	if ctx.Err() != nil {
		return Token{}, contextError(ctx)
	}
	older := uint64(C.clopos_auth_current(c.handle, nil))
	if k := c.slot.Load(); k != nil && older == 0 {
		older = k.serial // due to be replaced, so not current
	}
	before, _ := c.look()
	return c.wait(ctx, func(latest seen) (Token, error) {
		if latest.tokens != before.tokens {
			return c.newToken(older) // a sign-in has succeeded
		}
		return c.authenticate()
	})
}

// newToken returns the token of the sign-in that has succeeded. A token with the serial older is no result: the
// change of an earlier sign-in may come late, while the one that Authenticate waits for is running.
func (c *Client) newToken(older uint64) (Token, error) {
	r, changes := now(), c.changes()
	outcome := C.get_token(c.handle, C.uint64_t(older))
	runtime.KeepAlive(c)
	if outcome.status == C.CLOPOS_AUTH_OK && outcome.token == nil {
		return c.authenticate()
	}
	return c.take(outcome, r, changes)
}

func (c *Client) authenticate() (Token, error) {
	r, changes := now(), c.changes()
	outcome := C.authenticate(c.handle)
	runtime.KeepAlive(c)
	return c.take(outcome, r, changes)
}

// take converts the outcome to a token or an error, frees it, and keeps the token for later calls.
func (c *Client) take(outcome C.outcome, start reading, changes uint64) (Token, error) {
	if outcome.token == nil {
		return Token{}, failure(outcome.status, outcome.error)
	}
	defer C.clopos_auth_token_free(outcome.token)
	token := Token{
		Value:     NewSecret(C.GoStringN(outcome.token.value, C.int(outcome.token.value_len))),
		Type:      C.GoString(outcome.token.token_type),
		ExpiresAt: time.Unix(int64(outcome.token.expires_at), 0),
		ExpiresIn: seconds(outcome.expires_in),
	}
	c.put(&kept{
		token: token, serial: uint64(outcome.serial), at: start,
		left: durationOf(outcome.left_ms), fresh: durationOf(outcome.fresh_ms),
	}, changes)
	return token, nil
}

// wait calls try until it returns a token or an error that waiting does not remove, or until ctx is done.
// Between the calls it waits in Go, for a callback of the library.
func (c *Client) wait(ctx context.Context, try func(seen) (Token, error)) (Token, error) {
	deadline, ok := ctx.Deadline()
	if !ok { // a context with a deadline has its own cause
		deadline = time.Now().Add(c.timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	first, _ := c.look()
	for {
		latest, changed := c.look()
		if latest.closed && !first.closed {
			return Token{}, newError(ErrCancelled, "the client was closed during the call")
		}
		if latest.cancels != first.cancels {
			return Token{}, newError(ErrCancelled, "the call was cancelled")
		}
		token, err := c.callAlone(ctx, latest, try)
		if err == nil {
			return token, nil
		}
		var again <-chan time.Time // nil: only a change can alter the result
		if !errors.Is(err, ErrWouldWait) {
			if errors.Is(err, ErrInvalidHandle) && !first.closed {
				continue // the next round returns ErrCancelled
			}
			if !retryableBefore(err, deadline) {
				return Token{}, err
			}
			if !c.inFlight() {
				if latest.failures != first.failures {
					return Token{}, err // the sign-in that this call waited for
				}
				again = time.After(max(err.(*Error).RetryAfter, time.Millisecond))
			}
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return Token{}, contextError(ctx)
		}
	}
}

// callAlone calls try while no other goroutine does: a call of C occupies a thread, if only for microseconds.
func (c *Client) callAlone(ctx context.Context, latest seen, try func(seen) (Token, error)) (Token, error) {
	select {
	case c.calling <- struct{}{}:
		defer func() { <-c.calling }()
		return try(latest)
	case <-ctx.Done():
		return Token{}, contextError(ctx)
	}
}

// inFlight reports whether a sign-in is running: it sends a request, or waits before its next attempt.
func (c *Client) inFlight() bool {
	state, err := c.State()
	return err == nil && state.RequestInFlight
}

// retryableBefore reports whether a call that may wait until deadline waits after this error. Like the
// library it does not wait after ErrClock, ErrProtocol and ErrRejected, although they may be retryable.
func retryableBefore(err error, deadline time.Time) bool {
	e, ok := err.(*Error)
	if !ok || !e.Retryable || e.RetryAfter < 0 {
		return false
	}
	switch e.Status {
	case ErrCancelled, ErrClock, ErrProtocol, ErrRejected:
		return false
	}
	return time.Now().Add(e.RetryAfter).Before(deadline)
}

// Invalidate drops the cached token because the service refused it: the next call requests a new one. Call it
// if another endpoint answers HTTP 401 and the body contains "Invalid token" or "Token expired"; any other 401
// is not about the token. It drops only that token: many goroutines may report the same 401, and a late report
// does not drop a newer token. If tokens are refused soon after their issue, calls that need one return
// ErrRejected, retryable, for a while: see clopos_auth_invalidate in clopos_auth.h. It never waits.
func (c *Client) Invalidate(refused Token) error {
	value := cString(refused.Value.Reveal())
	defer clear(value)
	status := C.clopos_auth_invalidate(c.handle, pointer(value))
	runtime.KeepAlive(c)
	c.forget()
	return failure(status, nil)
}

// Cancel makes every waiting call fail with ErrCancelled. The sign-in continues, and later calls
// can use its result; the client stays usable. It never waits.
func (c *Client) Cancel() error {
	c.publish(func(s *seen) { s.cancels++ })
	status := C.clopos_auth_cancel(c.handle)
	runtime.KeepAlive(c)
	return failure(status, nil)
}

// Close wipes the library's copies of the token and the secret. Waiting calls fail with ErrCancelled, later
// ones with ErrInvalidHandle. It waits only while the logger or OnChange of this client runs on another
// thread; afterwards neither is called again. If several goroutines close a client at the same time, this
// is true for each. Closing again does nothing. The error is always nil.
func (c *Client) Close() error {
	first := !c.closed.Swap(true)
	c.publish(func(s *seen) { s.closed = true })
	c.closeSlot()
	C.clopos_auth_client_free(c.handle)
	if first {
		c.cleanup.Stop()
		c.release()
	}
	runtime.KeepAlive(c)
	return nil
}

func seconds(n C.int64_t) time.Duration {
	return time.Duration(n) * time.Second
}
