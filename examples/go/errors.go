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
// A newer library may return a number that is not listed here.
type Status int32

// The statuses of the C library; clopos_auth.h has the details.
const (
	ErrInvalidArgument Status = C.CLOPOS_AUTH_INVALID_ARGUMENT // a field of Config is not valid; the message names it
	ErrInvalidHandle   Status = C.CLOPOS_AUTH_INVALID_HANDLE   // the client is closed
	ErrBufferTooSmall  Status = C.CLOPOS_AUTH_BUFFER_TOO_SMALL // does not occur in Go
	ErrInternal        Status = C.CLOPOS_AUTH_INTERNAL         // out of memory, threads, handles or random numbers, or a bug
	ErrWouldWait       Status = C.CLOPOS_AUTH_WOULD_WAIT       // TryToken has no token yet; a sign-in is running
	ErrCancelled       Status = C.CLOPOS_AUTH_CANCELLED        // by the context, Cancel or Close
	ErrTimeout         Status = C.CLOPOS_AUTH_TIMEOUT          // the context's deadline or Config.Timeout expired, or the service did not respond in time
	ErrDNS             Status = C.CLOPOS_AUTH_DNS              // the host name of the service could not be resolved
	ErrConnect         Status = C.CLOPOS_AUTH_CONNECT          // no connection could be made, or it broke
	ErrTLS             Status = C.CLOPOS_AUTH_TLS              // the server's certificate is not trusted, or TLS is older than 1.2
	ErrClock           Status = C.CLOPOS_AUTH_CLOCK            // the server's certificate is not valid at this device's date, which is usually wrong
	ErrProxy           Status = C.CLOPOS_AUTH_PROXY            // the proxy is unreachable, or it refused
	ErrRejected        Status = C.CLOPOS_AUTH_REJECTED         // the service refused the sign-in, or the tokens that it issues
	ErrRateLimited     Status = C.CLOPOS_AUTH_RATE_LIMITED     // too many requests
	ErrServer          Status = C.CLOPOS_AUTH_SERVER           // the service failed
	ErrProtocol        Status = C.CLOPOS_AUTH_PROTOCOL         // not a response of the service (a captive portal?), or the sign-in has moved
)

// String returns the name in the C header without its prefix: "REJECTED".
func (s Status) String() string {
	return C.GoString(C.clopos_auth_status_name(C.int32_t(s)))
}

// Error returns the same as String.
func (s Status) Error() string {
	return s.String()
}

// Reason says why the service refused a sign-in, if its response tells: for messages to people and for
// reports, not for decisions. A newer library may return a number that is not listed here.
type Reason int32

// The reasons of the C library; clopos_auth.h has the details.
const (
	ReasonUnknown      Reason = C.CLOPOS_AUTH_REASON_UNKNOWN       // the response does not tell, or the status is not ErrRejected
	ReasonCredentials  Reason = C.CLOPOS_AUTH_REASON_CREDENTIALS   // client id, client secret or brand is wrong
	ReasonIntegrator   Reason = C.CLOPOS_AUTH_REASON_INTEGRATOR    // the integrator id is unknown or disabled: every store fails
	ReasonEnvironment  Reason = C.CLOPOS_AUTH_REASON_ENVIRONMENT   // a test integrator id with a production brand, or the other way round
	ReasonDisabled     Reason = C.CLOPOS_AUTH_REASON_DISABLED      // the store has switched off its Open API access
	ReasonMissingField Reason = C.CLOPOS_AUTH_REASON_MISSING_FIELD // a field of the request is missing or empty
)

// Error is the error that every function of this package returns. [errors.Is] finds its Status, its Cause,
// and the standard error of the same meaning: [context.Canceled] in ErrCancelled,
// [context.DeadlineExceeded] in ErrTimeout and [fs.ErrClosed] in ErrInvalidHandle.
type Error struct {
	Status     Status
	HTTPStatus int           // of the response (of the proxy's, with ErrProxy); 0 if none was received
	Retryable  bool          // the same call may succeed later without any change
	RetryAfter time.Duration // until the next request may be sent; negative if there is no pause to wait for
	ServerCode string        // the "error" field of the response, an identifier or a sentence; empty if there was none
	Reason     Reason        // why the service refused the sign-in, with ErrRejected
	Message    string        // one line for a log, never a secret; its wording may change in any version
	Cause      error         // the context's, if that ended the call, see [context.Cause]; otherwise nil
}

// Error returns one line for a log: the status' name and the message.
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

// Timeout reports whether the status is ErrTimeout, as in [net.Error].
func (e *Error) Timeout() bool {
	return e.Status == ErrTimeout
}

// Is finds the standard errors of the same meaning.
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

// failure converts the result of a C function to an error and frees detail; nil if the status is OK.
func failure(status C.clopos_auth_status, detail *C.clopos_auth_error) error {
	if status == C.CLOPOS_AUTH_OK {
		return nil
	}
	if detail == nil { // out of memory
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
	if C.clopos_auth_version_number() >= 0x010100 { // version 1.0 has no such field
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

// contextError returns the error of a call that ctx has ended.
func contextError(ctx context.Context) error {
	e := newError(ErrCancelled, context.Cause(ctx).Error())
	e.Cause = context.Cause(ctx)
	if ctx.Err() == context.DeadlineExceeded {
		e.Status = ErrTimeout
	}
	e.Retryable = true
	return e
}
