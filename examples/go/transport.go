//go:build cgo

package cloposauth

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Transport is an [http.RoundTripper] that puts the current token into the header x-token of each request to
// the service. If the service refuses that token (a 401 whose body says "Invalid token" or "Token expired"),
// it requests a new one and sends the request once more, provided that the body can be replayed
// (Request.GetBody; [http.NewRequest] sets it for the usual types). If there is no new token, and for every
// other 401, the caller gets the 401. Requests to other hosts, also those of redirects, are sent without a
// token. A Transport must not be changed while it is used; any number of goroutines may use it.
type Transport struct {
	Source TokenSource // usually a *Client

	// BaseURL is the service: requests to its scheme, host and port get a token. Default: the BaseURL of
	// Source if that is a *Client, otherwise DefaultBaseURL.
	BaseURL string

	// Venue is put into the header x-venue of requests that have none: the requests are then about this venue
	// instead of the token's.
	Venue string

	Base http.RoundTripper // sends the requests; default: http.DefaultTransport

	// Client is the name of Source in version 1.0. It is used if Source is nil.
	//
	// Deprecated: use Source.
	Client *Client
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !t.serves(request.URL) {
		return t.base().RoundTrip(request)
	}
	token, err := t.source().Token(request.Context())
	if err != nil {
		if request.Body != nil {
			request.Body.Close()
		}
		return nil, err
	}
	response, err := t.send(request, request.Body, token)
	if err != nil || !refusesToken(response) {
		return response, err
	}
	if err := t.source().Invalidate(token); err != nil {
		return response, nil
	}
	body := request.Body
	if body != nil && body != http.NoBody {
		if request.GetBody == nil {
			return response, nil
		}
		if body, err = request.GetBody(); err != nil {
			return response, nil
		}
	}
	if token, err = t.source().Token(request.Context()); err != nil {
		if body != nil {
			body.Close()
		}
		return response, nil
	}
	response.Body.Close()
	return t.send(request, body, token)
}

// CloseIdleConnections closes the idle connections of Base, for [http.Client.CloseIdleConnections].
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// send sends a copy of the caller's request, with this body, which it closes.
func (t *Transport) send(request *http.Request, body io.ReadCloser, token Token) (*http.Response, error) {
	sent := request.Clone(request.Context())
	sent.Body = body
	if sent.Header == nil { // http.Client makes one
		sent.Header = http.Header{}
	}
	sent.Header.Set("x-token", token.Value.Reveal())
	if t.Venue != "" && sent.Header.Get("x-venue") == "" {
		sent.Header.Set("x-venue", t.Venue)
	}
	response, err := t.base().RoundTrip(sent)
	if response != nil {
		response.Request = request // the caller's has no token, which a log would show
	}
	return response, err
}

// refusesToken reports whether this is one of the two refusals that a new token can remove. The response's
// body can still be read from its beginning.
func refusesToken(response *http.Response) bool {
	if response.StatusCode != http.StatusUnauthorized {
		return false
	}
	start, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // the caller's next read returns an error again
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), response.Body), response.Body}
	return bytes.Contains(start, []byte("Invalid token")) || bytes.Contains(start, []byte("Token expired"))
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

func (t *Transport) source() TokenSource {
	if t.Source == nil && t.Client != nil {
		return t.Client
	}
	return t.Source
}

// serves reports whether a URL is one of the service, to which the token may be sent.
func (t *Transport) serves(target *url.URL) bool {
	base, err := url.Parse(t.baseURL())
	return err == nil && target.Scheme == base.Scheme &&
		strings.EqualFold(target.Hostname(), base.Hostname()) && port(target) == port(base)
}

func (t *Transport) baseURL() string {
	if t.BaseURL != "" {
		return t.BaseURL
	}
	if client, ok := t.source().(*Client); ok {
		return client.baseURL
	}
	return DefaultBaseURL
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
