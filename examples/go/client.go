package cloposauth

/*
#include <string.h>

#include <clopos_auth.h>

// In one piece: places for C to write to would be allocations of Go's.
typedef struct answer {
	clopos_auth_status status;
	clopos_auth_token *token;
	clopos_auth_error *error;
	int is_last; // the token has the value that was asked with, and is freed already
	int64_t expires_at;
	int64_t expires_in;
} answer;

static answer get_token(clopos_auth_client *client, uint32_t timeout_ms, const char *last, size_t last_len)
{
	answer a = {CLOPOS_AUTH_OK, NULL, NULL, 0, 0, 0};
	a.status = clopos_auth_get_token(client, timeout_ms, &a.token, &a.error);
	if (a.token != NULL && a.token->value_len == last_len && memcmp(a.token->value, last, last_len) == 0) {
		a.is_last = 1;
		a.expires_at = a.token->expires_at;
		a.expires_in = a.token->expires_in;
		clopos_auth_token_free(a.token);
		a.token = NULL;
	}
	return a;
}
*/
import "C"

import (
	"context"
	"errors"
	"runtime"
	"runtime/cgo"
	"sync/atomic"
	"time"
	"unsafe"
)

// Client signs in and keeps the token. Any number of goroutines may use one at any time, and close it
// while others use it. Make one for the whole program.
type Client struct {
	resources
	cleanup runtime.Cleanup
	closed  atomic.Bool
	last    atomic.Pointer[Token] // that was handed out; dropped by Close
	baseURL string
	timeout time.Duration
	tokens  calls // to getToken
	signIns calls // to authenticate
}

// resources is what a client holds that the garbage collector knows nothing of.
type resources struct {
	handle *C.clopos_auth_client // a key and not an address: harmless after it was freed
	logger cgo.Handle            // 0 for none
}

// Token is a token of the service, whose value goes into the header x-token as it is; [Transport] does
// that.
type Token struct {
	Value     Secret
	Type      string        // "Bearer", as the service says; x-token does not want it
	ExpiresAt time.Time     // on the server's clock
	ExpiresIn time.Duration // what was left when it was returned, whatever this device's date says
}

// New makes a client. It sends nothing yet. Close the client at the end; one that is forgotten is
// closed by the garbage collector.
func New(config Config) (*Client, error) {
	var owned resources
	if config.Logger != nil {
		owned.logger = cgo.NewHandle(config.Logger)
	}
	if err := owned.open(config); err != nil {
		owned.release()
		return nil, err
	}
	c := &Client{resources: owned, baseURL: config.BaseURL, timeout: config.timeout()}
	if c.baseURL == "" {
		c.baseURL = DefaultBaseURL
	}
	c.cleanup = runtime.AddCleanup(c, resources.release, owned)
	return c, nil
}

func (r *resources) open(config Config) error {
	settings, err := config.settings(r.logger)
	if err != nil {
		return err
	}
	defer C.clopos_auth_config_free(settings)
	secret := terminated(config.ClientSecret.Reveal())
	defer clear(secret)
	var e *C.clopos_auth_error
	status := C.clopos_auth_client_new(
		pointer(terminated(config.ClientID)), pointer(secret), pointer(terminated(config.Brand)),
		pointer(terminated(config.IntegratorID)), settings, &r.handle, &e)
	return failure(status, e)
}

func (r resources) release() {
	C.clopos_auth_client_free(r.handle)
	if r.logger != 0 {
		r.logger.Delete() // the library does not call it any more
	}
}

// Token gets the current token: the cached one while it is fresh, at once; else it asks the service.
// Call it before every request instead of keeping a token. It gives up when ctx does, or after
// Config.Timeout if that has no deadline; a request that is under way goes on, for later calls.
func (c *Client) Token(ctx context.Context) (Token, error) {
	if ctx.Err() != nil {
		return Token{}, contextError(ctx)
	}
	deadline := c.deadline(ctx)
	// Before the first token a look at the cache would only start a request, which may have failed by the
	// time that this call waits for it.
	if c.last.Load() != nil || c.closed.Load() {
		token, err := c.TryToken()
		// Where there is no time left to wait, it is the context that says so.
		if err == nil || !errors.Is(err, ErrWouldWait) && !worthWaiting(err, deadline) {
			return token, err
		}
	}
	token, err := c.tokens.wait(ctx, deadline, c.getToken)
	if errors.Is(err, ErrInvalidHandle) { // it was open when this call began
		err = newError(ErrCancelled, "the client was closed during the call")
	}
	return token, err
}

// TryToken is Token for those who never wait: it fails with ErrWouldWait where Token would, after
// starting a request.
func (c *Client) TryToken() (Token, error) {
	return c.getToken(0)
}

// Authenticate signs in now, whatever is cached, or joins a request that is already under way: for a
// button that tests the credentials. The new token replaces the cached one.
func (c *Client) Authenticate(ctx context.Context) (Token, error) {
	if ctx.Err() != nil {
		return Token{}, contextError(ctx)
	}
	return c.signIns.wait(ctx, c.deadline(ctx), c.authenticate)
}

// Invalidate forgets a token that the service refused. A newer one is kept, so any number of
// goroutines may report the same refusal.
func (c *Client) Invalidate(refused Token) error {
	defer runtime.KeepAlive(c)
	value := terminated(refused.Value.Reveal())
	defer clear(value)
	return failure(C.clopos_auth_invalidate(c.handle, pointer(value)), nil)
}

// Cancel makes every call that is waiting now fail with ErrCancelled. The client stays usable.
func (c *Client) Cancel() error {
	defer runtime.KeepAlive(c)
	return failure(C.clopos_auth_cancel(c.handle), nil)
}

// Close wipes the token and the secret. Calls that are waiting fail with ErrCancelled, later ones with
// ErrInvalidHandle. The error is always nil, and closing again does nothing; but of several goroutines
// that close a client at once, each waits until its logger is not called any more.
func (c *Client) Close() error {
	first := !c.closed.Swap(true)
	c.last.Store(nil)
	C.clopos_auth_client_free(c.handle)
	if first {
		c.cleanup.Stop()
		c.release()
	}
	runtime.KeepAlive(c)
	return nil
}

func (c *Client) deadline(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(c.timeout)
}

func (c *Client) getToken(ms C.uint32_t) (Token, error) {
	var last Token
	if l := c.last.Load(); l != nil {
		last = *l
	}
	text := last.Value.Reveal()
	value := (*C.char)(unsafe.Pointer(unsafe.StringData(text)))
	answer := C.get_token(c.handle, ms, value, C.size_t(len(text)))
	runtime.KeepAlive(c) // else the collector may close it meanwhile
	if answer.is_last != 0 {
		last.ExpiresAt, last.ExpiresIn = time.Unix(int64(answer.expires_at), 0), seconds(answer.expires_in)
		return last, nil
	}
	if answer.token != nil {
		token := taken(answer.token)
		c.keep(token)
		return token, nil
	}
	return Token{}, failure(answer.status, answer.error)
}

// keep spares later calls a copy: garbage is most of what a cached token costs.
func (c *Client) keep(token Token) {
	c.last.Store(&token)
	if c.closed.Load() { // meanwhile: it does not stay
		c.last.Store(nil)
	}
}

func seconds(n C.int64_t) time.Duration {
	return time.Duration(n) * time.Second
}

func (c *Client) authenticate(ms C.uint32_t) (Token, error) {
	var token *C.clopos_auth_token
	var e *C.clopos_auth_error
	status := C.clopos_auth_authenticate(c.handle, ms, &token, &e)
	runtime.KeepAlive(c)
	return taken(token), failure(status, e)
}

// taken copies a token and frees it.
func taken(token *C.clopos_auth_token) Token {
	if token == nil {
		return Token{}
	}
	defer C.clopos_auth_token_free(token)
	return Token{
		Value:     NewSecret(C.GoStringN(token.value, C.int(token.value_len))),
		Type:      C.GoString(token.token_type),
		ExpiresAt: time.Unix(int64(token.expires_at), 0),
		ExpiresIn: seconds(token.expires_in),
	}
}
