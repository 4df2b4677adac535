// Login signs in to Clopos, shows the token, and requests the venues with it.
//
// CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID are the credentials. For the
// sandbox: CLOPOS_BASE_URL is its URL, CLOPOS_CA_FILE its CA in PEM, the only one trusted.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	"cloposauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	config := cloposauth.Config{
		ClientID:     os.Getenv("CLOPOS_CLIENT_ID"),
		ClientSecret: cloposauth.NewSecret(os.Getenv("CLOPOS_CLIENT_SECRET")),
		Brand:        os.Getenv("CLOPOS_BRAND"),
		IntegratorID: os.Getenv("CLOPOS_INTEGRATOR_ID"),
		BaseURL:      cmp.Or(os.Getenv("CLOPOS_BASE_URL"), cloposauth.DefaultBaseURL),
		UserAgent:    "clopos-login-example/1.0",
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if file := os.Getenv("CLOPOS_CA_FILE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		config.CAPEM, config.Roots = pem, cloposauth.RootsNone
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	client, err := cloposauth.New(config)
	if err != nil {
		return err
	}
	defer client.Close()

	if err := showToken(ctx, client); err != nil {
		return err
	}
	clopos := &http.Client{Transport: &cloposauth.Transport{Source: client, Base: transport}}
	return showVenues(ctx, clopos, config.BaseURL+"/open-api/v2/venues")
}

// showToken prints a token, which is the purpose of this example. Never print one in production: it gives
// access until it expires.
func showToken(ctx context.Context, client *cloposauth.Client) error {
	token, err := client.Token(ctx)
	if err != nil {
		return err
	}
	fmt.Println("token:  ", token.Value.Reveal())
	fmt.Printf("expires: %s UTC, in %.0f s\n",
		token.ExpiresAt.UTC().Format(time.DateTime), token.ExpiresIn.Seconds())
	return nil
}

// showVenues shows how a program uses tokens: the transport adds them.
func showVenues(ctx context.Context, clopos *http.Client, url string) error {
	fmt.Println("GET", url)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := clopos.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	fmt.Println()
	return nil
}
