package cloposauth

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Transport is an [http.RoundTripper] that puts the current token into the header x-token of each
// request to the service. Where the service refuses that token, it asks for a new one and sends the
// request once more, if the body can be had again (Request.GetBody; [http.NewRequest] sets it for the
// usual ones). Where there is no new one, the caller gets the refusal itself, and so it does for every
// other 401: a new token would not help. Requests to other hosts, such as redirects, pass through
// without a token.
type Transport struct {
	Client *Client
	Base   http.RoundTripper // nil: http.DefaultTransport
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !t.Client.serves(request.URL) {
		return t.base().RoundTrip(request)
	}
	token, err := t.Client.Token(request.Context())
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
	if err := t.Client.Invalidate(token); err != nil {
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
	if token, err = t.Client.Token(request.Context()); err != nil {
		if body != nil {
			body.Close()
		}
		return response, nil
	}
	response.Body.Close()
	return t.send(request, body, token)
}

// send sends a copy of request, which belongs to the caller, with this body, which it closes.
func (t *Transport) send(request *http.Request, body io.ReadCloser, token Token) (*http.Response, error) {
	sent := request.Clone(request.Context())
	sent.Body = body
	sent.Header.Set("x-token", token.Value.Reveal())
	response, err := t.base().RoundTrip(sent)
	if response != nil {
		response.Request = request // without the token, for those who log it
	}
	return response, err
}

// refusesToken tells whether this is one of the two refusals that a new token helps against. The
// response's body can still be read from its beginning.
func refusesToken(response *http.Response) bool {
	if response.StatusCode != http.StatusUnauthorized {
		return false
	}
	start, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // an error comes again
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

// serves tells whether a URL is one of the service, which may see the token.
func (c *Client) serves(target *url.URL) bool {
	base, err := url.Parse(c.baseURL)
	return err == nil && target.Scheme == base.Scheme &&
		strings.EqualFold(target.Hostname(), base.Hostname()) && port(target) == port(base)
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
