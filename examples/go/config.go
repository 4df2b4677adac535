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

// A cgo.Handle is an integer, which a Go pointer must not hold: it is converted to void * in C.
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

// DefaultBaseURL is the default of Config.BaseURL.
const DefaultBaseURL = "https://integrations.clopos.com"

// DefaultTimeout is the default of Config.Timeout.
const DefaultTimeout = 30 * time.Second

// Roots says which root certificates are trusted in addition to Config.CAPEM.
type Roots int32

const (
	RootsBundled Roots = C.CLOPOS_AUTH_ROOTS_BUNDLED // Mozilla's, compiled into the library
	RootsSystem  Roots = C.CLOPOS_AUTH_ROOTS_SYSTEM  // the system's certificate store
	RootsNone    Roots = C.CLOPOS_AUTH_ROOTS_NONE    // only Config.CAPEM; with a private CA this is pinning
)

// Config holds the credentials and settings of a client. The first three are the store's: its back office shows
// ClientID and ClientSecret. IntegratorID is issued by Clopos. The zero value of every other field is its default;
// clopos_auth.h has the details of each setting.
type Config struct {
	ClientID     string
	ClientSecret Secret
	Brand        string
	IntegratorID string

	BaseURL           string        // default: DefaultBaseURL
	AuthPath          string        // the path of the sign-in, which is added to BaseURL; default: "/open-api/v2/auth"
	Timeout           time.Duration // of a call whose context has no deadline: 1 ms to 1 h; default: 30 s
	AttemptTimeout    time.Duration // of one attempt: 1 ms to 10 min; default: 10 s
	MaxAttempts       int           // of one sign-in: 1 to 10; default: 3
	RequestsPerMinute int           // that can reach the service, at most, in any minute: 1 to 60; default: 12
	Roots             Roots         // default: RootsBundled
	CAPEM             []byte        // more root certificates: the content of a PEM file, 1 MiB at most
	Proxy             Secret        // "environment" (the default), "none", or "http://[USER[:PASSWORD]@]HOST[:PORT]"
	UserAgent         string        // names the program: 1 to 256 printable ASCII characters, "MyTill/4.2"
	AllowPlainHTTP    bool          // permits "http://" to other hosts, with the client secret unencrypted: for testing only

	// Logger receives the library's log lines, none of which contains a secret. Its handler is called on any
	// thread, and on several at the same time, until Close has returned. A sign-in waits while the handler
	// runs: inside it call TryToken, never Token or Authenticate of the same client, which would wait for
	// that sign-in. It may close its own client, and no other. If it panics, that line is lost. The client keeps
	// it alive: if it refers to the client, the garbage collector never closes that, so call Close.
	Logger *slog.Logger `json:"-"`

	// OnChange is called when TryToken would return something new: once each time that an attempt of the client
	// has ended, and if a sign-in has to wait before it can send one. failure is nil if there is a new token,
	// otherwise the [Status]: why the attempt failed or has to wait. The rules of Logger apply. If it panics,
	// Logger gets the stack. To wait for changes in a select, let it send to a channel:
	//
	//	changed := make(chan struct{}, 1)
	//	config.OnChange = func(error) {
	//		select {
	//		case changed <- struct{}{}:
	//		default: // one is enough: the receiver calls TryToken or State
	//		}
	//	}
	OnChange func(failure error) `json:"-"`
}

// timeout returns the timeout of calls whose context has no deadline.
func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

// settings converts a Config to one of C, which the caller frees. user is the handle of the client's
// callbacks.
func (c Config) settings(user cgo.Handle) (*C.clopos_auth_config, error) {
	config := C.clopos_auth_config_new()
	if config == nil {
		return nil, newError(ErrInternal, "no handle is left for the settings")
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

// cString returns a NUL-terminated copy of text. It is the only copy: the caller clears it if the text is
// secret. A text with a NUL inside would be truncated; a control character is passed instead, which the
// library refuses, naming the argument.
func cString(text string) []byte {
	if strings.IndexByte(text, 0) >= 0 {
		text = "\x01"
	}
	content := make([]byte, len(text)+1) // not append, which may move it and leave a copy behind
	copy(content, text)
	return content
}

// pointer is for calls that copy their arguments: C does not keep the pointer.
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

// clamped converts a number that does not fit to the largest: the library refuses that as a setting.
func clamped(n int64) C.uint32_t {
	if n < 0 || n >= math.MaxUint32 {
		n = math.MaxUint32 - 1
	}
	return C.uint32_t(n)
}
