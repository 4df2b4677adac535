package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"
	"time"

	"cloposauth"
)

// start makes a client whose service responds with this status.
func start(t *testing.T, status int) (*cloposauth.Client, *httptest.Server) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"success": true, "token": "aaaa.bbbb.cccc", "expires_in": 3600, "expires_at": %d}`, time.Now().Add(time.Hour).Unix())
	}))
	t.Cleanup(service.Close)
	client, err := cloposauth.New(cloposauth.Config{
		ClientID: "id", ClientSecret: cloposauth.NewSecret("secret"), Brand: "brand", IntegratorID: "integrator",
		BaseURL: service.URL, Proxy: cloposauth.NewSecret("none"), MaxAttempts: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	pages := httptest.NewServer(handler(client))
	t.Cleanup(pages.Close)
	return client, pages
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// health gets /health, and checks that /metrics has the same numbers.
func health(t *testing.T, pages *httptest.Server) (int, map[string]any) {
	t.Helper()
	status, body := get(t, pages.URL+"/health")
	content := map[string]any{}
	if err := json.Unmarshal([]byte(body), &content); err != nil {
		t.Fatal(err, body)
	}
	_, text := get(t, pages.URL+"/metrics")
	line := regexp.MustCompile(`(?m)^(?:# (?:HELP \w+ .+|TYPE \w+ (?:gauge|counter))|clopos_auth_(\w+)(?:\{status="(\w+)"\})? ([-+.\de]+))$\n`)
	if rest := line.ReplaceAllString(text, ""); rest != "" {
		t.Error("not in Prometheus' format:", rest)
	}
	samples := 0
	for _, match := range line.FindAllStringSubmatch(text, -1) {
		name, label := match[1], match[2]
		if name == "" {
			continue
		}
		samples++
		number, err := strconv.ParseFloat(match[3], 64)
		if err != nil {
			t.Error(err)
		}
		switch value := content[name].(type) {
		case bool:
			if value != (number == 1) {
				t.Error(name, value, number)
			}
		case float64:
			if difference := value - number; difference < -10 || difference > 10 { // time passes
				t.Error(name, value, number)
			}
		case string:
			if value != label {
				t.Error(name, value, label)
			}
		default:
			t.Error(name, "is not in the JSON")
		}
	}
	if samples < 8 {
		t.Error(samples, "samples")
	}
	return status, content
}

func TestAClientIsHealthyBeforeAndAfterItsFirstToken(t *testing.T) {
	client, pages := start(t, 200)
	status, content := health(t, pages)
	if status != 200 || content["has_token"] != false || content["requests_total"] != 0.0 || content["expires_in_seconds"] != nil {
		t.Error(status, content)
	}
	if _, err := client.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, content = health(t, pages)
	if status != 200 || content["has_token"] != true || content["requests_total"] != 1.0 || content["last_status"] != "OK" ||
		content["last_http_status"] != 200.0 || content["expires_in_seconds"].(float64) < 3500 {
		t.Error(status, content)
	}
}

func TestAClientWithoutATokenAfterAFailureIsNot(t *testing.T) {
	client, pages := start(t, 503)
	if _, err := client.Token(t.Context()); err == nil {
		t.Fatal("a token")
	}
	status, content := health(t, pages)
	if status != 503 || content["last_status"] != "SERVER" || content["failures_total"] != 1.0 || content["last_message"] == "" {
		t.Error(status, content)
	}
	client.Close()
	for _, page := range []string{"/health", "/metrics"} {
		if status, body := get(t, pages.URL+page); status != 503 {
			t.Error(page, status, body)
		}
	}
}
