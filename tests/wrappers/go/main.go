// Behaviours runs one row of ../behaviours.md.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"

	"cloposauth"
)

var background = context.Background()

func fail(what ...any) {
	_, _, line, _ := runtime.Caller(2)
	fmt.Printf("main.go:%d: %s\n", line, fmt.Sprint(what...))
	os.Exit(1)
}

func check(condition bool, what ...any) {
	if !condition {
		fail(what...)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		fail(err)
	}
	return value
}

// expect checks that err has this status and names this. It returns the error.
func expect(err error, status cloposauth.Status, named string) *cloposauth.Error {
	fmt.Fprintln(os.Stderr, "error:", err)
	var e *cloposauth.Error
	check(errors.Is(err, status), "not ", status, ": ", err)
	check(errors.As(err, &e) && e.Status == status && e.Message != "")
	check(strings.Contains(e.Message, named), "does not name ", named)
	check(strings.Contains(err.Error(), status.String()) && strings.Contains(err.Error(), e.Message))
	return e
}

// lines counts log lines and checks them.
type lines struct {
	sync.Mutex
	seen  int
	token string // must not be in a line
}

var log lines

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, record slog.Record) error {
	l.Lock()
	defer l.Unlock()
	fmt.Fprintln(os.Stderr, record.Level, record.Message)
	check(record.Level >= slog.LevelDebug && record.Level <= slog.LevelError, record.Level)
	check(record.Message != "" && !strings.Contains(record.Message, os.Getenv("CLOPOS_CLIENT_SECRET")))
	check(l.token == "" || !strings.Contains(record.Message, l.token))
	l.seen++
	return nil
}

func (l *lines) count() int {
	l.Lock()
	defer l.Unlock()
	return l.seen
}

func number(name string) int {
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	return must(strconv.Atoi(text))
}

func configFromEnvironment() cloposauth.Config {
	config := cloposauth.Config{
		ClientID:     os.Getenv("CLOPOS_CLIENT_ID"),
		ClientSecret: cloposauth.NewSecret(os.Getenv("CLOPOS_CLIENT_SECRET")),
		Brand:        os.Getenv("CLOPOS_BRAND"),
		IntegratorID: os.Getenv("CLOPOS_INTEGRATOR_ID"),
		BaseURL:      os.Getenv("CLOPOS_BASE_URL"),
		AuthPath:     os.Getenv("CLOPOS_AUTH_PATH"),
		Proxy:        cloposauth.NewSecret(os.Getenv("CLOPOS_PROXY")),
		Timeout:      time.Duration(number("CLOPOS_TIMEOUT_MS")) * time.Millisecond,
		MaxAttempts:  number("CLOPOS_MAX_ATTEMPTS"),
		Logger:       slog.New(&log),
	}
	if file := os.Getenv("CLOPOS_CA_FILE"); file != "" {
		config.CAPEM, config.Roots = must(os.ReadFile(file)), cloposauth.RootsNone
	}
	return config
}

func newClient() *cloposauth.Client {
	return must(cloposauth.New(configFromEnvironment()))
}

func get(client *cloposauth.Client) cloposauth.Token {
	return must(client.Token(background))
}

// getWithin returns a token or an error within d.
func getWithin(client *cloposauth.Client, d time.Duration) (cloposauth.Token, error) {
	ctx, cancel := context.WithTimeout(background, d)
	defer cancel()
	return client.Token(ctx)
}

func signsIn() {
	client := newClient()
	first := get(client)
	check(strings.Count(first.Value.Reveal(), ".") == 2 && first.Type == "Bearer")
	check(first.ExpiresIn >= 3500*time.Second && first.ExpiresIn <= time.Hour, first.ExpiresIn)
	check(time.Until(first.ExpiresAt)-time.Hour < time.Minute && time.Until(first.ExpiresAt)-time.Hour > -time.Minute)
	check(get(client).Value.Reveal() == first.Value.Reveal())
	third := must(client.Authenticate(background))
	check(third.Value.Reveal() != first.Value.Reveal() && get(client).Value.Reveal() == third.Value.Reveal())
	check(client.Close() == nil)
}

// holder contains settings and a token in all kinds of fields. fmt cannot call the methods of values in
// unexported fields.
type holder struct {
	Config, config cloposauth.Config
	Token, token   cloposauth.Token
	Any, any       any
	List, list     any
}

func showsNoSecret() {
	config := configFromEnvironment()
	token := get(must(cloposauth.New(config)))
	config.Logger = nil
	config.Proxy = cloposauth.NewSecret("http://user:proxy-password@127.0.0.1:1")
	list := []any{config, &config, token, &token}
	all := holder{config, config, token, token, &config, &token, list, list}

	for verb := 'A'; verb <= 'z'; verb++ {
		for _, flags := range []string{"%", "%+", "%#"} {
			fmt.Printf(flags+string(verb)+"\n", all)
		}
	}
	fmt.Println(&all, token.Value, config.ClientSecret)
	loggers := []*slog.Logger{slog.New(slog.NewJSONHandler(os.Stdout, nil)), slog.New(slog.NewTextHandler(os.Stdout, nil))}
	for _, logger := range loggers {
		logger.Info("all", "all", all, "config", config, "token", &token, "secret", token.Value)
		logger.WithGroup("group").With("config", &config).Info("all", "token", token)
	}
	for _, value := range append(list, all, token.Value) {
		fmt.Printf("%s\n", must(json.Marshal(value)))
		fmt.Println(template.Must(template.New("").Parse("{{.}}\n")).Execute(os.Stdout, value))
		fmt.Println(gob.NewEncoder(os.Stdout).Encode(value))
	}
	fmt.Printf("%s\n", must(xml.Marshal(token)))

	check(fmt.Sprintf("%d %q", token.Value, config.Proxy) == "*** ***")
	check(string(must(json.Marshal(token.Value))) == `"***"`)
	var none cloposauth.Secret
	check(none.Reveal() == "" && none.String() == "")
	// A secret can be read from a file.
	check(json.Unmarshal([]byte(`{"ClientSecret": "read"}`), &config) == nil && config.ClientSecret.Reveal() == "read")
}

// pause lets the driver look at this process.
func pause() {
	fmt.Println("pause")
	must(os.Stdin.Read(make([]byte, 1)))
}

func keepsNoCopyOfTheSecret() {
	config := configFromEnvironment()
	config.Logger = nil
	pause()
	check(must(cloposauth.New(config)).Close() == nil)
	pause()
	runtime.KeepAlive(config.ClientSecret)
}

func allSettings() {
	config := configFromEnvironment()
	config.AuthPath = "/open-api/v2/auth"
	config.AttemptTimeout = 5 * time.Second
	config.RequestsPerMinute = 20
	config.UserAgent = "Till/4.2"
	config.Proxy = cloposauth.NewSecret("none")
	config.AllowPlainHTTP = false
	config.OnChange = func(error) {}
	check(get(must(cloposauth.New(config))).Value.Reveal() != "")
}

func logLines() {
	client := newClient()
	refused := get(client)
	log.Lock()
	log.token = refused.Value.Reveal()
	log.Unlock()
	check(client.Invalidate(refused) == nil && client.Close() == nil)
	seen := log.count()
	check(seen >= 2, seen, " lines")
	expect(client.Invalidate(refused), cloposauth.ErrInvalidHandle, "")
	time.Sleep(200 * time.Millisecond)
	check(log.count() == seen, "lines after Close")
}

func warnsOfTooMuchCopied() {
	check(newClient().Close() == nil && log.count() == 1, log.count(), " lines")
}

var reasons = map[string]cloposauth.Reason{
	"UNKNOWN":       cloposauth.ReasonUnknown,
	"CREDENTIALS":   cloposauth.ReasonCredentials,
	"INTEGRATOR":    cloposauth.ReasonIntegrator,
	"ENVIRONMENT":   cloposauth.ReasonEnvironment,
	"DISABLED":      cloposauth.ReasonDisabled,
	"MISSING_FIELD": cloposauth.ReasonMissingField,
}

func failsAsExpected() {
	_, err := newClient().Token(background)
	fmt.Fprintln(os.Stderr, "error:", err)
	var e *cloposauth.Error
	check(errors.As(err, &e), err)
	fmt.Fprintf(os.Stderr, "%+v\n", *e)
	check(e.Status.String() == os.Getenv("EXPECT_STATUS") && errors.Is(err, e.Status), e.Status)
	check(e.HTTPStatus == number("EXPECT_HTTP_STATUS"), e.HTTPStatus)
	check(e.Retryable == (number("EXPECT_RETRYABLE") == 1))
	if expected := os.Getenv("EXPECT_RETRY_AFTER"); expected == "unknown" {
		check(e.RetryAfter < 0, e.RetryAfter)
	} else {
		var least, most time.Duration
		_, err := fmt.Sscanf(expected, "%d-%d", &least, &most)
		check(err == nil && e.RetryAfter >= least*time.Second && e.RetryAfter <= most*time.Second, e.RetryAfter)
	}
	check(e.Reason == reasons[os.Getenv("EXPECT_REASON")], e.Reason)
	check(e.ServerCode == os.Getenv("EXPECT_SERVER_CODE"), e.ServerCode)
	check(e.Message != "" && !strings.Contains(err.Error(), os.Getenv("CLOPOS_CLIENT_SECRET")))
}

// refuses checks that a client cannot be made after this change, and that the error names the argument.
func refuses(named string, change func(*cloposauth.Config)) {
	config := cloposauth.Config{ClientID: "id", ClientSecret: cloposauth.NewSecret("secret"), Brand: "brand", IntegratorID: "integrator"}
	change(&config)
	client, err := cloposauth.New(config)
	check(client == nil)
	expect(err, cloposauth.ErrInvalidArgument, named)
}

func invalidArgument() {
	refuses("brand", func(c *cloposauth.Config) { c.Brand = "" })
	refuses("brand", func(c *cloposauth.Config) { c.Brand = "two\nlines" })
	refuses("base_url", func(c *cloposauth.Config) { c.BaseURL = "not a url" })
}

func nulInside() {
	refuses("brand", func(c *cloposauth.Config) { c.Brand = "sand\x00box" })
	refuses("base_url", func(c *cloposauth.Config) { c.BaseURL = "https://localhost\x00.example" })
}

func wouldWait() {
	client := newClient()
	start := time.Now()
	_, err := client.TryToken()
	check(expect(err, cloposauth.ErrWouldWait, "").Retryable && time.Since(start) < time.Second)
	check(get(client).Value.Reveal() == must(client.TryToken()).Value.Reveal())
}

func deadline() {
	client := newClient()
	start := time.Now()
	_, err := getWithin(client, 300*time.Millisecond)
	took := time.Since(start)
	check(errors.Is(err, context.DeadlineExceeded))
	expect(err, cloposauth.ErrTimeout, "")
	check(took >= 300*time.Millisecond && took < 2*time.Second, took)
	check(must(getWithin(client, 20*time.Second)).Value.Reveal() != "")
}

func cancelled() {
	client := newClient()
	start := time.Now()
	ended := make(chan error)
	go func() {
		_, err := client.Token(background)
		ended <- err
	}()
	for {
		select {
		case err := <-ended:
			check(time.Since(start) < 2*time.Second)
			expect(err, cloposauth.ErrCancelled, "")
			check(get(client).Value.Reveal() != "")
			return
		case <-time.After(10 * time.Millisecond):
			check(client.Cancel() == nil)
		}
	}
}

func cancelledByTheLanguage() {
	client := newClient()
	start := time.Now()
	other := make(chan cloposauth.Token)
	go func() { other <- get(client) }()
	ctx, cancel := context.WithCancel(background)
	time.AfterFunc(300*time.Millisecond, cancel)
	_, err := client.Token(ctx)
	check(errors.Is(err, context.Canceled) && time.Since(start) < 2*time.Second)
	expect(err, cloposauth.ErrCancelled, "")
	check((<-other).Value.Reveal() == get(client).Value.Reveal())
}

func threads() int {
	return len(must(os.ReadDir("/proc/self/task")))
}

func waitsWithoutAThread() {
	client := newClient()
	before := threads()
	values := make(chan string)
	for range 5000 {
		go func() { values <- get(client).Value.Reveal() }()
	}
	most := 0
	for !must(client.State()).RequestInFlight {
		time.Sleep(time.Millisecond)
	}
	for must(client.State()).RequestInFlight {
		most = max(most, threads())
		time.Sleep(10 * time.Millisecond)
	}
	check(most > 0 && most-before <= 8, most, " threads instead of ", before)
	first := <-values
	for range 4999 {
		check(<-values == first)
	}
}

// announcements has the arguments of the calls of a change function.
type announcements chan error

// client makes a client whose change function sends its argument to the channel, and then calls then.
func (a announcements) client(then func(*cloposauth.Client)) *cloposauth.Client {
	config := configFromEnvironment()
	made := make(chan *cloposauth.Client, 1)
	config.OnChange = func(failure error) {
		a <- failure
		client := <-made
		made <- client
		then(client)
	}
	client := must(cloposauth.New(config))
	made <- client
	return client
}

// next returns the next announcement, or fails after 20 s.
func (a announcements) next() error {
	select {
	case failure := <-a:
		return failure
	case <-time.After(20 * time.Second):
		fail("no announcement")
		return nil
	}
}

func announcesAToken() {
	announced := make(announcements, 100)
	seen := make(chan string, 100)
	client := announced.client(func(client *cloposauth.Client) { seen <- must(client.TryToken()).Value.Reveal() })
	first := get(client).Value.Reveal()
	check(announced.next() == nil && <-seen == first)
	second := must(client.Authenticate(background)).Value.Reveal()
	check(announced.next() == nil && <-seen == second && first != second)
	check(client.Close() == nil)
	time.Sleep(200 * time.Millisecond)
	check(len(announced) == 0)
}

func announcesAFailure() {
	announced := make(announcements, 100)
	client := announced.client(func(*cloposauth.Client) {})
	expect(errorOf(client.Token(background)), cloposauth.ErrServer, "")
	check(errors.Is(announced.next(), cloposauth.ErrServer))
	check(client.Close() == nil && len(announced) == 0)
}

func changeFunctionThatFails() {
	announced := make(announcements, 100)
	client := announced.client(func(*cloposauth.Client) { panic("this function always fails") })
	first := get(client).Value.Reveal()
	second := must(client.Authenticate(background)).Value.Reveal()
	check(first != second && announced.next() == nil && announced.next() == nil)
	check(client.Close() == nil && len(announced) == 0)
}

func changeFunctionThatCloses() {
	announced := make(announcements, 100)
	client := announced.client(func(client *cloposauth.Client) { check(client.Close() == nil) })
	start := time.Now()
	if _, err := client.Token(background); err != nil {
		expect(err, cloposauth.ErrCancelled, "")
	}
	check(time.Since(start) < 2*time.Second && announced.next() == nil)
	time.Sleep(200 * time.Millisecond)
	check(len(announced) == 0)
	expect(errorOf(client.TryToken()), cloposauth.ErrInvalidHandle, "")
}

func changeFunctionThatIsSlow() {
	announced := make(announcements, 100)
	var finished atomic.Bool
	client := announced.client(func(*cloposauth.Client) {
		time.Sleep(4 * time.Second)
		finished.Store(true)
	})
	start := time.Now()
	token := get(client).Value.Reveal()
	check(get(client).Value.Reveal() == token && time.Since(start) < 2*time.Second && !finished.Load())
	check(announced.next() == nil)
	check(client.Close() == nil && finished.Load())
}

func state() {
	client := newClient()
	s := must(client.State())
	check(!s.HasToken && !s.IsFresh && !s.RequestInFlight && s.Requests == 0 && s.Failures == 0, s)
	check(s.ExpiresIn < 0 && s.RefreshIn < 0 && s.LastResultAge < 0 && s.LastStatus == 0 && s.LastMessage == "", s)
	expect(errorOf(client.TryToken()), cloposauth.ErrWouldWait, "")
	check(must(client.State()).RequestInFlight)
	get(client)
	s = must(client.State())
	check(s.HasToken && s.IsFresh && !s.RequestInFlight && s.NextRequestIn >= 0, s)
	check(s.ExpiresIn >= 3500*time.Second && s.ExpiresIn <= time.Hour && s.RefreshIn > 0 && s.RefreshIn < s.ExpiresIn, s)
	check(s.LastStatus == 0 && s.LastHTTPStatus == 200 && s.LastResultAge >= 0 && s.LastResultAge < 10*time.Second, s)
	check(s.Requests == 2 && s.Failures == 1 && s.LastMessage == "", s)
}

func nothingPrinted() {
	config := configFromEnvironment()
	config.Logger = nil
	client := must(cloposauth.New(config))
	check(errors.Is(errorOf(client.Token(background)), cloposauth.ErrServer))
	token := get(client)
	time.Sleep(3200 * time.Millisecond)
	check(client.Invalidate(token) == nil && get(client).Value.Reveal() != token.Value.Reveal())
	check(client.Close() == nil)
	config.Brand = ""
	check(errors.Is(errorOfNew(cloposauth.New(config)), cloposauth.ErrInvalidArgument))
	check(errors.Is(errorOf(client.Token(background)), cloposauth.ErrInvalidHandle))
}

func errorOfNew(_ *cloposauth.Client, err error) error { return err }

// refusing is a fake source of a program's own, which returns ErrRejected.
type refusing struct{}

func (refusing) Token(context.Context) (cloposauth.Token, error) {
	return cloposauth.Token{}, &cloposauth.Error{
		Status: cloposauth.ErrRejected, Reason: cloposauth.ReasonCredentials, Message: "Invalid credentials"}
}

func (refusing) Invalidate(cloposauth.Token) error { return nil }

func fake() {
	header := func(source cloposauth.TokenSource) (string, error) { // the program's code
		token, err := source.Token(background)
		return token.Value.Reveal(), err
	}
	value, err := header(cloposauth.StaticSource(cloposauth.Token{Value: cloposauth.NewSecret("a token of the test's")}))
	check(err == nil && value == "a token of the test's")
	value, err = header(refusing{})
	check(value == "" && expect(err, cloposauth.ErrRejected, "Invalid").Reason == cloposauth.ReasonCredentials)
}

func closedWhileInUse() {
	client := newClient()
	ended := make(chan error)
	var started atomic.Int64
	for range 8 {
		go func() {
			started.Add(1)
			_, err := client.Token(background)
			ended <- err
		}()
	}
	for started.Load() < 8 || log.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	check(client.Close() == nil)
	inTime := 0
	for range 8 {
		err := <-ended
		if errors.Is(err, fs.ErrClosed) {
			expect(err, cloposauth.ErrInvalidHandle, "")
		} else {
			expect(err, cloposauth.ErrCancelled, "")
			inTime++
		}
	}
	check(inTime >= 1 && time.Since(start) < 2*time.Second)
}

func usedAfterClose() {
	client := newClient()
	kept := get(client)
	check(client.Close() == nil)
	for _, err := range []error{
		errorOf(client.Token(background)),
		errorOf(client.TryToken()),
		errorOf(client.Authenticate(background)),
		client.Invalidate(kept),
		client.Cancel(),
	} {
		check(errors.Is(err, fs.ErrClosed))
		expect(err, cloposauth.ErrInvalidHandle, "")
	}
	check(client.Close() == nil && kept.Value.Reveal() != "")
}

func errorOf(_ cloposauth.Token, err error) error { return err }

func closedByItsLogFunction() {
	config := configFromEnvironment()
	var client *cloposauth.Client
	lines := 0
	config.Logger = slog.New(function(func() {
		lines++ // without a lock: it is called once
		check(client.Close() == nil)
	}))
	client = must(cloposauth.New(config))
	start := time.Now()
	_, err := client.Token(background)
	expect(err, cloposauth.ErrCancelled, "")
	check(time.Since(start) < 2*time.Second)
	time.Sleep(200 * time.Millisecond)
	check(lines == 1, lines, " lines")
}

func aSecondCloseWaits() {
	config := configFromEnvironment()
	entered, closing := make(chan struct{}), make(chan struct{})
	var finished atomic.Bool
	var once sync.Once
	config.Logger = slog.New(function(func() {
		once.Do(func() {
			close(entered)
			<-closing
			<-closing
			time.Sleep(500 * time.Millisecond)
			finished.Store(true)
		})
	}))
	client := must(cloposauth.New(config))
	_, err := client.TryToken()
	expect(err, cloposauth.ErrWouldWait, "")
	<-entered
	waited := make(chan bool)
	for _, delay := range []time.Duration{0, 100 * time.Millisecond} {
		go func() {
			time.Sleep(delay)
			closing <- struct{}{}
			check(client.Close() == nil)
			waited <- finished.Load()
		}()
	}
	check(<-waited && <-waited)
}

func endsWithoutClose() {
	_, err := newClient().TryToken()
	expect(err, cloposauth.ErrWouldWait, "")
}

func expiredAndRefreshed() {
	client := newClient()
	current := get(client)
	start := time.Now()
	for changes := 0; changes < 2; time.Sleep(10 * time.Millisecond) {
		next := get(client)
		check(next.ExpiresIn >= 0)
		if next.Value.Reveal() != current.Value.Reveal() {
			changes++
		}
		current = next
		check(time.Since(start) < 20*time.Second)
	}
}

func recoversFromA401() {
	client := newClient()
	refused := get(client)
	time.Sleep(3200 * time.Millisecond)
	check(client.Invalidate(refused) == nil)
	next := get(client)
	check(next.Value.Reveal() != refused.Value.Reveal())
	check(client.Invalidate(refused) == nil)
	check(get(client).Value.Reveal() == next.Value.Reveal())
}

// helper returns a function that gets a URL, or the venues, with the client's token.
func helper(client *cloposauth.Client) func(url string) (int, string) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile(os.Getenv("CLOPOS_CA_FILE"))))
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	httpClient := &http.Client{Transport: &cloposauth.Transport{Source: client, Base: base}}
	return func(url string) (int, string) {
		response := must(httpClient.Get(cmp.Or(url, os.Getenv("CLOPOS_BASE_URL")+"/open-api/v2/venues")))
		defer response.Body.Close()
		return response.StatusCode, string(must(io.ReadAll(response.Body)))
	}
}

func helperGetsAnotherToken() {
	client := newClient()
	token := get(client)
	time.Sleep(3200 * time.Millisecond)
	status, body := helper(client)("")
	check(status == 200 && strings.Contains(body, "Sandbox"), status, body)
	check(get(client).Value.Reveal() != token.Value.Reveal())
}

func helperHandsARefusalBack() {
	status, body := helper(newClient())("")
	check(status == 401 && strings.Contains(body, "Invalid token"), status, body)
}

func helperKeepsAGoodToken() {
	client := newClient()
	token := get(client)
	venues := helper(client)
	for _, expected := range []string{"Headers are missing", "Invalid integrator_id"} {
		status, body := venues("")
		check(status == 401 && strings.Contains(body, expected), status, body)
	}
	check(get(client).Value.Reveal() == token.Value.Reveal())
	status, body := venues("")
	check(status == 200, status, body)
}

func helperKeepsTheTokenFromOthers() {
	venues := helper(newClient())
	for _, url := range []string{"", "", os.Getenv("CLOPOS_ELSEWHERE_URL")} {
		status, body := venues(url)
		check(status == 401 && strings.Contains(body, "Invalid token"), status, body)
	}
	_, body := venues("")
	check(strings.Contains(body, "Sandbox"), body)
}

func helperSendsTheVenue() {
	var seen http.Header
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer service.Close()
	source := cloposauth.StaticSource(cloposauth.Token{Value: cloposauth.NewSecret("t")})
	client := http.Client{Transport: &cloposauth.Transport{Source: source, BaseURL: service.URL, Venue: "7"}}
	must(client.Get(service.URL)).Body.Close()
	check(seen.Get("x-token") == "t" && seen.Get("x-venue") == "7", seen)
}

func sixtyFourThreads() {
	client := newClient()
	values := make(chan string)
	gate := make(chan struct{})
	for range 64 {
		go func() {
			runtime.LockOSThread()
			<-gate
			first := get(client).Value.Reveal()
			for range 999 {
				check(get(client).Value.Reveal() == first)
			}
			values <- first
		}()
	}
	close(gate)
	first := <-values
	for range 63 {
		check(<-values == first)
	}
}

func residentBytes() int {
	runtime.GC()
	debug.FreeOSMemory()
	content := must(os.ReadFile("/proc/self/statm"))
	return must(strconv.Atoi(strings.Fields(string(content))[1])) * os.Getpagesize()
}

func noLeak() {
	client := newClient()
	before := 0
	for cycle := range 12000 {
		if cycle == 2000 {
			before = residentBytes()
		}
		for range 10 {
			check(get(client).Value.Reveal() != "")
			_, err := cloposauth.New(cloposauth.Config{ClientID: "a", ClientSecret: cloposauth.NewSecret("b"), IntegratorID: "d"})
			check(errors.Is(err, cloposauth.ErrInvalidArgument))
		}
		other := must(cloposauth.New(cloposauth.Config{
			ClientID: "a", ClientSecret: cloposauth.NewSecret("b"), Brand: "c", IntegratorID: "d",
			MaxAttempts: 1,
			Logger:      slog.New(function(func() {})),
		}))
		check(other.Close() == nil)
	}
	grown := residentBytes() - before
	fmt.Fprintln(os.Stderr, "grown by", grown>>10, "KiB")
	check(grown < 4<<20)
}

// function is a slog.Handler that is called for each line.
type function func()

func (f function) Enabled(context.Context, slog.Level) bool  { return true }
func (f function) Handle(context.Context, slog.Record) error { f(); return nil }
func (f function) WithAttrs([]slog.Attr) slog.Handler        { return f }
func (f function) WithGroup(string) slog.Handler             { return f }

var behaviours = map[string]func(){
	"signs_in":                           signsIn,
	"non_ascii_brand":                    signsIn,
	"shows_no_secret":                    showsNoSecret,
	"keeps_no_copy_of_the_secret":        keepsNoCopyOfTheSecret,
	"all_settings":                       allSettings,
	"log_lines":                          logLines,
	"warns_of_too_much_copied":           warnsOfTooMuchCopied,
	"invalid_argument":                   invalidArgument,
	"nul_inside":                         nulInside,
	"would_wait":                         wouldWait,
	"deadline":                           deadline,
	"cancelled":                          cancelled,
	"cancelled_by_the_language":          cancelledByTheLanguage,
	"waits_without_a_thread":             waitsWithoutAThread,
	"announces_a_token":                  announcesAToken,
	"announces_a_failure":                announcesAFailure,
	"change_function_that_fails":         changeFunctionThatFails,
	"change_function_that_closes":        changeFunctionThatCloses,
	"change_function_that_is_slow":       changeFunctionThatIsSlow,
	"state":                              state,
	"nothing_printed":                    nothingPrinted,
	"fake":                               fake,
	"auth_path":                          failsAsExpected,
	"closed_while_in_use":                closedWhileInUse,
	"closed_by_its_log_function":         closedByItsLogFunction,
	"a_second_close_waits":               aSecondCloseWaits,
	"ends_without_close":                 endsWithoutClose,
	"used_after_close":                   usedAfterClose,
	"expired_and_refreshed":              expiredAndRefreshed,
	"recovers_from_a_401":                recoversFromA401,
	"helper_gets_another_token":          helperGetsAnotherToken,
	"helper_hands_a_refusal_back":        helperHandsARefusalBack,
	"helper_keeps_a_good_token":          helperKeepsAGoodToken,
	"helper_keeps_the_token_from_others": helperKeepsTheTokenFromOthers,
	"helper_sends_the_venue":             helperSendsTheVenue,
	"sixty_four_threads":                 sixtyFourThreads,
	"no_leak":                            noLeak,
}

func main() {
	check(len(os.Args) == 2, "usage: behaviours NAME")
	if behaviour, found := behaviours[os.Args[1]]; found {
		behaviour()
	} else if os.Getenv("EXPECT_STATUS") != "" {
		failsAsExpected()
	} else {
		check(false, "no such behaviour")
	}
	fmt.Println("ok")
}
