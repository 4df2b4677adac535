// Health serves the state of a client: /health as JSON for a load balancer or a status page, and /metrics as
// text for Prometheus. Neither sends a request to the service.
//
//	health [ADDRESS]     default: 127.0.0.1:8080
//
// CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID are the credentials. For the
// sandbox: CLOPOS_BASE_URL is its URL, CLOPOS_CA_FILE its CA in PEM, the only one trusted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"cloposauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	address := "127.0.0.1:8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if err := run(ctx, address); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address string) error {
	config := cloposauth.Config{
		ClientID:     os.Getenv("CLOPOS_CLIENT_ID"),
		ClientSecret: cloposauth.NewSecret(os.Getenv("CLOPOS_CLIENT_SECRET")),
		Brand:        os.Getenv("CLOPOS_BRAND"),
		IntegratorID: os.Getenv("CLOPOS_INTEGRATOR_ID"),
		BaseURL:      os.Getenv("CLOPOS_BASE_URL"),
		UserAgent:    "clopos-health-example/1.0",
	}
	if file := os.Getenv("CLOPOS_CA_FILE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		config.CAPEM, config.Roots = pem, cloposauth.RootsNone
	}
	client, err := cloposauth.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	// A real program gets a token when it needs one.
	if _, err := client.Token(ctx); err != nil {
		log.Print(err)
	}
	server := &http.Server{Addr: address, Handler: handler(client), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler serves /health and /metrics.
func handler(client *cloposauth.Client) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		state, err := client.State()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		content := map[string]any{"last_status": state.LastStatus.String(), "last_message": state.LastMessage}
		for _, f := range fields(state) {
			content[f.name] = f.value
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !state.HasToken && state.LastStatus != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(content)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		state, err := client.State()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		for _, f := range fields(state) {
			f.writeMetric(w)
		}
		fmt.Fprintf(w, "# HELP clopos_auth_last_status How the last request ended.\n# TYPE clopos_auth_last_status gauge\n"+
			"clopos_auth_last_status{status=%q} %d\n", state.LastStatus, int32(state.LastStatus))
	})
	return mux
}

// field is a value of the state, for both formats.
type field struct {
	name, help string
	value      any // a bool, an integer, seconds as a float64, or nil if it does not apply
}

func fields(s cloposauth.State) []field {
	return []field{
		{"has_token", "Whether there is a token.", s.HasToken},
		{"is_fresh", "Whether the token is returned without waiting.", s.IsFresh},
		{"request_in_flight", "Whether a sign-in is running.", s.RequestInFlight},
		{"expires_in_seconds", "Time until the token expires.", inSeconds(s.ExpiresIn)},
		{"refresh_in_seconds", "Time until the token is due to be replaced.", inSeconds(s.RefreshIn)},
		{"next_request_in_seconds", "Time until the next request may be sent.", inSeconds(s.NextRequestIn)},
		{"last_result_age_seconds", "Time since the last request ended.", inSeconds(s.LastResultAge)},
		{"last_http_status", "The HTTP status of the last response.", s.LastHTTPStatus},
		{"requests_total", "Requests since the program started.", s.Requests},
		{"failures_total", "Failed requests since the program started.", s.Failures},
	}
}

func inSeconds(d time.Duration) any {
	if d < 0 {
		return nil
	}
	return d.Seconds()
}

// writeMetric writes a field in Prometheus' text format. One that does not apply has no sample.
func (f field) writeMetric(w http.ResponseWriter) {
	kind := "gauge"
	if strings.HasSuffix(f.name, "_total") {
		kind = "counter"
	}
	fmt.Fprintf(w, "# HELP clopos_auth_%s %s\n# TYPE clopos_auth_%s %s\n", f.name, f.help, f.name, kind)
	switch value := f.value.(type) {
	case nil:
	case bool:
		number := 0
		if value {
			number = 1
		}
		fmt.Fprintf(w, "clopos_auth_%s %d\n", f.name, number)
	default:
		fmt.Fprintf(w, "clopos_auth_%s %v\n", f.name, value)
	}
}
