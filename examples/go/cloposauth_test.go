package cloposauth_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloposauth"
)

func TestErrorsAreFoundByTheirStatusAndByTheirFields(t *testing.T) {
	config := startSandbox(t).config()
	config.IntegratorID = "unknown"
	for range 2 { // the second client as well
		client, err := cloposauth.New(config)
		check(t, err)
		defer client.Close()
		_, err = client.Token(t.Context())
		var e *cloposauth.Error
		if !errors.Is(err, cloposauth.ErrRejected) || errors.Is(err, cloposauth.ErrServer) || !errors.As(err, &e) {
			t.Fatal(err)
		}
		if e.HTTPStatus != 400 || e.Retryable || e.RetryAfter <= 0 || e.ServerCode != "Invalid integrator_id" {
			t.Fatalf("%#v", e)
		}
		var status cloposauth.Status
		if !errors.As(err, &status) || status.String() != "REJECTED" {
			t.Fatal(status)
		}
	}
}

func TestSettingsThatTheLibraryRefusesAreErrors(t *testing.T) {
	valid := cloposauth.Config{ClientID: "a", ClientSecret: cloposauth.NewSecret("b"), Brand: "c", IntegratorID: "d"}
	for name, change := range map[string]func(*cloposauth.Config){
		"client_id":           func(c *cloposauth.Config) { c.ClientID = "" },
		"client_secret":       func(c *cloposauth.Config) { c.ClientSecret = cloposauth.NewSecret("b\x00") },
		"base_url":            func(c *cloposauth.Config) { c.BaseURL = "ftp://host" },
		"auth_path":           func(c *cloposauth.Config) { c.AuthPath = "//host/auth" },
		"timeout_ms":          func(c *cloposauth.Config) { c.Timeout = -time.Second },
		"attempt_timeout_ms":  func(c *cloposauth.Config) { c.AttemptTimeout = 24 * 365 * time.Hour },
		"max_attempts":        func(c *cloposauth.Config) { c.MaxAttempts = 1<<32 + 1 },
		"requests_per_minute": func(c *cloposauth.Config) { c.RequestsPerMinute = -1 },
		"roots":               func(c *cloposauth.Config) { c.Roots = 7 },
		"pem":                 func(c *cloposauth.Config) { c.CAPEM = []byte("no certificate") },
		"proxy":               func(c *cloposauth.Config) { c.Proxy = cloposauth.NewSecret("\x00") },
		"user_agent":          func(c *cloposauth.Config) { c.UserAgent = "\n" },
	} {
		config := valid
		change(&config)
		client, err := cloposauth.New(config)
		if client != nil || !errors.Is(err, cloposauth.ErrInvalidArgument) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACachedTokenIsReturnedWithoutAllocationUntilThereIsANewOne(t *testing.T) {
	client := startSandbox(t).client(t)
	first, err := client.Token(t.Context())
	check(t, err)
	if n := testing.AllocsPerRun(100, func() {
		if token, err := client.Token(t.Context()); err != nil || token.Value.Reveal() != first.Value.Reveal() || token.ExpiresIn <= 0 {
			t.Error(token, err)
		}
	}); n != 0 {
		t.Error(n, "allocations")
	}
	next, err := client.Authenticate(t.Context())
	check(t, err)
	if next.Value.Reveal() == first.Value.Reveal() || next.Type != "Bearer" || next.ExpiresAt.IsZero() {
		t.Error(next)
	}
	check(t, client.Close())
	if token, err := client.Token(t.Context()); token.Value.Reveal() != "" || !errors.Is(err, cloposauth.ErrInvalidHandle) {
		t.Error(token, err)
	}
}

func TestAuthenticateNeverReturnsTheTokenOfTheSignInBeforeIt(t *testing.T) {
	for due, arguments := range map[bool][]string{
		false: {"--latency-ms", "1000"},
		true:  {"--latency-ms", "200", "--lifetime", "6"},
	} {
		service := startSandbox(t, arguments...)
		client := service.client(t)
		first, err := client.Token(t.Context())
		check(t, err)
		for deadline := time.Now().Add(10 * time.Second); due && must(client.State())(t).RefreshIn > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the token is not due to be replaced")
			}
		}
		requests := service.requests(t)
		ended := make(chan error)
		var next cloposauth.Token
		go func() {
			var err error
			next, err = client.Authenticate(t.Context())
			ended <- err
		}()
		service.waitForRequests(t, requests+1)
		// As if the library's thread for the first sign-in had not run until now.
		client.AnnounceToken()
		check(t, <-ended)
		if next.Value.Reveal() == first.Value.Reveal() {
			t.Error("the same token; due to be replaced:", due)
		}
	}
}

func TestAContextThatIsDoneEndsItsOwnCallOnly(t *testing.T) {
	service := startSandbox(t, "--latency-ms", "1000")
	client := service.client(t)
	other := make(chan error, 1)
	go func() {
		_, err := client.Token(context.Background())
		other <- err
	}()
	service.waitForRequests(t, 1)

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := client.Token(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, cloposauth.ErrCancelled) {
		t.Error(err)
	}
	if _, err := client.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Error("already done:", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Authenticate(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cloposauth.ErrTimeout) {
		t.Error(err)
	}
	check(t, <-other)
	if n := service.requests(t); n != 1 {
		t.Error(n, "requests")
	}
}

func TestACallThatTimesOutDoesNotEndOthers(t *testing.T) {
	service := startSandbox(t, "--latency-ms", "3000")
	client := service.client(t)
	first := make(chan error, 1)
	go func() {
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Token(short)
		first <- err
	}()
	service.waitForRequests(t, 1)
	_, err := client.Token(t.Context())
	check(t, err)
	if err := <-first; !errors.Is(err, cloposauth.ErrTimeout) {
		t.Error(err)
	}
}

func TestADeadlineIsATimeoutAndLeavesNoGoroutine(t *testing.T) {
	client := startSandbox(t, "--fault", "request-hang").client(t)
	goroutines := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for name, err := range map[string]error{
		"Token":        second(client.Token(ctx)),
		"Authenticate": second(client.Authenticate(ctx)),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cloposauth.ErrTimeout) {
			t.Error(name, err)
		}
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a call is still waiting")
		}
	}
}

func TestTheConfigsTimeoutEndsACallWithoutADeadline(t *testing.T) {
	config := startSandbox(t, "--fault", "request-hang").config()
	config.Timeout = 200 * time.Millisecond
	client, err := cloposauth.New(config)
	check(t, err)
	defer client.Close()
	start := time.Now()
	_, err = client.Token(t.Context())
	if took := time.Since(start); !errors.Is(err, cloposauth.ErrTimeout) || took < config.Timeout || took > 5*time.Second {
		t.Error(took, err)
	}
}

func TestTenThousandGoroutinesShareOneRequestAndWaitWithoutThreads(t *testing.T) {
	service := startSandbox(t, "--latency-ms", "3000")
	client := service.client(t)
	// Threads that run Go code are not the client's.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	before := threads(t)
	type result struct {
		value string
		err   error
	}
	results := make(chan result)
	var started sync.WaitGroup
	for range 10_000 {
		started.Add(1)
		go func() {
			started.Done()
			token, err := client.Token(t.Context())
			results <- result{token.Value.Reveal(), err}
		}()
	}
	started.Wait()
	service.waitForRequests(t, 1)
	most := 0
	for state := must(client.State())(t); state.RequestInFlight; state = must(client.State())(t) {
		most = max(most, threads(t))
		time.Sleep(10 * time.Millisecond)
	}
	first := <-results
	check(t, first.err)
	for range 9_999 {
		if r := <-results; r != first {
			t.Fatal("not the same token", r.err)
		}
	}
	if n := service.requests(t); n != 1 {
		t.Error(n, "requests")
	}
	if more := most - before; most == 0 || more > 8 {
		t.Error(more, "more threads than before")
	}
}

func TestClosingEndsTheCallsInProgress(t *testing.T) {
	service := startSandbox(t, "--fault", "request-hang")
	client := service.client(t)
	ended := make(chan error)
	for range 8 {
		go func() {
			_, err := client.Token(context.Background())
			ended <- err
		}()
	}
	service.waitForRequests(t, 1)
	check(t, client.Close())
	check(t, client.Close())
	for range 8 {
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	}
	for name, err := range map[string]error{
		"Invalidate": client.Invalidate(cloposauth.Token{Value: cloposauth.NewSecret("x")}),
		"Cancel":     client.Cancel(),
		"Token":      second(client.Token(t.Context())),
	} {
		if !errors.Is(err, fs.ErrClosed) || !errors.Is(err, cloposauth.ErrInvalidHandle) {
			t.Error(name, err)
		}
	}
}

func second(_ cloposauth.Token, err error) error { return err }

func TestALoggerMayCloseItsClient(t *testing.T) {
	config := startSandbox(t).config()
	var client *cloposauth.Client
	config.Logger = slog.New(handler(func(slog.Record) { client.Close() }))
	client, err := cloposauth.New(config)
	check(t, err)
	if _, err := client.Token(t.Context()); !errors.Is(err, cloposauth.ErrCancelled) {
		t.Error(err)
	}
}

func TestALoggerThatPanicsLosesOnlyThatLine(t *testing.T) {
	config := startSandbox(t).config()
	var lines atomic.Int64
	config.Logger = slog.New(handler(func(slog.Record) {
		lines.Add(1)
		panic("a bug of the program")
	}))
	client, err := cloposauth.New(config)
	check(t, err)
	for range 2 {
		_, err = client.Authenticate(t.Context())
		check(t, err)
	}
	check(t, client.Close())
	if n := lines.Load(); n < 2 { // each sign-in logs at least one
		t.Error(n, "lines")
	}
}

func TestEachChangeIsAnnounced(t *testing.T) {
	service := startSandbox(t, "--fault", "status-503:1")
	config := service.config()
	config.MaxAttempts = 1
	announced := make(chan error, 10)
	var client *cloposauth.Client
	config.OnChange = func(failure error) {
		if _, err := client.TryToken(); (err == nil) != (failure == nil) {
			t.Error("announced", failure, "but there is", err)
		}
		announced <- failure
	}
	client, err := cloposauth.New(config)
	check(t, err)
	if _, err := client.Token(t.Context()); !errors.Is(err, cloposauth.ErrServer) {
		t.Error(err)
	}
	if failure := <-announced; !errors.Is(failure, cloposauth.ErrServer) {
		t.Error(failure)
	}
	_, err = client.Token(t.Context()) // waits until a request may be sent
	check(t, err)
	check(t, <-announced)
	_, err = client.Authenticate(t.Context())
	check(t, err)
	check(t, <-announced)
	check(t, client.Close())
	if n := len(announced); n != 0 {
		t.Error(n, "more")
	}
}

func TestAnOnChangeThatPanicsIsLoggedAndDelaysNoCall(t *testing.T) {
	config := startSandbox(t).config()
	var reports atomic.Int64
	config.Logger = slog.New(handler(func(r slog.Record) {
		if r.Message == "OnChange panicked" && r.Level == slog.LevelError {
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "stack" && strings.Contains(a.Value.String(), "cloposauth_test.go") {
					reports.Add(1)
				}
				return true
			})
		}
	}))
	config.OnChange = func(error) { panic("a bug of the program") }
	client, err := cloposauth.New(config)
	check(t, err)
	first, err := client.Token(t.Context())
	check(t, err)
	second, err := client.Authenticate(t.Context())
	check(t, err)
	check(t, client.Close())
	if first.Value.Reveal() == second.Value.Reveal() || reports.Load() != 2 {
		t.Error(reports.Load(), "reports")
	}
}

func TestAnOnChangeMayCloseItsClient(t *testing.T) {
	config := startSandbox(t).config()
	var client *cloposauth.Client
	var calls atomic.Int64
	config.OnChange = func(error) {
		calls.Add(1)
		client.Close()
	}
	client, err := cloposauth.New(config)
	check(t, err)
	if _, err := client.Token(t.Context()); err != nil && !errors.Is(err, cloposauth.ErrCancelled) {
		t.Error(err)
	}
	check(t, client.Close()) // waits for OnChange
	if _, err := client.TryToken(); !errors.Is(err, fs.ErrClosed) || calls.Load() != 1 {
		t.Error(err, calls.Load(), "calls")
	}
}

func TestASlowOnChangeDelaysOnlyClose(t *testing.T) {
	service := startSandbox(t)
	config := service.config()
	release := make(chan struct{})
	var calls, finished atomic.Int64
	config.OnChange = func(error) {
		if calls.Add(1) == 1 {
			<-release
			finished.Add(1)
		}
	}
	client, err := cloposauth.New(config)
	check(t, err)
	for range 3 {
		_, err = client.Authenticate(t.Context())
		check(t, err)
	}
	closed := make(chan error)
	go func() {
		err := client.Close()
		if finished.Load() != 1 {
			t.Error("it closed while OnChange ran")
		}
		closed <- err
	}()
	for end := time.Now().Add(5 * time.Second); !errors.Is(second(client.TryToken()), fs.ErrClosed); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Error("Close has begun, and a call returns a token")
			break
		}
	}
	close(release)
	check(t, <-closed)
	if n := calls.Load(); n != 3 || service.requests(t) != 3 {
		t.Error(n, "calls")
	}
}

func TestARefusedTokenIsNotReturnedAgain(t *testing.T) {
	client := startSandbox(t).client(t)
	refused, err := client.Token(t.Context())
	check(t, err)
	var invalidated atomic.Bool
	var wait sync.WaitGroup
	for range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for range 2000 {
				after := invalidated.Load()
				token, err := client.TryToken()
				if after && token.Value.Reveal() == refused.Value.Reveal() {
					t.Error("returned again")
					return
				}
				if err != nil && !errors.Is(err, cloposauth.ErrRejected) {
					t.Error(err)
					return
				}
			}
		}()
	}
	check(t, client.Invalidate(refused))
	invalidated.Store(true)
	wait.Wait()
	var e *cloposauth.Error
	if _, err := client.Token(t.Context()); !errors.As(err, &e) || e.Status != cloposauth.ErrRejected || e.RetryAfter <= 0 {
		t.Error(err)
	}
}

func TestAFailedSignInIsNotRetriedByTheCall(t *testing.T) {
	service := startSandbox(t, "--fault", "status-503")
	config := service.config()
	config.MaxAttempts = 2
	client, err := cloposauth.New(config)
	check(t, err)
	defer client.Close()
	if _, err := client.Token(t.Context()); !errors.Is(err, cloposauth.ErrServer) || service.requests(t) != 2 {
		t.Error(err, service.requests(t), "requests")
	}
}

func TestAnErrorWithADelayBeyondTheDeadlineIsReturnedImmediately(t *testing.T) {
	client := startSandbox(t, "--rate-limit-reset", "120", "--fault", "status-429").client(t)
	for range 2 { // during the delay as well
		start := time.Now()
		_, err := client.Token(t.Context())
		var e *cloposauth.Error
		if !errors.As(err, &e) || e.Status != cloposauth.ErrRateLimited || e.RetryAfter < 100*time.Second || time.Since(start) > 5*time.Second {
			t.Error(time.Since(start), err)
		}
	}
}

func TestTheStateAgreesWithTheService(t *testing.T) {
	service := startSandbox(t, "--fault", "status-503:1", "--latency-ms", "300")
	client := service.client(t)
	state := must(client.State())(t)
	if state.HasToken || state.RequestInFlight || state.Requests != 0 || state.LastStatus != 0 ||
		state.ExpiresIn >= 0 || state.RefreshIn >= 0 || state.LastResultAge >= 0 || state.LastMessage != "" {
		t.Errorf("%+v", state)
	}
	if _, err := client.TryToken(); !errors.Is(err, cloposauth.ErrWouldWait) {
		t.Error(err)
	}
	if state = must(client.State())(t); !state.RequestInFlight {
		t.Errorf("%+v", state)
	}
	_, err := client.Token(t.Context())
	check(t, err)
	state = must(client.State())(t)
	if !state.HasToken || !state.IsFresh || state.ExpiresIn < 3500*time.Second || state.RefreshIn <= 0 || state.RefreshIn >= state.ExpiresIn ||
		state.LastStatus != 0 || state.LastHTTPStatus != 200 || state.LastResultAge > 10*time.Second ||
		state.Requests != uint64(service.requests(t)) || state.Failures != 1 {
		t.Errorf("%+v", state)
	}
	client.Close()
	if _, err := client.State(); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return value
	}
}

func TestAnErrorHasTheCauseOfItsContext(t *testing.T) {
	client := startSandbox(t, "--fault", "request-hang").client(t)
	reason := errors.New("the shift is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(reason) })
	_, err := client.Token(ctx)
	if !errors.Is(err, reason) || !errors.Is(err, context.Canceled) || !errors.Is(err, cloposauth.ErrCancelled) || os.IsTimeout(err) {
		t.Error(err)
	}
	ctx, cancelTimeout := context.WithTimeoutCause(t.Context(), time.Millisecond, reason)
	defer cancelTimeout()
	_, err = client.Token(ctx)
	if !errors.Is(err, reason) || !errors.Is(err, context.DeadlineExceeded) || !os.IsTimeout(err) {
		t.Error(err)
	}
}

// A client that is not reachable any more is closed, and no memory and no goroutine leaks.
func TestTheCollectorClosesUnreachableClientsAndNothingLeaks(t *testing.T) {
	service := startSandbox(t)
	shared := service.client(t)
	_, err := shared.Token(t.Context())
	check(t, err)
	cycles, warm := 15000, 3000
	if testing.Short() {
		cycles, warm = 1500, 300
	}
	released := new(atomic.Int64)
	var before, goroutines int
	for i := range cycles {
		if i%100 == 0 {
			runtime.GC()
		}
		if i == warm {
			before, goroutines = resident(t), runtime.NumGoroutine()
		}
		config := cloposauth.Config{ClientID: "a", ClientSecret: cloposauth.NewSecret("b"), Brand: "c", IntegratorID: "d"}
		config.Logger = slog.New(handler(func(slog.Record) {}))
		client, err := cloposauth.New(config)
		check(t, err)
		if i%2 == 0 { // the others become unreachable
			check(t, client.Close())
		} else {
			runtime.AddCleanup(client, func(n *atomic.Int64) { n.Add(1) }, released)
		}
		config.Brand = ""
		for range 10 {
			if _, err := cloposauth.New(config); !errors.Is(err, cloposauth.ErrInvalidArgument) {
				t.Fatal(err)
			}
			_, err = shared.Token(t.Context())
			check(t, err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); released.Load() < int64(cycles/2); runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal(released.Load(), "clients were collected")
		}
	}
	if grown := resident(t) - before; grown > 4<<20 && !raceDetector {
		t.Errorf("%d KiB more", grown>>10)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Error(now-goroutines, "more goroutines")
	}
}

func TestTheTransportSendsTheToken(t *testing.T) {
	service := startSandbox(t)
	response, err := service.http(service.client(t)).Get(service.url + "/open-api/v2/venues")
	check(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	if response.StatusCode != 200 || !strings.Contains(string(body), `"success":true`) {
		t.Error(response.Status, string(body))
	}
}

func TestTheTransportSendsARefusedRequestOnceMoreWithItsBody(t *testing.T) {
	service := startSandbox(t, "--lifetime", "6")
	cases := []struct {
		name     string
		refusals int
		body     func() io.Reader
		status   int
		bodies   string
	}{
		{"one refusal", 1, func() io.Reader { return strings.NewReader("body") }, 200, "body,body,"},
		{"one refusal, no body", 1, func() io.Reader { return nil }, 200, ",,"},
		{"always refused", 9, func() io.Reader { return strings.NewReader("body") }, 401, "body,body,"},
		{"a body that cannot be replayed", 1, func() io.Reader { return io.MultiReader(strings.NewReader("body")) }, 401, "body,"},
		{"no refusal", 0, func() io.Reader { return strings.NewReader("body") }, 200, "body,"},
	}
	// If a token is refused in the first half of its lifetime, the next sign-in is delayed.
	clients := make([]*cloposauth.Client, len(cases))
	for i := range cases {
		clients[i] = service.client(t)
		_, err := clients[i].Token(t.Context())
		check(t, err)
	}
	time.Sleep(3200 * time.Millisecond)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var tokens []string
			bodies := ""
			other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				bodies += string(body) + ","
				tokens = append(tokens, r.Header.Get("x-token"))
				if len(tokens) <= c.refusals {
					w.WriteHeader(http.StatusUnauthorized)
					io.WriteString(w, `{"success": false, "error": "Token expired"}`)
				}
			}))
			defer other.Close()
			transport := &cloposauth.Transport{Source: clients[i], Base: redirected{other}}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, service.url+"/open-api/v2/sales", c.body())
			check(t, err)
			response, err := (&http.Client{Transport: transport}).Do(request)
			check(t, err)
			response.Body.Close()
			if response.StatusCode != c.status || bodies != c.bodies {
				t.Error(response.Status, bodies)
			}
			if len(tokens) == 2 && (tokens[0] == tokens[1] || tokens[0] == "" || tokens[1] == "") {
				t.Error("not two different tokens")
			}
			if request.Header.Get("x-token") != "" || response.Request != request {
				t.Error("the caller's request contains the token")
			}
		})
	}
}

// redirected sends the service's requests to a test server.
type redirected struct{ server *httptest.Server }

func (r redirected) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Host = strings.TrimPrefix(r.server.URL, "https://")
	return r.server.Client().Transport.RoundTrip(request)
}

func TestTheTransportSendsTheTokenToNoOtherHost(t *testing.T) {
	var seen http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer other.Close()
	service := startSandbox(t)
	response, err := service.http(service.client(t)).Get(other.URL)
	check(t, err)
	response.Body.Close()
	if seen == nil || seen.Get("x-token") != "" || service.requests(t) != 0 {
		t.Error("a token was requested or sent")
	}
}

func TestTheTransportSendsTheVenueUnlessTheRequestHasOne(t *testing.T) {
	var seen http.Header
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer service.Close()
	source := cloposauth.StaticSource(cloposauth.Token{Value: cloposauth.NewSecret("a.b.c")})
	for _, venues := range [][3]string{{"", "", ""}, {"7", "", "7"}, {"", "8", "8"}, {"7", "8", "8"}} {
		transport := &cloposauth.Transport{Source: source, BaseURL: service.URL, Venue: venues[0]}
		request, err := http.NewRequest(http.MethodGet, service.URL, nil)
		check(t, err)
		if venues[1] != "" {
			request.Header.Set("x-venue", venues[1])
		}
		response, err := transport.RoundTrip(request)
		check(t, err)
		response.Body.Close()
		if seen.Get("x-venue") != venues[2] || seen.Get("x-token") != "a.b.c" || request.Header.Get("x-venue") != venues[1] {
			t.Error(venues, seen)
		}
	}
}

func TestTheTransportReturnsTheRefusalOfAStaticToken(t *testing.T) {
	requests := 0
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"success": false, "error": "Invalid token"}`)
	}))
	defer service.Close()
	source := cloposauth.StaticSource(cloposauth.Token{Value: cloposauth.NewSecret("a.b.c")})
	client := &http.Client{Transport: &cloposauth.Transport{Source: source, BaseURL: service.URL}}
	response, err := client.Get(service.URL)
	check(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	if response.StatusCode != 401 || !strings.Contains(string(body), "Invalid token") || requests != 1 {
		t.Error(response.Status, string(body), requests)
	}
	if _, err := source.Token(t.Context()); !errors.Is(err, cloposauth.ErrRejected) {
		t.Error(err)
	}
}

func TestIdleConnectionsCanBeClosedThroughTheTransport(t *testing.T) {
	base := new(idle)
	client := &http.Client{Transport: &cloposauth.Transport{Base: base}}
	client.CloseIdleConnections()
	if !base.closed {
		t.Error("the base was not closed")
	}
	client.Transport = &cloposauth.Transport{Base: failing{}}
	client.CloseIdleConnections() // does nothing
}

type idle struct {
	failing
	closed bool
}

func (i *idle) CloseIdleConnections() { i.closed = true }

func TestTheTransportIdentifiesTheServiceByItsSchemeHostAndPort(t *testing.T) {
	for base, urls := range map[string]map[string]bool{
		"https://a.example":        {"https://a.example/x": true, "https://A.example:443/": true, "https://a.example:444/": false, "http://a.example:443/": false, "https://b.example/": false},
		"https://a.example:443/p":  {"https://a.example/x": true},
		"https://a.example:8443":   {"https://a.example:8443/": true, "https://a.example/": false},
		"http://localhost":         {"http://localhost:80/": true, "http://localhost:443/": false},
		"https://[2001:db8::1]:80": {"https://[2001:db8::1]:80/": true, "https://[2001:db8::1]/": false},
	} {
		client, err := cloposauth.New(cloposauth.Config{ClientID: "a", ClientSecret: cloposauth.NewSecret("b"), Brand: "c", IntegratorID: "d", BaseURL: base})
		check(t, err)
		client.Close() // then a request for a token fails with fs.ErrClosed
		for url, expected := range urls {
			request, err := http.NewRequest(http.MethodGet, url, nil)
			check(t, err)
			transport := &cloposauth.Transport{Client: client, Base: failing{}}
			if _, err := transport.RoundTrip(request); errors.Is(err, fs.ErrClosed) != expected {
				t.Error(base, url, err)
			}
		}
	}
}

// failing is a RoundTripper without a response.
type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.EOF }

func TestTheTransportClosesTheBodyWhenThereIsNoToken(t *testing.T) {
	service := startSandbox(t)
	client := service.client(t)
	client.Close()
	body := &closable{Reader: strings.NewReader("body")}
	request, err := http.NewRequest(http.MethodPost, service.url, body)
	check(t, err)
	if _, err := (&cloposauth.Transport{Source: client}).RoundTrip(request); !errors.Is(err, fs.ErrClosed) || !body.closed {
		t.Error(err, body.closed)
	}
}

func TestTheTransportSendsARequestWithoutAHeaderMap(t *testing.T) {
	var seen http.Header
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer service.Close()
	source := cloposauth.StaticSource(cloposauth.Token{Value: cloposauth.NewSecret("a.b.c")})
	request, err := http.NewRequest(http.MethodGet, service.URL, nil)
	check(t, err)
	request.Header = nil
	response, err := (&cloposauth.Transport{Source: source, BaseURL: service.URL}).RoundTrip(request)
	check(t, err)
	response.Body.Close()
	if seen.Get("x-token") != "a.b.c" || request.Header != nil {
		t.Error(seen, request.Header)
	}
}

type closable struct {
	io.Reader
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

// status returns a number in /proc/self/status; without that file the test is skipped.
func status(t *testing.T, name string) int {
	t.Helper()
	content, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(content)) {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			check(t, err)
			return n
		}
	}
	t.Fatal("no ", name)
	return 0
}

func threads(t *testing.T) int  { return status(t, "Threads") }
func resident(t *testing.T) int { return status(t, "VmRSS") << 10 }
