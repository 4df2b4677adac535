/* The log function: what it receives, what it may do, and when it is not called any more. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

#include <unistd.h>

/* The calls of a log function. Guarded by the lock. */
typedef struct sink {
    pthread_mutex_t lock;
    int lines_at[5];
    bool saw_bad_line;
    char forbidden[CLOPOS_AUTH_TOKEN_MAX + 1];
    bool saw_forbidden;
    bool is_freed, called_after_free;
} sink;

static void watch(int32_t level, const char *line, void *user)
{
    sink *s = (sink *)user;

    to_transcript(line);
    pthread_mutex_lock(&s->lock);
    if (level >= CLOPOS_AUTH_LOG_ERROR && level <= CLOPOS_AUTH_LOG_DEBUG)
        s->lines_at[level]++;
    else
        s->saw_bad_line = true;
    if (*line == '\0' || strpbrk(line, "\r\n") != NULL)
        s->saw_bad_line = true;
    if (strstr(line, env("CLOPOS_CLIENT_SECRET")) != NULL ||
        (*s->forbidden != '\0' && strstr(line, s->forbidden) != NULL))
        s->saw_forbidden = true;
    if (s->is_freed)
        s->called_after_free = true;
    pthread_mutex_unlock(&s->lock);
}

static int lines_at(sink *s, int32_t level)
{
    int lines;

    pthread_mutex_lock(&s->lock);
    lines = s->lines_at[level];
    pthread_mutex_unlock(&s->lock);
    return lines;
}

static clopos_auth_client *new_logging_client(int32_t level, clopos_auth_log_fn log, void *user)
{
    clopos_auth_config *config = new_config();
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_config_set_log(config, level, log, user, &err));
    return new_client_with(config);
}

static void lines_of_every_level_arrive_with_the_user_pointer(void)
{
    static sink s = {PTHREAD_MUTEX_INITIALIZER, {0}, false, {0}, false, false, false};
    clopos_auth_client *client = new_logging_client(CLOPOS_AUTH_LOG_DEBUG, watch, &s);
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    /* A warning for the first attempt, information for the second, then an error. */
    sandbox_fails_times("status-503", 1);
    clopos_auth_token_free(get_token(client));
    sandbox_fails("status-401");
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    WAIT_UNTIL(lines_at(&s, CLOPOS_AUTH_LOG_ERROR) > 0);
    CHECK(lines_at(&s, CLOPOS_AUTH_LOG_WARN) > 0);
    CHECK(lines_at(&s, CLOPOS_AUTH_LOG_INFO) > 0);
    CHECK(lines_at(&s, CLOPOS_AUTH_LOG_DEBUG) > 0);
    clopos_auth_client_free(client);
    CHECK(!s.saw_bad_line);
}

static void only_lines_up_to_the_level_arrive(void)
{
    static sink s = {PTHREAD_MUTEX_INITIALIZER, {0}, false, {0}, false, false, false};
    clopos_auth_client *client = new_logging_client(CLOPOS_AUTH_LOG_WARN, watch, &s);

    sandbox_fails_times("status-503", 1);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
    CHECK(s.lines_at[CLOPOS_AUTH_LOG_WARN] > 0);
    CHECK(s.lines_at[CLOPOS_AUTH_LOG_INFO] == 0);
    CHECK(s.lines_at[CLOPOS_AUTH_LOG_DEBUG] == 0);
}

static void a_null_log_function_is_not_called(void)
{
    static sink s = {PTHREAD_MUTEX_INITIALIZER, {0}, false, {0}, false, false, false};
    clopos_auth_config *config = new_config();
    clopos_auth_client *client;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, watch, &s, &err));
    CHECK_OK(&err, clopos_auth_config_set_log(config, 0, NULL, NULL, &err));
    client = new_client_with(config);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
    CHECK(s.lines_at[CLOPOS_AUTH_LOG_INFO] == 0);
}

static void no_line_contains_the_secret_or_the_token(void)
{
    static sink s = {PTHREAD_MUTEX_INITIALIZER, {0}, false, {0}, false, false, false};
    clopos_auth_client *client = new_logging_client(CLOPOS_AUTH_LOG_DEBUG, watch, &s);
    clopos_auth_token *token = get_token(client);
    clopos_auth_error *err = NULL;

    pthread_mutex_lock(&s.lock);
    strcpy(s.forbidden, token->value);
    pthread_mutex_unlock(&s.lock);
    clopos_auth_token_free(token);
    /* The same token again, then a response that contains the secret. */
    sandbox_fails_times("same-token", 1);
    CHECK_OK(&err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    CHECK(strcmp(s.forbidden, token->value) == 0);
    clopos_auth_token_free(token);
    sandbox_fails_times("message-hostile", 1);
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    CHECK(clopos_auth_invalidate(client, s.forbidden) == CLOPOS_AUTH_OK);
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, &err));
    clopos_auth_client_free(client);
    CHECK(s.lines_at[CLOPOS_AUTH_LOG_INFO] > 0);
    CHECK(!s.saw_forbidden);
}

/* A log function that calls the library. */
typedef struct caller_back {
    pthread_mutex_t lock;
    clopos_auth_client *client;
    bool frees_client;
    counter calls;
} caller_back;

static void call_back(int32_t level, const char *line, void *user)
{
    caller_back *c = (caller_back *)user;
    clopos_auth_client *client;
    clopos_auth_token *token = NULL;

    log_to_transcript(level, line, NULL);
    pthread_mutex_lock(&c->lock);
    client = c->client;
    pthread_mutex_unlock(&c->lock);
    if (client == NULL) /* not set yet */
        return;
    CHECK(clopos_auth_version_number() == CLOPOS_AUTH_VERSION_NUMBER);
    if (clopos_auth_get_token(client, 0, &token, NULL) == CLOPOS_AUTH_OK)
        clopos_auth_token_free(token);
    clopos_auth_cancel(client);
    clopos_auth_invalidate(client, "none");
    if (c->frees_client)
        clopos_auth_client_free(client);
    count_up(&c->calls);
}

static void run_caller_back(caller_back *c)
{
    clopos_auth_client *client = new_logging_client(CLOPOS_AUTH_LOG_DEBUG, call_back, c);
    clopos_auth_token *token = NULL;

    pthread_mutex_lock(&c->lock);
    c->client = client;
    pthread_mutex_unlock(&c->lock);
    /* The log function cancels or ends the call, unless it has returned before: both are allowed. */
    if (clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, NULL) == CLOPOS_AUTH_OK)
        clopos_auth_token_free(token);
    WAIT_UNTIL(count(&c->calls) > 0);
    if (c->frees_client)
        WAIT_UNTIL(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    clopos_auth_client_free(client);
}

static void the_log_function_may_call_the_library(void)
{
    static caller_back c = {PTHREAD_MUTEX_INITIALIZER, NULL, false, COUNTER_INIT};

    run_caller_back(&c);
}

static void the_log_function_may_free_its_client(void)
{
    static caller_back c = {PTHREAD_MUTEX_INITIALIZER, NULL, true, COUNTER_INIT};

    run_caller_back(&c);
}

static bool has_info_line(void *s)
{
    return lines_at((sink *)s, CLOPOS_AUTH_LOG_INFO) > 0;
}

static void note_free(void *user)
{
    sink *s = (sink *)user;

    pthread_mutex_lock(&s->lock);
    s->is_freed = true;
    pthread_mutex_unlock(&s->lock);
}

static void the_log_function_is_never_called_after_the_client_was_freed(void)
{
    enum { ROUNDS = 20 };
    static sink sinks[ROUNDS];
    int round;

    for (round = 0; round < ROUNDS; round++) {
        sink *s = &sinks[round];

        CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
        free_in_use(new_logging_client(CLOPOS_AUTH_LOG_DEBUG, watch, s), has_info_line, note_free, s);
    }
    for (round = 0; round < ROUNDS; round++) {
        pthread_mutex_lock(&sinks[round].lock);
        CHECK(!sinks[round].called_after_free);
        pthread_mutex_unlock(&sinks[round].lock);
    }
}

/* A log function that runs until it is released. */
typedef struct gate {
    counter entered, opened, left;
    /* Freed by the log function; may be NULL. */
    clopos_auth_client *client;
} gate;

static void pass_gate(int32_t level, const char *line, void *user)
{
    gate *g = (gate *)user;

    log_to_transcript(level, line, NULL);
    count_up(&g->entered);
    WAIT_UNTIL(count(&g->opened) > 0);
    clopos_auth_client_free(g->client);
    count_up(&g->left);
}

static void *free_then_count(void *argument)
{
    void **arguments = (void **)argument;

    clopos_auth_client_free((clopos_auth_client *)arguments[0]);
    count_up((counter *)arguments[1]);
    return NULL;
}

static void freeing_a_client_waits_for_its_log_function(void)
{
    static gate g = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, NULL};
    static counter freed = COUNTER_INIT;
    clopos_auth_client *client = new_logging_client(CLOPOS_AUTH_LOG_WARN, pass_gate, &g);
    clopos_auth_token *token = NULL;
    void *arguments[2];
    pthread_t thread;

    arguments[0] = client;
    arguments[1] = &freed;
    sandbox_fails("status-503");
    CHECK(clopos_auth_get_token(client, 0, &token, NULL) == CLOPOS_AUTH_WOULD_WAIT);
    WAIT_UNTIL(count(&g.entered) == 1);
    start_thread(&thread, free_then_count, arguments);
    /* The handle is invalid while the log function is still running. */
    WAIT_UNTIL(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(count(&freed) == 0);
    count_up(&g.opened);
    join_thread(thread);
    CHECK(count(&g.left) == 1 && count(&g.entered) == 1);
}

static void *open_gate_once_main_thread_sleeps(void *argument)
{
    gate *g = (gate *)argument;
    int times = 0;

    WAIT_UNTIL((times = sleeps((long)getpid()) ? times + 1 : 0) == 50);
    count_up(&g->opened);
    return NULL;
}

static void each_of_two_threads_that_free_a_client_waits_for_its_log_function(void)
{
    static gate g = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, NULL};
    static counter freed = COUNTER_INIT;
    clopos_auth_client *client = new_logging_client(CLOPOS_AUTH_LOG_WARN, pass_gate, &g);
    clopos_auth_token *token = NULL;
    void *arguments[2];
    pthread_t first, opener;

    arguments[0] = client;
    arguments[1] = &freed;
    /* The log function frees it, too. */
    g.client = client;
    sandbox_fails("status-503");
    CHECK(clopos_auth_get_token(client, 0, &token, NULL) == CLOPOS_AUTH_WOULD_WAIT);
    WAIT_UNTIL(count(&g.entered) == 1);
    start_thread(&first, free_then_count, arguments);
    WAIT_UNTIL(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    start_thread(&opener, open_gate_once_main_thread_sleeps, &g);
    clopos_auth_client_free(client);
    CHECK(count(&g.left) == 1);
    join_thread(opener);
    join_thread(first);
}

static void call_while_sending(int32_t level, const char *line, void *user)
{
    caller_back *c = (caller_back *)user;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    char buf[16];
    const int32_t would_wait = CLOPOS_AUTH_WOULD_WAIT;

    log_to_transcript(level, line, NULL);
    if (strstr(line, "sending request to ") == NULL)
        return;
    CHECK_FAILS(would_wait, &err, clopos_auth_get_token(c->client, DEFAULT_TIMEOUT, &token, &err));
    CHECK_FAILS(would_wait, &err, clopos_auth_authenticate(c->client, DEFAULT_TIMEOUT, &token, &err));
    CHECK_FAILS(would_wait, &err,
                clopos_auth_copy_token(c->client, DEFAULT_TIMEOUT, buf, sizeof buf, NULL, NULL, &err));
    count_up(&c->calls);
}

static void a_call_in_the_log_function_does_not_wait_for_the_request_that_logs(void)
{
    static caller_back c = {PTHREAD_MUTEX_INITIALIZER, NULL, false, COUNTER_INIT};

    c.client = new_logging_client(CLOPOS_AUTH_LOG_DEBUG, call_while_sending, &c);
    clopos_auth_token_free(get_token(c.client));
    CHECK(count(&c.calls) == 1);
    clopos_auth_client_free(c.client);
}

const test LOG_TESTS[] = {
    TEST(lines_of_every_level_arrive_with_the_user_pointer),
    TEST(only_lines_up_to_the_level_arrive),
    TEST(a_null_log_function_is_not_called),
    TEST(no_line_contains_the_secret_or_the_token),
    TEST(the_log_function_may_call_the_library),
    TEST(the_log_function_may_free_its_client),
    TEST(the_log_function_is_never_called_after_the_client_was_freed),
    TEST(freeing_a_client_waits_for_its_log_function),
    TEST(each_of_two_threads_that_free_a_client_waits_for_its_log_function),
    TEST(a_call_in_the_log_function_does_not_wait_for_the_request_that_logs),
    END_OF_TESTS};
