package cloposauth

/*
#include <clopos_auth.h>
*/
import "C"

import (
	"runtime"
	"time"
)

// State is what was known of a client when [Client.State] was called.
type State struct {
	HasToken        bool          // there is a token that has not expired
	IsFresh         bool          // Token would return that token immediately
	RequestInFlight bool          // a sign-in is running, also while it waits before its next attempt
	ExpiresIn       time.Duration // until the token expires; negative if there is none
	RefreshIn       time.Duration // until the token is due to be replaced, 0 if it is; negative if there is none
	NextRequestIn   time.Duration // until the next request may be sent; 0 if it may be sent now
	LastStatus      Status        // the result of the last request that has ended; 0 (OK) also if there was none
	LastHTTPStatus  int           // of its response (of the proxy's, with ErrProxy); 0 if none was received
	LastResultAge   time.Duration // since that result; negative if no request has ended yet
	Requests        uint64        // the number of requests, including those that did not reach the service
	Failures        uint64        // the number of attempts that failed
	LastMessage     string        // the message of LastStatus, one line, never a secret; empty if that is OK
}

// State returns what is known of the client, for a status page or a health check. It never sends a request,
// and never waits for one.
func (c *Client) State() (State, error) {
	var state *C.clopos_auth_state
	var e *C.clopos_auth_error
	status := C.clopos_auth_get_state(c.handle, &state, &e)
	runtime.KeepAlive(c)
	if state == nil {
		return State{}, failure(status, e)
	}
	defer C.clopos_auth_state_free(state)
	return State{
		HasToken:        state.has_token != 0,
		IsFresh:         state.is_fresh != 0,
		RequestInFlight: state.request_in_flight != 0,
		ExpiresIn:       durationOf(state.expires_in_ms),
		RefreshIn:       durationOf(state.refresh_in_ms),
		NextRequestIn:   durationOf(state.next_request_in_ms),
		LastStatus:      Status(state.last_status),
		LastHTTPStatus:  int(state.last_http_status),
		LastResultAge:   durationOf(state.last_result_age_ms),
		Requests:        uint64(state.requests),
		Failures:        uint64(state.failures),
		LastMessage:     C.GoString(state.last_message), // empty for NULL
	}, nil
}

// durationOf converts milliseconds; a negative number stays negative.
func durationOf(ms C.int64_t) time.Duration {
	return time.Duration(ms) * time.Millisecond
}
