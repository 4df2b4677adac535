package cloposauth_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloposauth"
)

// sandbox is a test server for the service: the program that CLOPOS_SANDBOX names.
type sandbox struct {
	url, control string
	ca           []byte
}

func startSandbox(t *testing.T, arguments ...string) *sandbox {
	t.Helper()
	program := os.Getenv("CLOPOS_SANDBOX")
	if program == "" {
		t.Skip("CLOPOS_SANDBOX is not set to the sandbox's program")
	}
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	arguments = append([]string{"--listen", "127.0.0.1:0", "--requests-per-minute", "0", "--ca-file", caFile}, arguments...)
	command := exec.Command(program, arguments...)
	output, err := command.StdoutPipe()
	check(t, err)
	check(t, command.Start())
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	s := new(sandbox)
	lines := bufio.NewScanner(output)
	for s.url == "" || s.control == "" {
		if !lines.Scan() {
			t.Fatal("the sandbox did not start")
		}
		name, url, _ := strings.Cut(lines.Text(), " on ")
		switch name {
		case "listening":
			s.url = url
		case "control":
			s.control = url
		}
	}
	s.ca, err = os.ReadFile(caFile)
	check(t, err)
	return s
}

func (s *sandbox) config() cloposauth.Config {
	return cloposauth.Config{
		ClientID: "sandbox_client", ClientSecret: cloposauth.NewSecret("sandbox_secret"),
		Brand: "sandbox", IntegratorID: "test_sandbox",
		BaseURL: s.url, CAPEM: s.ca, Roots: cloposauth.RootsNone,
		RequestsPerMinute: 60,
	}
}

func (s *sandbox) client(t *testing.T) *cloposauth.Client {
	t.Helper()
	client, err := cloposauth.New(s.config())
	check(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// http returns an HTTP client that trusts the sandbox and sends tokens.
func (s *sandbox) http(client *cloposauth.Client) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ca)
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	return &http.Client{Transport: &cloposauth.Transport{Source: client, Base: base}}
}

// order sends an order to the sandbox's control port.
func (s *sandbox) order(t *testing.T, path string, order any) {
	t.Helper()
	body, err := json.Marshal(order)
	check(t, err)
	response, err := http.Post(s.control+path, "application/json", bytes.NewReader(body))
	check(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatal(path, response.Status)
	}
}

// requests returns the number of sign-in requests that the sandbox has received.
func (s *sandbox) requests(t *testing.T) int {
	t.Helper()
	response, err := http.Get(s.control + "/sandbox/stats")
	check(t, err)
	defer response.Body.Close()
	var stats struct {
		AuthRequests int `json:"auth_requests"`
	}
	check(t, json.NewDecoder(response.Body).Decode(&stats))
	return stats.AuthRequests
}

// waitForRequests waits until the sandbox has received n sign-in requests.
func (s *sandbox) waitForRequests(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); s.requests(t) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there was no request")
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// handler is a slog.Handler that is a function.
type handler func(slog.Record)

func (h handler) Enabled(context.Context, slog.Level) bool      { return true }
func (h handler) Handle(_ context.Context, r slog.Record) error { h(r); return nil }
func (h handler) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h handler) WithGroup(string) slog.Handler                 { return h }
