/* Getting a token, waiting for it, cancelling and invalidating. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void a_token_has_its_length_type_and_expiry(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = get_token(client);
    int64_t now = (int64_t)time(NULL);
    const char *c;

    CHECK(token->value_len == strlen(token->value));
    CHECK(token->value_len > 100);
    for (c = token->value; *c != '\0'; c++)
        CHECK(*c > ' ' && *c <= '~');
    CHECK(strcmp(token->token_type, "Bearer") == 0);
    CHECK(token->expires_in > 3500 && token->expires_in <= 3600);
    CHECK(token->expires_at > now + 3500 && token->expires_at <= now + 3600);
    clopos_auth_token_free(token);
    clopos_auth_client_free(client);
}

static void get_token_returns_the_cached_token_and_authenticate_requests_a_new_one(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *first = get_token(client);
    clopos_auth_token *cached = get_token(client);
    clopos_auth_token *requested = NULL, *after = NULL;
    clopos_auth_error *err = NULL;

    CHECK(sandbox_requests() == 1);
    CHECK(strcmp(first->value, cached->value) == 0 && first != cached);
    CHECK_OK(&err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &requested, &err));
    CHECK(sandbox_requests() == 2);
    CHECK(strcmp(first->value, requested->value) != 0);
    after = get_token(client);
    CHECK(strcmp(requested->value, after->value) == 0);
    CHECK(sandbox_requests() == 2);
    clopos_auth_token_free(first);
    clopos_auth_token_free(cached);
    clopos_auth_token_free(requested);
    clopos_auth_token_free(after);
    clopos_auth_client_free(client);
}

static void copy_token_fills_a_buffer_of_the_exact_size_or_returns_the_size(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = get_token(client);
    clopos_auth_error *err = NULL;
    const int32_t too_small = CLOPOS_AUTH_BUFFER_TOO_SMALL;
    const size_t size = token->value_len + 1;
    /* Of exactly this size, so that memcheck finds a write beyond it. */
    char *buf = (char *)allocate(size);
    size_t needed = 0;
    int64_t expires_at = 0;

    CHECK_FAILS(too_small, &err,
                clopos_auth_copy_token(client, DEFAULT_TIMEOUT, NULL, 0, &needed, &expires_at, &err));
    CHECK(needed == size && expires_at == 0);

    memset(buf, 'x', size);
    CHECK_FAILS(too_small, &err,
                clopos_auth_copy_token(client, DEFAULT_TIMEOUT, buf, size - 1, &needed, &expires_at, &err));
    CHECK(needed == size && expires_at == 0);
    CHECK(buf[0] == '\0' && buf[size - 1] == 'x');

    CHECK_OK(&err, clopos_auth_copy_token(client, DEFAULT_TIMEOUT, buf, size, &needed, &expires_at, &err));
    CHECK(needed == size && expires_at == token->expires_at);
    CHECK(strcmp(buf, token->value) == 0);

    memset(buf, 'x', size);
    CHECK_FAILS(too_small, &err, clopos_auth_copy_token(client, DEFAULT_TIMEOUT, buf, 1, NULL, NULL, &err));
    CHECK(buf[0] == '\0' && buf[1] == 'x');
    CHECK(sandbox_requests() == 1);
    free(buf);
    clopos_auth_token_free(token);
    clopos_auth_client_free(client);
}

static void a_copy_that_fails_leaves_no_token_in_the_buffer(void)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client;
    clopos_auth_error *err = NULL;
    char buf[64];

    CHECK_OK(&err, clopos_auth_config_set_max_attempts(config, 1, &err));
    client = new_client_with(config);
    sandbox_fails("status-503");
    memset(buf, 'x', sizeof buf);
    CHECK_FAILS(CLOPOS_AUTH_SERVER, &err,
                clopos_auth_copy_token(client, DEFAULT_TIMEOUT, buf, sizeof buf, NULL, NULL, &err));
    CHECK(buf[0] == '\0');
    clopos_auth_client_free(client);
}

static void a_call_with_timeout_0_starts_the_sign_in(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    char buf[CLOPOS_AUTH_TOKEN_MAX + 1];
    int32_t status;

    sandbox_sets("latency_ms", 300);
    CHECK_FAILS(CLOPOS_AUTH_WOULD_WAIT, &err, clopos_auth_get_token(client, 0, &token, &err));
    CHECK_FAILS(CLOPOS_AUTH_WOULD_WAIT, &err,
                clopos_auth_copy_token(client, 0, buf, sizeof buf, NULL, NULL, &err));
    CHECK_FAILS(CLOPOS_AUTH_WOULD_WAIT, &err, clopos_auth_authenticate(client, 0, &token, &err));
    WAIT_UNTIL((status = clopos_auth_get_token(client, 0, &token, NULL)) !=
               CLOPOS_AUTH_WOULD_WAIT);
    CHECK(status == CLOPOS_AUTH_OK);
    CHECK_OK(&err, clopos_auth_copy_token(client, 0, buf, sizeof buf, NULL, NULL, &err));
    CHECK(strcmp(buf, token->value) == 0);
    CHECK(sandbox_requests() == 1);
    clopos_auth_token_free(token);
    clopos_auth_client_free(client);
}

static void a_timeout_limits_a_call(void)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    int64_t start;

    CHECK_OK(&err, clopos_auth_config_set_timeout_ms(config, 400, &err));
    client = new_client_with(config);
    sandbox_fails("request-hang");
    start = now_ms();
    CHECK(clopos_auth_get_token(client, 300, &token, &err) == CLOPOS_AUTH_TIMEOUT);
    CHECK(now_ms() - start >= 300 && now_ms() - start < 3000);
    CHECK(err->retryable == 1);
    clopos_auth_error_free(err);
    start = now_ms();
    CHECK_FAILS(CLOPOS_AUTH_TIMEOUT, &err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    CHECK(now_ms() - start >= 400 && now_ms() - start < 3000);
    clopos_auth_client_free(client);
}

typedef struct waiter {
    pthread_t thread;
    clopos_auth_client *client;
    int32_t status;
    char value[CLOPOS_AUTH_TOKEN_MAX + 1];
} waiter;

static void *wait_for_token(void *argument)
{
    waiter *w = (waiter *)argument;

    w->status =
        clopos_auth_copy_token(w->client, DEFAULT_TIMEOUT, w->value, sizeof w->value, NULL, NULL, NULL);
    return NULL;
}

static void cancel_wakes_a_waiter_and_the_client_stays_usable(void)
{
    static waiter w;
    clopos_auth_client *client = new_client();
    clopos_auth_token *token;

    sandbox_sets("latency_ms", 5000);
    w.client = client;
    start_thread(&w.thread, wait_for_token, &w);
    WAIT_UNTIL(sandbox_requests() == 1);
    {
        const int64_t start = now_ms();
        CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_OK);
        join_thread(w.thread);
        CHECK(now_ms() - start < 2000);
    }
    CHECK(w.status == CLOPOS_AUTH_CANCELLED && w.value[0] == '\0');
    /* The request continues, and a later call uses its result. */
    token = get_token(client);
    CHECK(sandbox_requests() == 1);
    clopos_auth_token_free(token);
    clopos_auth_client_free(client);
}

static void cancel_without_waiters_does_nothing(void)
{
    clopos_auth_client *client = new_client();

    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_OK);
    clopos_auth_token_free(get_token(client));
    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_OK);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
}

static void threads_that_need_a_token_share_one_request(void)
{
    enum { WAITERS = 16 };
    static waiter waiters[WAITERS];
    clopos_auth_client *client = new_client();
    int i;

    sandbox_sets("latency_ms", 200);
    for (i = 0; i < WAITERS; i++) {
        waiters[i].client = client;
        start_thread(&waiters[i].thread, wait_for_token, &waiters[i]);
    }
    for (i = 0; i < WAITERS; i++) {
        join_thread(waiters[i].thread);
        CHECK(waiters[i].status == CLOPOS_AUTH_OK);
        CHECK(strcmp(waiters[i].value, waiters[0].value) == 0);
    }
    CHECK(sandbox_requests() == 1);
    clopos_auth_client_free(client);
}

static void a_token_outlives_its_client(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = get_token(client);
    char *copy = (char *)allocate(token->value_len + 1);

    strcpy(copy, token->value);
    clopos_auth_client_free(client);
    CHECK(strcmp(copy, token->value) == 0);
    CHECK(strcmp(token->token_type, "Bearer") == 0);
    free(copy);
    clopos_auth_token_free(token);
}

static void an_error_outlives_its_client(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_error *err = NULL;

    CHECK(clopos_auth_get_token(client, DEFAULT_TIMEOUT, NULL, &err) == CLOPOS_AUTH_INVALID_ARGUMENT);
    clopos_auth_client_free(client);
    CHECK(strstr(err->message, "out") != NULL && err->server_code == NULL);
    CHECK(err->http_status == 0 && err->retryable == 0 && err->retry_after_ms == -1);
    clopos_auth_error_free(err);
}

static void only_the_token_that_was_refused_is_dropped(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *first = get_token(client);
    clopos_auth_token *second = NULL, *same;
    clopos_auth_error *err = NULL;

    CHECK(clopos_auth_invalidate(client, "some.other.token") == CLOPOS_AUTH_OK);
    clopos_auth_token_free(get_token(client));
    CHECK(sandbox_requests() == 1);

    /* A late report of the first does not drop the second. */
    CHECK_OK(&err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &second, &err));
    CHECK(strcmp(first->value, second->value) != 0);
    CHECK(clopos_auth_invalidate(client, first->value) == CLOPOS_AUTH_OK);
    same = get_token(client);
    CHECK(strcmp(same->value, second->value) == 0);
    CHECK(sandbox_requests() == 2);
    clopos_auth_token_free(first);
    clopos_auth_token_free(second);
    clopos_auth_token_free(same);
    clopos_auth_client_free(client);
}

static void after_a_new_token_was_refused_calls_return_the_time_until_the_next_sign_in(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = get_token(client);
    clopos_auth_error *err = NULL;

    CHECK(clopos_auth_invalidate(client, token->value) == CLOPOS_AUTH_OK);
    clopos_auth_token_free(token);
    CHECK(clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, &err) == CLOPOS_AUTH_REJECTED);
    CHECK(err->retry_after_ms > 0 && err->retry_after_ms <= 6250);
    CHECK(err->retryable == 1 && err->http_status == 0);
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, (clopos_auth_status)err->status);
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_authenticate(client, 0, &token, &err));
    CHECK(sandbox_requests() == 1);
    clopos_auth_client_free(client);
}

/* A fault of the sandbox, and the error of one attempt with it. */
typedef struct failure {
    const char *fault;
    int32_t status, http_status, retryable;
    bool has_code, has_retry_after;
    int32_t reason;
} failure;

static void check_failure(const failure *f)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_config_set_max_attempts(config, 1, &err));
    client = new_client_with(config);
    sandbox_fails(f->fault);
    CHECK(clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, &err) != CLOPOS_AUTH_OK);
    printf("%s: %s: %s\n", f->fault, clopos_auth_status_name(err->status), err->message);
    CHECK(token == NULL);
    CHECK(err->http_status == f->http_status);
    CHECK(err->retryable == f->retryable);
    CHECK((err->server_code != NULL) == f->has_code);
    CHECK((err->retry_after_ms > 0) == f->has_retry_after);
    CHECK(err->reason == f->reason);
    CHECK(strstr(err->message, env("CLOPOS_CLIENT_SECRET")) == NULL);
    CHECK_FAILS(f->status, &err, (clopos_auth_status)err->status);
    clopos_auth_client_free(client);
}

static void an_error_has_the_status_of_the_services_response(void)
{
    static const failure failures[] = {
        {"success-false", CLOPOS_AUTH_REJECTED, 200, 0, true, true, CLOPOS_AUTH_REASON_ENVIRONMENT},
        {"status-400", CLOPOS_AUTH_REJECTED, 400, 0, true, true, CLOPOS_AUTH_REASON_MISSING_FIELD},
        {"status-401", CLOPOS_AUTH_REJECTED, 401, 0, false, true, CLOPOS_AUTH_REASON_CREDENTIALS},
        {"status-403", CLOPOS_AUTH_REJECTED, 403, 0, true, true, CLOPOS_AUTH_REASON_DISABLED},
        {"status-422", CLOPOS_AUTH_REJECTED, 422, 0, true, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"status-429", CLOPOS_AUTH_RATE_LIMITED, 429, 1, true, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"status-500", CLOPOS_AUTH_SERVER, 500, 1, true, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"status-503", CLOPOS_AUTH_SERVER, 503, 1, true, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"status-504", CLOPOS_AUTH_SERVER, 504, 1, true, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"body-html", CLOPOS_AUTH_PROTOCOL, 200, 1, false, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"redirect-307", CLOPOS_AUTH_PROTOCOL, 307, 1, false, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"request-close", CLOPOS_AUTH_CONNECT, 0, 1, false, true, CLOPOS_AUTH_REASON_UNKNOWN},
        {"connect-reset", CLOPOS_AUTH_CONNECT, 0, 1, false, true, CLOPOS_AUTH_REASON_UNKNOWN},
    };
    size_t i;

    for (i = 0; i < sizeof failures / sizeof *failures; i++)
        check_failure(&failures[i]);
}

static void a_hostile_message_becomes_one_line_without_the_secret(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    const char *c;

    sandbox_fails("message-hostile");
    CHECK(clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, &err) == CLOPOS_AUTH_REJECTED);
    CHECK(strstr(err->message, env("CLOPOS_CLIENT_SECRET")) == NULL);
    CHECK(strlen(err->message) < 1024);
    for (c = err->message; *c != '\0'; c++)
        CHECK((unsigned char)*c >= ' ' && *c != '\x7f');
    to_transcript(err->message);
    clopos_auth_error_free(err);
    clopos_auth_client_free(client);
}

static void an_untrusted_server_receives_no_secret(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    /* Only the bundled roots: the sandbox's CA is unknown. */
    CHECK_OK(&err, clopos_auth_config_set_base_url(config, env("CLOPOS_BASE_URL"), &err));
    CHECK_OK(&err, clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, log_to_transcript,
                                              NULL, &err));
    client = new_client_with(config);
    CHECK_FAILS(CLOPOS_AUTH_TLS, &err, clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, &err));
    CHECK(sandbox_requests() == 0);
    clopos_auth_client_free(client);
}

/* Gets a token in a child. The child ends by a signal, so that memcheck does not report memory of the
 * parent's other threads. */
static void check_child(clopos_auth_client *client, const char *not_this)
{
    int status = 0;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        clopos_auth_token *token = get_token(client);
        CHECK(strcmp(token->value, not_this) != 0);
        clopos_auth_token_free(token);
        clopos_auth_client_free(client);
        CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
        raise(SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_forked_child_gets_a_token_of_its_own(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = get_token(client);
    clopos_auth_token *later;

    check_child(client, token->value);
    CHECK(sandbox_requests() == 2);
    later = get_token(client);
    CHECK(strcmp(later->value, token->value) == 0);
    clopos_auth_token_free(later);
    clopos_auth_token_free(token);
    clopos_auth_client_free(client);
}

static void a_forked_child_does_not_wait_for_its_parents_request(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    sandbox_fails_times("request-hang", 1);
    CHECK_FAILS(CLOPOS_AUTH_WOULD_WAIT, &err, clopos_auth_get_token(client, 0, &token, &err));
    WAIT_UNTIL(sandbox_requests() == 1);
    check_child(client, "");
    clopos_auth_client_free(client);
}

const test TOKEN_TESTS[] = {
    TEST(a_token_has_its_length_type_and_expiry),
    TEST(get_token_returns_the_cached_token_and_authenticate_requests_a_new_one),
    TEST(copy_token_fills_a_buffer_of_the_exact_size_or_returns_the_size),
    TEST(a_copy_that_fails_leaves_no_token_in_the_buffer),
    TEST(a_call_with_timeout_0_starts_the_sign_in),
    TEST(a_timeout_limits_a_call),
    TEST(cancel_wakes_a_waiter_and_the_client_stays_usable),
    TEST(cancel_without_waiters_does_nothing),
    TEST(threads_that_need_a_token_share_one_request),
    TEST(a_token_outlives_its_client),
    TEST(an_error_outlives_its_client),
    TEST(only_the_token_that_was_refused_is_dropped),
    TEST(after_a_new_token_was_refused_calls_return_the_time_until_the_next_sign_in),
    TEST(an_error_has_the_status_of_the_services_response),
    TEST(a_hostile_message_becomes_one_line_without_the_secret),
    TEST(an_untrusted_server_receives_no_secret),
    TEST(a_forked_child_gets_a_token_of_its_own),
    TEST(a_forked_child_does_not_wait_for_its_parents_request),
    END_OF_TESTS};
