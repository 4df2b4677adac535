package cloposauth

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Transport is an [http.RoundTripper] that puts the current token into the header x-token of each
// request to the service. Where the service refuses it with 401, it asks for a new one and sends the
// request once more, if the body can be had again (Request.GetBody; [http.NewRequest] sets it for the
// usual ones). Requests to other hosts, such as redirects, pass through without a token.
type Transport struct {
	Client *Client
	Base   http.RoundTripper // nil: http.DefaultTransport
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !t.Client.serves(request.URL) {
		return t.base().RoundTrip(request)
	}
	response, refused, err := t.send(request, request.Body)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, err
	}
	if err := t.Client.Invalidate(refused); err != nil {
		response.Body.Close()
		return nil, err
	}
	body := request.Body
	if body != nil && body != http.NoBody {
		if request.GetBody == nil {
			return response, nil
		}
		if body, err = request.GetBody(); err != nil {
			response.Body.Close()
			return nil, err
		}
	}
	// Read to its end, if that is near, the connection can be used again.
	io.CopyN(io.Discard, response.Body, 64<<10)
	response.Body.Close()
	response, _, err = t.send(request, body)
	return response, err
}

// send sends a copy of request, which belongs to the caller, with this body, which it closes.
func (t *Transport) send(request *http.Request, body io.ReadCloser) (*http.Response, Token, error) {
	token, err := t.Client.Token(request.Context())
	if err != nil {
		if body != nil {
			body.Close()
		}
		return nil, token, err
	}
	sent := request.Clone(request.Context())
	sent.Body = body
	sent.Header.Set("x-token", token.Value.Reveal())
	response, err := t.base().RoundTrip(sent)
	if response != nil {
		response.Request = request // without the token, for those who log it
	}
	return response, token, err
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
