package cloposauth

/*
#include <clopos_auth.h>

// Returned by value: out parameters would be allocated by Go.
typedef struct answer {
	clopos_auth_status status;
	clopos_auth_token *token;
	clopos_auth_error *error;
	uint64_t serial;    // of the token
	int64_t expires_in; // of the token, in seconds
	int64_t left_ms;    // the same, where fresh_ms is not 0
	int64_t fresh_ms;   // until the library has to be asked again; 0: always
} answer;

// Says how long the token can be kept. Numbers are unique: if the token is the current one after the state
// was read, then it was when it was.
static void look_ahead(clopos_auth_client *client, answer *a)
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

static answer describe(clopos_auth_client *client, answer a, uint64_t known)
{
	if (a.token == NULL)
		return a;
	a.serial = a.token->serial;
	a.expires_in = a.token->expires_in;
	if (a.serial == known) {
		clopos_auth_token_free(a.token);
		a.token = NULL;
	} else {
		look_ahead(client, &a);
	}
	return a;
}

// Never waits. A token whose number is known already is not returned again.
static answer get_token(clopos_auth_client *client, uint64_t known)
{
	answer a = {CLOPOS_AUTH_OK, NULL, NULL, 0, 0, 0, 0};
	a.status = clopos_auth_get_token(client, 0, &a.token, &a.error);
	return describe(client, a, known);
}

static answer authenticate(clopos_auth_client *client)
{
	answer a = {CLOPOS_AUTH_OK, NULL, NULL, 0, 0, 0, 0};
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

// Client signs in and keeps the token. Any number of goroutines may use one at any time, and close it
// while others use it. Make one for the whole program. It is a [TokenSource].
type Client struct {
	resources
	*callbacks
	cleanup runtime.Cleanup
	closed  atomic.Bool
	asking  chan struct{} // holds the goroutine that asks the library
	baseURL string
	timeout time.Duration
}

// resources is what a client holds that the garbage collector knows nothing of.
type resources struct {
	handle    *C.clopos_auth_client // a key and not an address: harmless after it was freed
	reachable cgo.Handle            // the callbacks, for C
}

// Token is a token of the service, whose value goes into the header x-token as it is; [Transport] does
// that.
type Token struct {
	Value     Secret
	Type      string        // "Bearer", as the service says; x-token does not want it
	ExpiresAt time.Time     // on the server's clock
	ExpiresIn time.Duration // what was left when it was returned, whatever this device's date says
}

// LogValue shows all but the value, for log/slog.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Any("value", t.Value), slog.String("type", t.Type),
		slog.Time("expires_at", t.ExpiresAt), slog.Duration("expires_in", t.ExpiresIn))
}

// New makes a client. It sends nothing yet. Close the client at the end; one that is forgotten is
// closed by the garbage collector.
func New(config Config) (*Client, error) {
	c := &Client{
		callbacks: &callbacks{logger: config.Logger, onChange: config.OnChange},
		asking:    make(chan struct{}, 1),
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

// Token returns the current token: the cached one while it is fresh, immediately; otherwise it signs in.
// Call it before every request instead of keeping a token. It returns when ctx is done, or after
// Config.Timeout if ctx has no deadline; a request that is in progress goes on, for later calls.
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

// TryToken is like Token but does not wait: it fails with ErrWouldWait where Token would wait, after
// starting a request.
func (c *Client) TryToken() (Token, error) {
	r := now()
	known := c.slot.Load()
	if known != nil {
		if token, ok := known.read(r); ok {
			return token, nil
		}
		if _, clocksHold := r.since(known.at); !clocksHold {
			known = nil // kept anew, on the clocks as they are now
		}
	}
	var serial uint64
	if known != nil {
		serial = known.serial
	}
	changes := c.changes()
	answer := C.get_token(c.handle, C.uint64_t(serial))
	runtime.KeepAlive(c) // otherwise the collector may close it meanwhile
	if answer.status == C.CLOPOS_AUTH_OK && answer.token == nil {
		token := known.token
		token.ExpiresIn = seconds(answer.expires_in)
		return token, nil
	}
	return c.take(answer, r, changes)
}

// Authenticate signs in now, whatever is cached, or joins a sign-in that is in progress: for a button that
// tests the credentials. The new token replaces the cached one.
func (c *Client) Authenticate(ctx context.Context) (Token, error) {
	if ctx.Err() != nil {
		return Token{}, contextError(ctx)
	}
	before, _ := c.look()
	return c.wait(ctx, func(now seen) (Token, error) {
		if now.tokens != before.tokens {
			return c.TryToken() // it is here
		}
		return c.authenticate()
	})
}

func (c *Client) authenticate() (Token, error) {
	r, changes := now(), c.changes()
	answer := C.authenticate(c.handle)
	runtime.KeepAlive(c)
	return c.take(answer, r, changes)
}

// take makes a token or an error of what C returned, frees it and keeps the token for later calls.
func (c *Client) take(answer C.answer, asked reading, changes uint64) (Token, error) {
	if answer.token == nil {
		return Token{}, failure(answer.status, answer.error)
	}
	defer C.clopos_auth_token_free(answer.token)
	token := Token{
		Value:     NewSecret(C.GoStringN(answer.token.value, C.int(answer.token.value_len))),
		Type:      C.GoString(answer.token.token_type),
		ExpiresAt: time.Unix(int64(answer.token.expires_at), 0),
		ExpiresIn: seconds(answer.expires_in),
	}
	c.put(&kept{
		token: token, serial: uint64(answer.serial), at: asked,
		left: durationOf(answer.left_ms), fresh: durationOf(answer.fresh_ms),
	}, changes)
	return token, nil
}

// wait asks until there is a token, an error that waiting does not help against, or no time left. Neither
// asking nor waiting keeps a thread in C: the library says by a callback when it is worth asking again.
func (c *Client) wait(ctx context.Context, ask func(seen) (Token, error)) (Token, error) {
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
		token, err := c.askAlone(ctx, latest, ask)
		if err == nil {
			return token, nil
		}
		var again <-chan time.Time // nil: only a change makes another answer
		if !errors.Is(err, ErrWouldWait) {
			if errors.Is(err, ErrInvalidHandle) && !first.closed {
				continue // to say so
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

// askAlone asks when no other goroutine does: a call in C occupies a thread, if only for microseconds.
func (c *Client) askAlone(ctx context.Context, latest seen, ask func(seen) (Token, error)) (Token, error) {
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
		return ask(latest)
	case <-ctx.Done():
		return Token{}, contextError(ctx)
	}
}

// inFlight tells whether a sign-in is in progress, also while it waits for its next attempt.
func (c *Client) inFlight() bool {
	state, err := c.State()
	return err == nil && state.RequestInFlight
}

// retryableBefore tells whether a call that may take until deadline may still succeed after this error. The
// library does not wait where the date is wrong or something else answers, and neither does a call here.
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

// Invalidate forgets a token that the service refused. A newer one is kept, so any number of
// goroutines may report the same refusal.
func (c *Client) Invalidate(refused Token) error {
	value := cString(refused.Value.Reveal())
	defer clear(value)
	status := C.clopos_auth_invalidate(c.handle, pointer(value))
	runtime.KeepAlive(c)
	c.forget()
	return failure(status, nil)
}

// Cancel makes every call that is waiting now fail with ErrCancelled. The client stays usable.
func (c *Client) Cancel() error {
	c.publish(func(s *seen) { s.cancels++ })
	status := C.clopos_auth_cancel(c.handle)
	runtime.KeepAlive(c)
	return failure(status, nil)
}

// Close wipes the token and the secret. Calls that are waiting fail with ErrCancelled, later ones with
// ErrInvalidHandle. The error is always nil, and closing again does nothing; but of several goroutines
// that close a client at the same time, each waits until its logger and OnChange are not called any more.
func (c *Client) Close() error {
	first := !c.closed.Swap(true)
	c.publish(func(s *seen) { s.closed = true })
	c.forgetForEver()
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
