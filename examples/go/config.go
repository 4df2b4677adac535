package cloposauth

/*
#include <clopos_auth.h>

typedef const char const_char;

// Exported by callbacks.go.
extern void cloposAuthLog(int32_t level, const_char *line, uintptr_t user);
extern void cloposAuthChanged(int32_t status, uintptr_t user);

static inline void CLOPOS_AUTH_CALL log_line(int32_t level, const char *line, void *user)
{
	cloposAuthLog(level, line, (uintptr_t)user);
}

static inline void CLOPOS_AUTH_CALL changed(int32_t status, void *user)
{
	cloposAuthChanged(status, (uintptr_t)user);
}

// cgo.Handle is an integer, which must not be in a Go pointer: it becomes one in C.
static inline clopos_auth_status set_log(clopos_auth_config *config, uintptr_t user,
                                         clopos_auth_error **err)
{
	return clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, log_line, (void *)user, err);
}

static inline clopos_auth_status set_on_change(clopos_auth_config *config, uintptr_t user,
                                               clopos_auth_error **err)
{
	return clopos_auth_config_set_on_change(config, changed, (void *)user, err);
}
*/
import "C"

import (
	"log/slog"
	"math"
	"runtime/cgo"
	"strings"
	"time"
	"unsafe"
)

// DefaultBaseURL is where the service is, unless Config.BaseURL says otherwise.
const DefaultBaseURL = "https://integrations.clopos.com"

// DefaultTimeout is Config.Timeout unless set.
const DefaultTimeout = 30 * time.Second

// Roots says which root certificates are trusted, beside Config.CAPEM.
type Roots int32

const (
	RootsBundled Roots = C.CLOPOS_AUTH_ROOTS_BUNDLED // Mozilla's, compiled into the library
	RootsSystem  Roots = C.CLOPOS_AUTH_ROOTS_SYSTEM  // the system's
	RootsNone    Roots = C.CLOPOS_AUTH_ROOTS_NONE    // none: with Config.CAPEM, pinning to it
)

// Config holds the credentials and settings of a client. The four texts at the top are as issued by Clopos; the zero value
// of everything else is its default. clopos_auth.h tells the limits of each field.
type Config struct {
	ClientID     string
	ClientSecret Secret
	Brand        string
	IntegratorID string

	BaseURL           string        // default: DefaultBaseURL
	AuthPath          string        // the path of the sign-in, after BaseURL; default: "/open-api/v2/auth"
	Timeout           time.Duration // how long a call may take whose context has no deadline; default: 30 s
	AttemptTimeout    time.Duration // how long one attempt may take; default: 10 s
	MaxAttempts       int           // of one exchange; default: 3
	RequestsPerMinute int           // at most, whatever the callers do; default: 12
	Roots             Roots         // default: RootsBundled
	CAPEM             []byte        // more root certificates: the content of a PEM file
	Proxy             Secret        // "environment" (the default), "none", or "http://[USER[:PASSWORD]@]HOST[:PORT]"
	UserAgent         string        // names the program: "MyTill/4.2"
	AllowPlainHTTP    bool          // also to other hosts than this device: for test benches only

	// Logger receives the library's log lines, none of which holds a secret. Its handler is called from
	// any goroutine, and never after Close has returned. A request waits while it runs: inside it call
	// TryToken, never Token or Authenticate of the same client, which may wait for that request. It may
	// close the client. If it panics, the line is lost and nothing else.
	Logger *slog.Logger `json:"-"`

	// OnChange is called when the client's state has changed: with nil when there is a new token,
	// otherwise with the [Status] of the request that has just failed; State tells more. The rules of Logger
	// apply. While it runs, a sign-in does not make its next attempt; calls that find a fresh token return it.
	// Calls of it may overlap. If it panics, Logger gets the stack. To wait for changes in a select, let it
	// send to a channel:
	//
	//	changed := make(chan struct{}, 1)
	//	config.OnChange = func(error) {
	//		select {
	//		case changed <- struct{}{}:
	//		default: // one is enough: the receiver looks at the client
	//		}
	//	}
	OnChange func(failure error) `json:"-"`
}

// timeout is how long a call without a deadline may take.
func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

// settings makes the C side of a Config; the caller frees it. user stands for the client's callbacks.
func (c Config) settings(user cgo.Handle) (*C.clopos_auth_config, error) {
	config := C.clopos_auth_config_new()
	if config == nil {
		return nil, newError(ErrInternal, "no memory for the settings")
	}
	proxy := cString(c.Proxy.Reveal())
	defer clear(proxy)
	var e *C.clopos_auth_error
	for _, setting := range []struct {
		given bool
		set   func() C.clopos_auth_status
	}{
		{c.BaseURL != "", func() C.clopos_auth_status {
			return C.clopos_auth_config_set_base_url(config, pointer(cString(c.BaseURL)), &e)
		}},
		{c.AuthPath != "", func() C.clopos_auth_status {
			return C.clopos_auth_config_set_auth_path(config, pointer(cString(c.AuthPath)), &e)
		}},
		{true, func() C.clopos_auth_status {
			return C.clopos_auth_config_set_timeout_ms(config, milliseconds(c.timeout()), &e)
		}},
		{c.AttemptTimeout != 0, func() C.clopos_auth_status {
			return C.clopos_auth_config_set_attempt_timeout_ms(config, milliseconds(c.AttemptTimeout), &e)
		}},
		{c.MaxAttempts != 0, func() C.clopos_auth_status {
			return C.clopos_auth_config_set_max_attempts(config, clamped(int64(c.MaxAttempts)), &e)
		}},
		{c.RequestsPerMinute != 0, func() C.clopos_auth_status {
			return C.clopos_auth_config_set_requests_per_minute(config, clamped(int64(c.RequestsPerMinute)), &e)
		}},
		{true, func() C.clopos_auth_status {
			return C.clopos_auth_config_set_roots(config, C.int32_t(c.Roots), &e)
		}},
		{len(c.CAPEM) != 0, func() C.clopos_auth_status {
			return C.clopos_auth_config_add_ca_pem(config, pointer(c.CAPEM), C.size_t(len(c.CAPEM)), &e)
		}},
		{len(proxy) > 1, func() C.clopos_auth_status {
			return C.clopos_auth_config_set_proxy(config, pointer(proxy), &e)
		}},
		{c.UserAgent != "", func() C.clopos_auth_status {
			return C.clopos_auth_config_set_user_agent(config, pointer(cString(c.UserAgent)), &e)
		}},
		{c.AllowPlainHTTP, func() C.clopos_auth_status {
			return C.clopos_auth_config_set_allow_plain_http(config, 1, &e)
		}},
		{c.Logger != nil, func() C.clopos_auth_status {
			return C.set_log(config, C.uintptr_t(user), &e)
		}},
		{true, func() C.clopos_auth_status {
			return C.set_on_change(config, C.uintptr_t(user), &e)
		}},
	} {
		if !setting.given {
			continue
		}
		if status := setting.set(); status != C.CLOPOS_AUTH_OK {
			C.clopos_auth_config_free(config)
			return nil, failure(status, e)
		}
	}
	return config, nil
}

// cString returns a text with a NUL at its end, in a single copy, which the caller clears if it is secret. A text
// with a NUL inside would end early in C: a control character goes there in its place, which the
// library refuses by name.
func cString(text string) []byte {
	if strings.IndexByte(text, 0) >= 0 {
		text = "\x01"
	}
	content := make([]byte, len(text)+1) // not append, which may move it and leave a copy behind
	copy(content, text)
	return content
}

// pointer is for calls that copy what they are given: C does not keep it.
func pointer(content []byte) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(content)))
}

// milliseconds rounds up: a positive time never becomes 0.
func milliseconds(d time.Duration) C.uint32_t {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return clamped(ms)
}

// clamped turns what is out of range into what the library refuses, or takes for very long.
func clamped(n int64) C.uint32_t {
	if n < 0 || n >= math.MaxUint32 {
		n = math.MaxUint32 - 1
	}
	return C.uint32_t(n)
}
