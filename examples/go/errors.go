package cloposauth

/*
#include <clopos_auth.h>
*/
import "C"

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// Status says what kind of failure an [Error] is. It is an error, for use with [errors.Is]:
//
//	if errors.Is(err, cloposauth.ErrRejected) { showToTheUser(err) }
//
// A newer library may give numbers that are not listed here.
type Status int32

// The statuses of the C library; clopos_auth.h tells more about each.
const (
	ErrInvalidArgument Status = C.CLOPOS_AUTH_INVALID_ARGUMENT // the message names what is wrong
	ErrInvalidHandle   Status = C.CLOPOS_AUTH_INVALID_HANDLE   // the client is closed
	ErrBufferTooSmall  Status = C.CLOPOS_AUTH_BUFFER_TOO_SMALL // does not arise in Go
	ErrInternal        Status = C.CLOPOS_AUTH_INTERNAL         // a bug, or memory ran out
	ErrWouldWait       Status = C.CLOPOS_AUTH_WOULD_WAIT       // TryToken has none yet
	ErrCancelled       Status = C.CLOPOS_AUTH_CANCELLED        // by the context, Cancel or Close
	ErrTimeout         Status = C.CLOPOS_AUTH_TIMEOUT          // the context's deadline, Config.Timeout, or the service did not respond in time
	ErrDNS             Status = C.CLOPOS_AUTH_DNS              // no address for the service's name
	ErrConnect         Status = C.CLOPOS_AUTH_CONNECT          // no connection, or it broke
	ErrTLS             Status = C.CLOPOS_AUTH_TLS              // the server cannot be trusted
	ErrClock           Status = C.CLOPOS_AUTH_CLOCK            // this device's date is wrong, or the server's certificate has expired
	ErrProxy           Status = C.CLOPOS_AUTH_PROXY            // the proxy is unreachable or refused
	ErrRejected        Status = C.CLOPOS_AUTH_REJECTED         // the service refused the credentials, or a new token: see Error.Message
	ErrRateLimited     Status = C.CLOPOS_AUTH_RATE_LIMITED     // too many requests
	ErrServer          Status = C.CLOPOS_AUTH_SERVER           // the service failed
	ErrProtocol        Status = C.CLOPOS_AUTH_PROTOCOL         // no answer of the service's: a captive portal's?
)

// String is the name in the C header without its prefix: "REJECTED".
func (s Status) String() string {
	return C.GoString(C.clopos_auth_status_name(C.int32_t(s)))
}

// Error is the same as String.
func (s Status) Error() string {
	return s.String()
}

// Reason says why the service refused a sign-in, as far as its answer tells: for messages to people and
// for reports, not for decisions. A newer library may give numbers that are not listed here.
type Reason int32

// The reasons of the C library; clopos_auth.h tells more about each.
const (
	ReasonUnknown      Reason = C.CLOPOS_AUTH_REASON_UNKNOWN       // the answer does not tell, or it is no refusal
	ReasonCredentials  Reason = C.CLOPOS_AUTH_REASON_CREDENTIALS   // the store's client id, secret or brand is wrong
	ReasonIntegrator   Reason = C.CLOPOS_AUTH_REASON_INTEGRATOR    // the integrator is unknown or disabled: every store fails
	ReasonEnvironment  Reason = C.CLOPOS_AUTH_REASON_ENVIRONMENT   // a test integrator on a production brand, or the reverse
	ReasonDisabled     Reason = C.CLOPOS_AUTH_REASON_DISABLED      // the store switched its Open API access off
	ReasonMissingField Reason = C.CLOPOS_AUTH_REASON_MISSING_FIELD // a field of the request was missing or empty
)

// Error is what every function of this package that fails returns. [errors.Is] finds its Status in it, its
// Cause, and the standard error of the same meaning: [context.Canceled] in ErrCancelled,
// [context.DeadlineExceeded] in ErrTimeout and [fs.ErrClosed] in ErrInvalidHandle.
type Error struct {
	Status     Status
	HTTPStatus int           // of the response; 0 where there was none
	Retryable  bool          // the same call may succeed later without anybody changing anything
	RetryAfter time.Duration // until the next call can lead to a request; negative if not known
	ServerCode string        // the service's own identifier of the failure; empty if it gave none
	Reason     Reason        // why the service refused the credentials, if it did
	Message    string        // one line for a log, never with a secret
	Cause      error         // the context's, where that ended the call, see [context.Cause]; else nil
}

// Error is one line for a log: the status' name and the message.
func (e *Error) Error() string {
	return fmt.Sprintf("clopos: %s: %s", e.Status, e.Message)
}

// Unwrap returns the Status and the Cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Status}
	}
	return []error{e.Status, e.Cause}
}

// Timeout tells whether the time ran out, as [net.Error] does.
func (e *Error) Timeout() bool {
	return e.Status == ErrTimeout
}

// Is finds the standard library's errors that say the same.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Status == ErrCancelled
	case context.DeadlineExceeded:
		return e.Status == ErrTimeout
	case fs.ErrClosed:
		return e.Status == ErrInvalidHandle
	}
	return false
}

// failure makes an error of what a C function returned and frees it; nil if that was OK.
func failure(status C.clopos_auth_status, detail *C.clopos_auth_error) error {
	if status == C.CLOPOS_AUTH_OK {
		return nil
	}
	if detail == nil { // there was no memory for it
		return newError(Status(status), "no details available (out of memory)")
	}
	defer C.clopos_auth_error_free(detail)
	e := &Error{
		Status:     Status(status),
		HTTPStatus: int(detail.http_status),
		Retryable:  detail.retryable != 0,
		RetryAfter: -1,
		Message:    C.GoString(detail.message),
	}
	if detail.retry_after_ms >= 0 {
		e.RetryAfter = time.Duration(detail.retry_after_ms) * time.Millisecond
	}
	if C.clopos_auth_version_number() >= 0x010100 { // an older library's error ends before it
		e.Reason = Reason(detail.reason)
	}
	if detail.server_code != nil {
		e.ServerCode = C.GoString(detail.server_code)
	}
	return e
}

func newError(status Status, message string) *Error {
	return &Error{Status: status, RetryAfter: -1, Message: message}
}

// contextError says why ctx is done.
func contextError(ctx context.Context) error {
	e := newError(ErrCancelled, context.Cause(ctx).Error())
	e.Cause = context.Cause(ctx)
	if ctx.Err() == context.DeadlineExceeded {
		e.Status = ErrTimeout
	}
	e.Retryable = true
	return e
}
