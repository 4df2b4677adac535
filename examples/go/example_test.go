package cloposauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"cloposauth"
)

// startService starts a server that responds like the service.
func startService() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/open-api/v2/auth":
			fmt.Fprintf(w, `{"success": true, "token": "aaaa.bbbb.cccc", "token_type": "Bearer", "expires_in": 3600, "expires_at": %d}`,
				time.Now().Add(time.Hour).Unix())
		case r.Header.Get("x-token") == "aaaa.bbbb.cccc":
			io.WriteString(w, `{"success": true, "data": []}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
}

func Example() {
	service := startService() // a real program does not set BaseURL
	defer service.Close()
	client, err := cloposauth.New(cloposauth.Config{
		ClientID:     "id",
		ClientSecret: cloposauth.NewSecret(os.Getenv("CLOPOS_CLIENT_SECRET") + "secret"),
		Brand:        "brand",
		IntegratorID: "integrator",
		BaseURL:      service.URL,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	clopos := &http.Client{Transport: &cloposauth.Transport{Source: client}}
	response, err := clopos.Get(service.URL + "/open-api/v2/venues")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Println(response.Status, string(body), err)
	// Output: 200 OK {"success": true, "data": []} <nil>
}

func ExampleClient_Token() {
	service := startService()
	defer service.Close()
	client, err := cloposauth.New(cloposauth.Config{
		ClientID: "id", ClientSecret: cloposauth.NewSecret("secret"), Brand: "brand", IntegratorID: "integrator",
		BaseURL: service.URL,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	token, err := client.Token(ctx)
	fmt.Println(token.Value, token.Type, token.ExpiresIn.Round(time.Minute), err)
	// Output: *** Bearer 1h0m0s <nil>
}

// A program that never waits, such as an event loop, uses OnChange and TryToken.
func ExampleClient_TryToken() {
	service := startService()
	defer service.Close()
	changed := make(chan struct{}, 1)
	client, err := cloposauth.New(cloposauth.Config{
		ClientID: "id", ClientSecret: cloposauth.NewSecret("secret"), Brand: "brand", IntegratorID: "integrator",
		BaseURL: service.URL,
		OnChange: func(error) {
			select {
			case changed <- struct{}{}:
			default: // the loop has not called TryToken yet
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	_, err = client.TryToken()
	fmt.Println(errors.Is(err, cloposauth.ErrWouldWait))
	<-changed
	token, err := client.TryToken()
	fmt.Println(token.Type, err)
	// Output:
	// true
	// Bearer <nil>
}

func ExampleError() {
	err := error(&cloposauth.Error{Status: cloposauth.ErrRejected, Reason: cloposauth.ReasonCredentials, Message: "Invalid credentials"})
	var e *cloposauth.Error
	switch {
	case errors.As(err, &e) && e.Retryable:
		fmt.Println("again in", e.RetryAfter)
	case errors.Is(err, cloposauth.ErrRejected):
		fmt.Println("show this to the user:", err)
	}
	// Output: show this to the user: clopos: REJECTED: Invalid credentials
}

// A test of your own code needs neither a client nor a server of Clopos.
func ExampleStaticSource() {
	receipts := func(ctx context.Context, tokens cloposauth.TokenSource) (string, error) { // your code
		token, err := tokens.Token(ctx)
		if err != nil {
			return "", err
		}
		return "x-token: " + token.Value.Reveal(), nil
	}
	fake := cloposauth.StaticSource(cloposauth.Token{Value: cloposauth.NewSecret("aaaa.bbbb.cccc")})
	fmt.Println(receipts(context.Background(), fake))
	// Output: x-token: aaaa.bbbb.cccc <nil>
}
