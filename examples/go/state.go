package cloposauth

/*
#include <clopos_auth.h>
*/
import "C"

import (
	"runtime"
	"time"
)

// State is what a client knows about itself, for status pages and monitoring. Durations that do not apply
// are negative.
type State struct {
	HasToken        bool
	IsFresh         bool          // the token is handed out without waiting
	RequestInFlight bool          // a sign-in is in progress
	ExpiresIn       time.Duration // the token's remaining life
	RefreshIn       time.Duration // until the library starts to replace the token
	NextRequestIn   time.Duration // until the next request may be sent; 0: now
	LastStatus      Status        // of the last finished request; 0 is success
	LastHTTPStatus  int           // of its response; 0 where there was none
	LastResultAge   time.Duration // since the last request finished
	Requests        uint64        // since the client was made
	Failures        uint64        // of these
	LastMessage     string        // of LastStatus, if that is a failure: one line, never with a secret
}

// State returns the client's state. It sends nothing and never waits.
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

// durationOf converts milliseconds; what is unknown stays negative.
func durationOf(ms C.int64_t) time.Duration {
	return time.Duration(ms) * time.Millisecond
}
