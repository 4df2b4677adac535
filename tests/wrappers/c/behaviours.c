/* The rows of ../behaviours.md for the C interface itself. */

#define _POSIX_C_SOURCE 200809L

#include <clopos_auth.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))

#define DEFAULT CLOPOS_AUTH_TIMEOUT_DEFAULT

static void fail(const char *file, int line, const char *what)
{
    printf("%s:%d: %s\n", file, line, what);
    fflush(stdout);
    _Exit(1);
}

#include "../../c/shared.h"

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap_ms(long ms)
{
    struct timespec nap = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&nap, NULL);
}

/* NULL if the variable is not set or empty. */
static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static uint32_t env_u32(const char *name)
{
    const char *value = env(name);
    return value != NULL ? (uint32_t)strtoul(value, NULL, 10) : 0;
}

static clopos_auth_client *client_to_close; /* freed by its log function */

/* The lines that the log function of a client has received. */
static struct {
    pthread_mutex_t lock;
    int lines;
    const char *token; /* must not be in a line */
} seen = {PTHREAD_MUTEX_INITIALIZER, 0, NULL};

static void log_line(int32_t level, const char *line, void *user)
{
    fprintf(stderr, "log %" PRId32 ": %s\n", level, line);
    CHECK(user == &seen);
    CHECK(level >= CLOPOS_AUTH_LOG_ERROR && level <= CLOPOS_AUTH_LOG_DEBUG);
    CHECK(*line != '\0' && strstr(line, env("CLOPOS_CLIENT_SECRET")) == NULL);
    pthread_mutex_lock(&seen.lock);
    seen.lines++;
    CHECK(seen.token == NULL || strstr(line, seen.token) == NULL);
    pthread_mutex_unlock(&seen.lock);
    clopos_auth_client_free(client_to_close);
}

static int lines_seen(void)
{
    int lines;
    pthread_mutex_lock(&seen.lock);
    lines = seen.lines;
    pthread_mutex_unlock(&seen.lock);
    return lines;
}

/* `status` is `expected`, and *err, unless `err` is NULL, agrees with it and names `named`. Frees it. */
static void expect(clopos_auth_status expected, clopos_auth_status status, clopos_auth_error **err,
                   const char *named)
{
    clopos_auth_error *error = err != NULL ? *err : NULL;

    if (error != NULL)
        fprintf(stderr, "error: %s: %s\n", clopos_auth_status_name(status), error->message);
    if (status != expected) {
        printf("%s instead of %s\n", clopos_auth_status_name(status),
               clopos_auth_status_name(expected));
        exit(1);
    }
    CHECK(err == NULL || (error != NULL) == (status != CLOPOS_AUTH_OK));
    CHECK(error == NULL || (error->status == status && *error->message != '\0'));
    CHECK(named == NULL || strstr(error->message, named) != NULL);
    clopos_auth_error_free(error);
    if (err != NULL)
        *err = NULL;
}

static clopos_auth_config *config_from_environment(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *error = NULL;
    char pem[16384];
    const size_t length = read_ca(pem, sizeof pem);

    CHECK(config != NULL);
    expect(CLOPOS_AUTH_OK,
           clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, log_line, &seen, &error), &error,
           NULL);
    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_base_url(config, getenv("CLOPOS_BASE_URL"), &error),
           &error, NULL);
    if (env("CLOPOS_PROXY") != NULL)
        expect(CLOPOS_AUTH_OK, clopos_auth_config_set_proxy(config, env("CLOPOS_PROXY"), &error),
               &error, NULL);
    if (env("CLOPOS_TIMEOUT_MS") != NULL)
        expect(CLOPOS_AUTH_OK,
               clopos_auth_config_set_timeout_ms(config, env_u32("CLOPOS_TIMEOUT_MS"), &error), &error,
               NULL);
    if (env("CLOPOS_MAX_ATTEMPTS") != NULL)
        expect(CLOPOS_AUTH_OK,
               clopos_auth_config_set_max_attempts(config, env_u32("CLOPOS_MAX_ATTEMPTS"), &error),
               &error, NULL);
    if (env("CLOPOS_AUTH_PATH") != NULL)
        expect(CLOPOS_AUTH_OK,
               clopos_auth_config_set_auth_path(config, env("CLOPOS_AUTH_PATH"), &error), &error, NULL);
    if (length > 0) {
        expect(CLOPOS_AUTH_OK, clopos_auth_config_add_ca_pem(config, pem, length, &error), &error,
               NULL);
        expect(CLOPOS_AUTH_OK, clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &error),
               &error, NULL);
    }
    return config;
}

static clopos_auth_client *client_with(clopos_auth_config *config)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;

    expect(CLOPOS_AUTH_OK, make_client(config, &client, &error), &error, NULL);
    clopos_auth_config_free(config);
    return client;
}

static clopos_auth_client *client_from_environment(void)
{
    return client_with(config_from_environment());
}

static clopos_auth_token *token_of(clopos_auth_client *client)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    expect(CLOPOS_AUTH_OK, clopos_auth_get_token(client, DEFAULT, &token, &error), &error, NULL);
    return token;
}

static bool same(const clopos_auth_token *one, const clopos_auth_token *other)
{
    return strcmp(one->value, other->value) == 0;
}

static void signs_in(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *first = token_of(client), *second = token_of(client), *third = NULL, *fourth;
    clopos_auth_error *error = NULL;
    const char *dot = strchr(first->value, '.');
    int64_t in_an_hour = (int64_t)time(NULL) + 3600;

    CHECK(dot != NULL && (dot = strchr(dot + 1, '.')) != NULL && strchr(dot + 1, '.') == NULL);
    CHECK(first->value_len == strlen(first->value));
    CHECK(strcmp(first->token_type, "Bearer") == 0);
    CHECK(first->expires_in >= 3500 && first->expires_in <= 3600);
    CHECK(first->expires_at >= in_an_hour - 60 && first->expires_at <= in_an_hour + 60);
    CHECK(same(first, second));
    expect(CLOPOS_AUTH_OK, clopos_auth_authenticate(client, DEFAULT, &third, &error), &error, NULL);
    fourth = token_of(client);
    CHECK(!same(first, third) && same(third, fourth));
    clopos_auth_token_free(first);
    clopos_auth_token_free(second);
    clopos_auth_token_free(third);
    clopos_auth_token_free(fourth);
    clopos_auth_client_free(client);
}

static void ignore_change(int32_t status, void *user)
{
    (void)status, (void)user;
}

static void all_settings(void)
{
    clopos_auth_config *config = config_from_environment();
    clopos_auth_error *error = NULL;
    clopos_auth_client *client;

    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_auth_path(config, "/open-api/v2/auth", &error), &error,
           NULL);
    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_attempt_timeout_ms(config, 5000, &error), &error,
           NULL);
    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_requests_per_minute(config, 20, &error), &error,
           NULL);
    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_user_agent(config, "Till/4.2", &error), &error, NULL);
    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_proxy(config, "none", &error), &error, NULL);
    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_allow_plain_http(config, 0, &error), &error, NULL);
    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_on_change(config, ignore_change, NULL, &error), &error,
           NULL);
    client = client_with(config);
    clopos_auth_token_free(token_of(client));
    clopos_auth_client_free(client);
}

static void log_lines(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *token = token_of(client);
    int lines;

    pthread_mutex_lock(&seen.lock);
    seen.token = token->value;
    pthread_mutex_unlock(&seen.lock);
    expect(CLOPOS_AUTH_OK, clopos_auth_invalidate(client, token->value), NULL, NULL);
    clopos_auth_client_free(client);
    lines = lines_seen();
    CHECK(lines >= 2);
    CHECK(clopos_auth_invalidate(client, NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    nap_ms(200);
    CHECK(lines_seen() == lines);
    seen.token = NULL;
    clopos_auth_token_free(token);
}

static void warns_of_too_much_copied(void)
{
    clopos_auth_client_free(client_from_environment());
    CHECK(lines_seen() == 1);
}

static void fails_as_expected(void)
{
    static const char *const reasons[] = {"UNKNOWN",     "CREDENTIALS", "INTEGRATOR",
                                          "ENVIRONMENT", "DISABLED",    "MISSING_FIELD"};
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status = clopos_auth_get_token(client, DEFAULT, &token, &error);
    const char *server_code = env("EXPECT_SERVER_CODE");
    int least, most;

    CHECK(token == NULL && error != NULL);
    fprintf(stderr, "error: %s %" PRId32 " %" PRId32 " %" PRId64 " %s: %s\n",
            clopos_auth_status_name(error->status), error->http_status, error->retryable,
            error->retry_after_ms, error->server_code ? error->server_code : "", error->message);
    CHECK(error->status == status);
    CHECK(strcmp(clopos_auth_status_name(status), env("EXPECT_STATUS")) == 0);
    CHECK(error->http_status == (int32_t)env_u32("EXPECT_HTTP_STATUS"));
    CHECK(error->retryable == (int32_t)env_u32("EXPECT_RETRYABLE"));
    if (strcmp(env("EXPECT_RETRY_AFTER"), "unknown") == 0) {
        CHECK(error->retry_after_ms == -1);
    } else {
        CHECK(sscanf(env("EXPECT_RETRY_AFTER"), "%d-%d", &least, &most) == 2);
        CHECK(error->retry_after_ms >= 1000 * least && error->retry_after_ms <= 1000 * most);
    }
    CHECK(error->reason >= 0 && error->reason < (int32_t)(sizeof reasons / sizeof *reasons));
    CHECK(strcmp(reasons[error->reason], env("EXPECT_REASON")) == 0);
    CHECK((error->server_code != NULL) == (server_code != NULL));
    CHECK(server_code == NULL || strcmp(error->server_code, server_code) == 0);
    CHECK(*error->message != '\0' && strstr(error->message, env("CLOPOS_CLIENT_SECRET")) == NULL);
    clopos_auth_error_free(error);
    clopos_auth_client_free(client);
}

static void refuses_brand(const char *brand)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status =
        clopos_auth_client_new("id", "secret", brand, "integrator", NULL, &client, &error);
    expect(CLOPOS_AUTH_INVALID_ARGUMENT, status, &error, "brand");
    CHECK(client == NULL);
}

static void invalid_argument(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *error = NULL;

    refuses_brand("");
    refuses_brand("two\nlines");
    refuses_brand(NULL);
    expect(CLOPOS_AUTH_INVALID_ARGUMENT, clopos_auth_config_set_base_url(config, "not a url", &error),
           &error, "base_url");
    clopos_auth_config_free(config);
}

static void buffer_too_small(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_error *error = NULL;
    size_t needed = 0;
    int64_t expires_at = 0;
    char *buffer;

    expect(CLOPOS_AUTH_BUFFER_TOO_SMALL,
           clopos_auth_copy_token(client, DEFAULT, NULL, 0, &needed, NULL, &error), &error, NULL);
    CHECK(needed > 1 && (buffer = malloc(needed)) != NULL);
    expect(CLOPOS_AUTH_OK,
           clopos_auth_copy_token(client, DEFAULT, buffer, needed, NULL, &expires_at, &error), &error,
           NULL);
    CHECK(strlen(buffer) == needed - 1 && expires_at > 0);
    free(buffer);
    clopos_auth_client_free(client);
}

static void would_wait(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    int64_t start = now_ms();
    clopos_auth_status status = clopos_auth_get_token(client, 0, &token, &error);

    CHECK(now_ms() - start < 1000);
    CHECK(error != NULL && error->retryable == 1);
    expect(CLOPOS_AUTH_WOULD_WAIT, status, &error, NULL);
    clopos_auth_token_free(token_of(client));
    expect(CLOPOS_AUTH_OK, clopos_auth_get_token(client, 0, &token, &error), &error, NULL);
    clopos_auth_token_free(token);
    clopos_auth_client_free(client);
}

static void deadline(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    int64_t start = now_ms(), took;

    expect(CLOPOS_AUTH_TIMEOUT, clopos_auth_get_token(client, 300, &token, &error), &error, NULL);
    took = now_ms() - start;
    CHECK(took >= 300 && took < 2000);
    clopos_auth_token_free(token_of(client));
    clopos_auth_client_free(client);
}

/* A thread that calls get_token() once. */
struct caller {
    pthread_t thread;
    pthread_mutex_t lock;
    clopos_auth_client *client;
    clopos_auth_status status;
    clopos_auth_error *error;
    bool started, done;
};

static void *call(void *argument)
{
    struct caller *caller = argument;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status;

    pthread_mutex_lock(&caller->lock);
    caller->started = true;
    pthread_mutex_unlock(&caller->lock);
    status = clopos_auth_get_token(caller->client, DEFAULT, &token, &error);
    clopos_auth_token_free(token);
    pthread_mutex_lock(&caller->lock);
    caller->status = status;
    caller->error = error;
    caller->done = true;
    pthread_mutex_unlock(&caller->lock);
    return NULL;
}

static void start_call(struct caller *caller, clopos_auth_client *client)
{
    caller->client = client;
    caller->started = caller->done = false;
    CHECK(pthread_mutex_init(&caller->lock, NULL) == 0);
    CHECK(pthread_create(&caller->thread, NULL, call, caller) == 0);
}

static bool is_set(struct caller *caller, const bool *flag)
{
    bool set;
    pthread_mutex_lock(&caller->lock);
    set = *flag;
    pthread_mutex_unlock(&caller->lock);
    return set;
}

static void end_call(struct caller *caller)
{
    CHECK(pthread_join(caller->thread, NULL) == 0);
    CHECK(pthread_mutex_destroy(&caller->lock) == 0);
}

static void cancelled(void)
{
    clopos_auth_client *client = client_from_environment();
    int64_t start = now_ms();
    struct caller caller;

    start_call(&caller, client);
    while (!is_set(&caller, &caller.done)) {
        expect(CLOPOS_AUTH_OK, clopos_auth_cancel(client), NULL, NULL);
        nap_ms(10);
        CHECK(now_ms() - start < 2000);
    }
    end_call(&caller);
    expect(CLOPOS_AUTH_CANCELLED, caller.status, &caller.error, NULL);
    clopos_auth_token_free(token_of(client));
    clopos_auth_client_free(client);
}

static void closed_while_in_use(void)
{
    enum { CALLERS = 8 };
    clopos_auth_client *client = client_from_environment();
    struct caller callers[CALLERS];
    int64_t start;
    int i, in_time = 0;

    for (i = 0; i < CALLERS; i++)
        start_call(&callers[i], client);
    for (i = 0; i < CALLERS; i++)
        while (!is_set(&callers[i], &callers[i].started) || lines_seen() == 0)
            nap_ms(1);
    start = now_ms();
    clopos_auth_client_free(client);
    for (i = 0; i < CALLERS; i++) {
        end_call(&callers[i]);
        in_time += callers[i].status == CLOPOS_AUTH_CANCELLED;
        expect(callers[i].status == CLOPOS_AUTH_CANCELLED ? CLOPOS_AUTH_CANCELLED
                                                          : CLOPOS_AUTH_INVALID_HANDLE,
               callers[i].status, &callers[i].error, NULL);
    }
    CHECK(now_ms() - start < 2000);
    CHECK(in_time >= 1);
}

static void used_after_close(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *token = token_of(client), *none = NULL;
    clopos_auth_error *error = NULL;

    clopos_auth_client_free(client);
    expect(CLOPOS_AUTH_INVALID_HANDLE, clopos_auth_get_token(client, DEFAULT, &none, &error), &error,
           NULL);
    expect(CLOPOS_AUTH_INVALID_HANDLE, clopos_auth_authenticate(client, DEFAULT, &none, &error), &error,
           NULL);
    CHECK(clopos_auth_invalidate(client, token->value) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    clopos_auth_client_free(client);
    CHECK(none == NULL && strlen(token->value) == token->value_len);
    clopos_auth_token_free(token);
}

static void closed_by_its_log_function(void)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    int64_t start = now_ms();

    client_to_close = client_from_environment();
    expect(CLOPOS_AUTH_CANCELLED, clopos_auth_get_token(client_to_close, DEFAULT, &token, &error),
           &error, NULL);
    CHECK(now_ms() - start < 2000);
    nap_ms(200);
    CHECK(lines_seen() == 1);
}

static struct {
    pthread_mutex_t lock;
    bool entered, finished;
    int closing;
    clopos_auth_client *client;
} stay = {PTHREAD_MUTEX_INITIALIZER, false, false, 0, NULL};

static bool staying(int closing)
{
    bool is_so;
    pthread_mutex_lock(&stay.lock);
    is_so = stay.entered && stay.closing >= closing;
    pthread_mutex_unlock(&stay.lock);
    return is_so;
}

/* Runs at its first line until two threads close the client, and 500 ms longer. */
static void stay_on_line(int32_t level, const char *line, void *user)
{
    bool is_first;

    (void)level, (void)line, (void)user;
    pthread_mutex_lock(&stay.lock);
    is_first = !stay.entered;
    stay.entered = true;
    pthread_mutex_unlock(&stay.lock);
    if (!is_first)
        return;
    while (!staying(2))
        nap_ms(1);
    nap_ms(500);
    pthread_mutex_lock(&stay.lock);
    stay.finished = true;
    pthread_mutex_unlock(&stay.lock);
}

static void *close_after(void *delay_ms)
{
    nap_ms(*(long *)delay_ms);
    pthread_mutex_lock(&stay.lock);
    stay.closing++;
    pthread_mutex_unlock(&stay.lock);
    clopos_auth_client_free(stay.client);
    pthread_mutex_lock(&stay.lock);
    CHECK(stay.finished);
    pthread_mutex_unlock(&stay.lock);
    return NULL;
}

static void a_second_close_waits(void)
{
    clopos_auth_config *config = config_from_environment();
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    long delays_ms[] = {0, 100};
    pthread_t threads[2];
    int i;

    expect(CLOPOS_AUTH_OK,
           clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, stay_on_line, NULL, &error), &error,
           NULL);
    stay.client = client_with(config);
    expect(CLOPOS_AUTH_WOULD_WAIT, clopos_auth_get_token(stay.client, 0, &token, &error), &error, NULL);
    while (!staying(0))
        nap_ms(1);
    for (i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, close_after, &delays_ms[i]) == 0);
    for (i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void ends_without_close(void)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;

    expect(CLOPOS_AUTH_WOULD_WAIT, clopos_auth_get_token(client_from_environment(), 0, &token, &error),
           &error, NULL);
}

/* The calls of a client's change function, and what it does then. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int begun, finished;
    int32_t statuses[8];
    clopos_auth_client *client;
    void (*then)(void);
} calls = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, {0}, NULL, NULL};

static void on_change(int32_t status, void *user)
{
    CHECK(user == &calls);
    pthread_mutex_lock(&calls.lock);
    CHECK(calls.begun < 8);
    calls.statuses[calls.begun++] = status;
    pthread_cond_broadcast(&calls.changed);
    pthread_mutex_unlock(&calls.lock);
    if (calls.then != NULL)
        calls.then();
    pthread_mutex_lock(&calls.lock);
    calls.finished++;
    pthread_cond_broadcast(&calls.changed);
    pthread_mutex_unlock(&calls.lock);
}

/* Waits until `count`, a number of calls begun or finished, has reached `number`; fails after 20 s. */
static void wait_for(const int *count, int number)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    pthread_mutex_lock(&calls.lock);
    while (*count < number)
        CHECK(pthread_cond_timedwait(&calls.changed, &calls.lock, &deadline) == 0);
    pthread_mutex_unlock(&calls.lock);
}

static clopos_auth_client *new_watched_client(void (*then)(void))
{
    clopos_auth_config *config = config_from_environment();
    clopos_auth_error *error = NULL;

    expect(CLOPOS_AUTH_OK, clopos_auth_config_set_on_change(config, on_change, &calls, &error), &error,
           NULL);
    calls.then = then;
    calls.client = client_with(config);
    return calls.client;
}

static clopos_auth_state *state_of(clopos_auth_client *client)
{
    clopos_auth_state *now = NULL;
    clopos_auth_error *error = NULL;

    expect(CLOPOS_AUTH_OK, clopos_auth_get_state(client, &now, &error), &error, NULL);
    return now;
}

static uint64_t announced_serials[2];

static void take_announced_token(void)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;

    expect(CLOPOS_AUTH_OK, clopos_auth_get_token(calls.client, 0, &token, &error), &error, NULL);
    announced_serials[calls.finished] = token->serial;
    clopos_auth_token_free(token);
}

static void announces_a_token(void)
{
    clopos_auth_client *client = new_watched_client(take_announced_token);
    clopos_auth_token *first = token_of(client), *second = NULL;
    clopos_auth_error *error = NULL;

    wait_for(&calls.finished, 1);
    expect(CLOPOS_AUTH_OK, clopos_auth_authenticate(client, DEFAULT, &second, &error), &error, NULL);
    wait_for(&calls.finished, 2);
    CHECK(announced_serials[0] == first->serial && announced_serials[1] == second->serial);
    CHECK(first->serial != second->serial && clopos_auth_current(client, NULL) == second->serial);
    clopos_auth_token_free(first);
    clopos_auth_token_free(second);
    clopos_auth_client_free(client);
    nap_ms(200);
    CHECK(calls.begun == 2);
    CHECK(calls.statuses[0] == CLOPOS_AUTH_OK && calls.statuses[1] == CLOPOS_AUTH_OK);
}

static void announces_a_failure(void)
{
    clopos_auth_client *client = new_watched_client(NULL);
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_state *now;

    expect(CLOPOS_AUTH_SERVER, clopos_auth_get_token(client, DEFAULT, &token, &error), &error, NULL);
    wait_for(&calls.finished, 1);
    now = state_of(client);
    CHECK(now->last_status == CLOPOS_AUTH_SERVER && now->last_http_status == 503);
    CHECK(now->requests == 1 && now->failures == 1 && *now->last_message != '\0');
    clopos_auth_state_free(now);
    nap_ms(200);
    clopos_auth_client_free(client);
    CHECK(calls.begun == 1 && calls.statuses[0] == CLOPOS_AUTH_SERVER);
}

static void close_client(void)
{
    clopos_auth_client_free(calls.client);
}

static void change_function_that_closes(void)
{
    clopos_auth_client *client = new_watched_client(close_client);
    clopos_auth_token *token = NULL;
    int64_t start = now_ms();
    clopos_auth_status status = clopos_auth_get_token(client, DEFAULT, &token, NULL);

    CHECK(status == CLOPOS_AUTH_OK || status == CLOPOS_AUTH_CANCELLED);
    CHECK(now_ms() - start < 2000);
    clopos_auth_token_free(token);
    wait_for(&calls.finished, 1);
    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    nap_ms(200);
    CHECK(calls.begun == 1);
}

static void stay_four_seconds(void)
{
    nap_ms(4000);
}

static void change_function_that_is_slow(void)
{
    clopos_auth_client *client = new_watched_client(stay_four_seconds);
    int64_t start = now_ms();

    clopos_auth_token_free(token_of(client));
    clopos_auth_token_free(token_of(client));
    CHECK(now_ms() - start < 2000);
    wait_for(&calls.begun, 1);
    pthread_mutex_lock(&calls.lock);
    CHECK(calls.finished == 0);
    pthread_mutex_unlock(&calls.lock);
    clopos_auth_client_free(client);
    CHECK(calls.finished == 1);
}

/* Like an event loop: each caller without a token tries again after a change. */
static void waits_without_a_thread(void)
{
    enum { WAITING = 5000 };
    static uint64_t serials[WAITING]; /* 0: waits */
    clopos_auth_client *client = new_watched_client(NULL);
    int before = threads(), waiting = WAITING, events = 0, i;

    while (waiting > 0) {
        for (i = 0; i < WAITING; i++) {
            clopos_auth_token *token = NULL;
            clopos_auth_status status;

            if (serials[i] != 0)
                continue;
            status = clopos_auth_get_token(client, 0, &token, NULL);
            CHECK(status == CLOPOS_AUTH_OK || (status == CLOPOS_AUTH_WOULD_WAIT && events == 0));
            if (status == CLOPOS_AUTH_OK) {
                serials[i] = token->serial;
                waiting--;
            }
            clopos_auth_token_free(token);
        }
        CHECK(threads() <= before + 8);
        if (waiting > 0)
            wait_for(&calls.begun, ++events);
    }
    CHECK(events == 1);
    for (i = 0; i < WAITING; i++)
        CHECK(serials[i] == serials[0]);
    clopos_auth_client_free(client);
}

static void state(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_state *now = state_of(client);

    CHECK(!now->has_token && !now->is_fresh && !now->request_in_flight);
    CHECK(now->requests == 0 && now->failures == 0 && now->last_result_age_ms == -1);
    CHECK(now->expires_in_ms == -1 && now->next_request_in_ms == 0 && now->last_message == NULL);
    clopos_auth_state_free(now);
    expect(CLOPOS_AUTH_WOULD_WAIT, clopos_auth_get_token(client, 0, &token, &error), &error, NULL);
    now = state_of(client);
    CHECK(now->request_in_flight);
    clopos_auth_state_free(now);
    clopos_auth_token_free(token_of(client));
    now = state_of(client);
    CHECK(now->has_token && now->is_fresh && !now->request_in_flight);
    CHECK(now->expires_in_ms >= 3500000 && now->expires_in_ms <= 3600000);
    CHECK(now->refresh_in_ms > 0 && now->refresh_in_ms < now->expires_in_ms);
    CHECK(now->last_status == CLOPOS_AUTH_OK && now->last_http_status == 200);
    CHECK(now->last_result_age_ms >= 0 && now->last_result_age_ms < 10000);
    CHECK(now->requests == 2 && now->failures == 1 && now->last_message == NULL);
    clopos_auth_state_free(now);
    clopos_auth_client_free(client);
}

static void nothing_printed(void)
{
    clopos_auth_config *config = config_from_environment();
    clopos_auth_error *error = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_client *client;

    CHECK(clopos_auth_config_set_log(config, 0, NULL, NULL, &error) == CLOPOS_AUTH_OK);
    client = client_with(config);
    CHECK(clopos_auth_get_token(client, DEFAULT, &token, &error) == CLOPOS_AUTH_SERVER);
    clopos_auth_error_free(error);
    token = token_of(client);
    nap_ms(3200);
    CHECK(clopos_auth_invalidate(client, token->value) == CLOPOS_AUTH_OK);
    clopos_auth_token_free(token);
    clopos_auth_token_free(token_of(client));
    clopos_auth_client_free(client);
    CHECK(clopos_auth_get_token(client, DEFAULT, &token, &error) == CLOPOS_AUTH_INVALID_HANDLE);
    clopos_auth_error_free(error);
    client = NULL;
    CHECK(clopos_auth_client_new("a", "b", "", "d", NULL, &client, &error) ==
          CLOPOS_AUTH_INVALID_ARGUMENT);
    clopos_auth_error_free(error);
}

static void expired_and_refreshed(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *current = token_of(client);
    int64_t deadline_ms = now_ms() + 20000;
    int changes = 0;

    while (changes < 2) {
        clopos_auth_token *next = token_of(client);
        CHECK(next->expires_in >= 0);
        changes += !same(current, next);
        clopos_auth_token_free(current);
        current = next;
        nap_ms(10);
        CHECK(now_ms() < deadline_ms);
    }
    clopos_auth_token_free(current);
    clopos_auth_client_free(client);
}

static void recovers_from_a_401(void)
{
    clopos_auth_client *client = client_from_environment();
    clopos_auth_token *refused = token_of(client), *next, *last;

    nap_ms(3200);
    expect(CLOPOS_AUTH_OK, clopos_auth_invalidate(client, refused->value), NULL, NULL);
    next = token_of(client);
    CHECK(!same(refused, next));
    expect(CLOPOS_AUTH_OK, clopos_auth_invalidate(client, refused->value), NULL, NULL);
    last = token_of(client);
    CHECK(same(next, last));
    clopos_auth_token_free(refused);
    clopos_auth_token_free(next);
    clopos_auth_token_free(last);
    clopos_auth_client_free(client);
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int waiting;
    bool open;
    clopos_auth_client *client;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false, NULL};

/* Returns the first of its tokens; all are the same. */
static void *get_tokens(void *argument)
{
    clopos_auth_token *first;
    int i;

    (void)argument;
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    first = token_of(gate.client);
    for (i = 1; i < 1000; i++) {
        clopos_auth_token *token = token_of(gate.client);
        CHECK(same(first, token));
        clopos_auth_token_free(token);
    }
    return first;
}

static void sixty_four_threads(void)
{
    enum { THREADS = 64 };
    pthread_t threads[THREADS];
    void *results[THREADS];
    int i;

    gate.client = client_from_environment();
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, get_tokens, NULL) == 0);
    pthread_mutex_lock(&gate.lock);
    while (gate.waiting < THREADS)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], &results[i]) == 0);
    for (i = 1; i < THREADS; i++)
        CHECK(same(results[0], results[i]));
    for (i = 0; i < THREADS; i++)
        clopos_auth_token_free(results[i]);
    clopos_auth_client_free(gate.client);
}

static long resident_bytes(void)
{
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &total, &resident) == 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void ignore_line(int32_t level, const char *line, void *user)
{
    (void)level, (void)line, (void)user;
}

static void no_leak(void)
{
    clopos_auth_client *client = client_from_environment();
    long before = 0, grown;
    int cycle, i;

    for (cycle = 0; cycle < 12000; cycle++) {
        clopos_auth_config *config = clopos_auth_config_new();
        clopos_auth_client *brief = NULL, *none = NULL;
        clopos_auth_error *error = NULL;

        if (cycle == 2000)
            before = resident_bytes();
        for (i = 0; i < 10; i++) {
            clopos_auth_token *token = NULL;
            CHECK(clopos_auth_get_token(client, DEFAULT, &token, &error) == CLOPOS_AUTH_OK);
            clopos_auth_token_free(token);
            CHECK(clopos_auth_client_new("a", "b", "", "d", NULL, &none, &error) ==
                  CLOPOS_AUTH_INVALID_ARGUMENT);
            clopos_auth_error_free(error);
        }
        CHECK(clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, ignore_line, NULL, &error) ==
              CLOPOS_AUTH_OK);
        CHECK(clopos_auth_client_new("a", "b", "c", "d", config, &brief, &error) == CLOPOS_AUTH_OK);
        clopos_auth_config_free(config);
        clopos_auth_client_free(brief);
    }
    grown = resident_bytes() - before;
    fprintf(stderr, "grown by %ld KiB\n", grown / 1024);
    CHECK(grown < 4 << 20);
    clopos_auth_client_free(client);
}

#define BEHAVIOUR(name)                                                                                \
    {                                                                                                  \
#name, name                                                                                    \
    }

static const struct {
    const char *name;
    void (*run)(void);
} BEHAVIOURS[] = {
    BEHAVIOUR(signs_in),
    {"non_ascii_brand", signs_in},
    BEHAVIOUR(all_settings),
    BEHAVIOUR(log_lines),
    BEHAVIOUR(warns_of_too_much_copied),
    BEHAVIOUR(invalid_argument),
    BEHAVIOUR(buffer_too_small),
    BEHAVIOUR(would_wait),
    BEHAVIOUR(deadline),
    BEHAVIOUR(cancelled),
    BEHAVIOUR(closed_while_in_use),
    BEHAVIOUR(used_after_close),
    BEHAVIOUR(closed_by_its_log_function),
    BEHAVIOUR(a_second_close_waits),
    BEHAVIOUR(ends_without_close),
    BEHAVIOUR(expired_and_refreshed),
    BEHAVIOUR(recovers_from_a_401),
    BEHAVIOUR(sixty_four_threads),
    BEHAVIOUR(no_leak),
    BEHAVIOUR(announces_a_token),
    BEHAVIOUR(announces_a_failure),
    BEHAVIOUR(change_function_that_closes),
    BEHAVIOUR(change_function_that_is_slow),
    BEHAVIOUR(waits_without_a_thread),
    BEHAVIOUR(state),
    BEHAVIOUR(nothing_printed),
};

int main(int argc, char **argv)
{
    void (*run)(void) = env("EXPECT_STATUS") != NULL ? fails_as_expected : NULL;
    size_t i;

    for (i = 0; argc == 2 && i < sizeof BEHAVIOURS / sizeof *BEHAVIOURS; i++)
        if (strcmp(BEHAVIOURS[i].name, argv[1]) == 0)
            run = BEHAVIOURS[i].run;
    if (argc != 2 || run == NULL) {
        puts("no such behaviour");
        return 2;
    }
    run();
    puts("ok");
    return 0;
}
