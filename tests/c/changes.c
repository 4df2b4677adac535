/* The change function, the number of the current token, and the state of a client. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

/* The calls of a change function. Guarded by the lock. */
typedef struct changes {
    pthread_mutex_t lock;
    int of[CLOPOS_AUTH_PROTOCOL + 1];
    int all;
    bool is_freed, called_after_free;
} changes;

static void count_change(int32_t status, void *user)
{
    changes *c = (changes *)user;

    pthread_mutex_lock(&c->lock);
    CHECK(status >= CLOPOS_AUTH_OK && status <= CLOPOS_AUTH_PROTOCOL);
    c->of[status]++;
    c->all++;
    if (c->is_freed)
        c->called_after_free = true;
    pthread_mutex_unlock(&c->lock);
}

static int changes_of(changes *c)
{
    int all;

    pthread_mutex_lock(&c->lock);
    all = c->all;
    pthread_mutex_unlock(&c->lock);
    return all;
}

static clopos_auth_config *config_with(clopos_auth_change_fn on_change, void *user)
{
    clopos_auth_config *config = new_config();
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_config_set_on_change(config, on_change, user, &err));
    return config;
}

static clopos_auth_client *new_watched_client(clopos_auth_change_fn on_change, void *user)
{
    return new_client_with(config_with(on_change, user));
}

static clopos_auth_state *get_state(clopos_auth_client *client)
{
    clopos_auth_state *state = NULL;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_get_state(client, &state, &err));
    CHECK(state != NULL);
    if (state->last_message != NULL)
        to_transcript(state->last_message);
    return state;
}

static void authenticate(clopos_auth_client *client)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    clopos_auth_token_free(token);
}

static void each_request_that_ends_is_one_change(void)
{
    static changes c = {PTHREAD_MUTEX_INITIALIZER, {0}, 0, false, false};
    clopos_auth_client *client = new_watched_client(count_change, &c);
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    /* The first attempt fails, the second does not. */
    sandbox_fails_times("status-503", 1);
    clopos_auth_token_free(get_token(client));
    WAIT_UNTIL(changes_of(&c) == 2);
    clopos_auth_token_free(get_token(client)); /* from the cache: no change */
    authenticate(client);
    WAIT_UNTIL(changes_of(&c) == 3);
    sandbox_fails("status-401");
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    WAIT_UNTIL(changes_of(&c) == 4);
    /* No request is sent so soon after that. */
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_authenticate(client, 0, &token, &err));
    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_invalidate(client, NULL) == CLOPOS_AUTH_OK);
    clopos_auth_client_free(client);
    CHECK(c.all == 4 && c.of[CLOPOS_AUTH_OK] == 2);
    CHECK(c.of[CLOPOS_AUTH_SERVER] == 1 && c.of[CLOPOS_AUTH_REJECTED] == 1);
    CHECK(sandbox_requests() == 4);
}

static void a_null_change_function_is_not_called(void)
{
    static changes c = {PTHREAD_MUTEX_INITIALIZER, {0}, 0, false, false};
    clopos_auth_config *config = config_with(count_change, &c);
    clopos_auth_client *client;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_config_set_on_change(config, NULL, &c, &err));
    client = new_client_with(config);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
    CHECK(c.all == 0);
}

/* A change function that calls the library, and what it received. */
typedef struct caller_back {
    counter calls;
    clopos_auth_client *client;
    bool frees_client;
    int32_t status;
    uint64_t serial;
} caller_back;

static void call_back(int32_t status, void *user)
{
    caller_back *c = (caller_back *)user;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    clopos_auth_state *state;
    clopos_auth_client *other;

    c->status = status;
    c->serial = clopos_auth_current(c->client, NULL);
    /* The result of the sign-in is there, and no call waits. */
    state = get_state(c->client);
    CHECK(state->last_status == status);
    clopos_auth_state_free(state);
    if (status == CLOPOS_AUTH_OK) {
        CHECK_OK(&err, clopos_auth_get_token(c->client, 0, &token, &err));
        CHECK(token->serial == c->serial);
        clopos_auth_token_free(token);
    } else {
        CHECK_FAILS(status, &err, clopos_auth_get_token(c->client, 0, &token, &err));
    }
    CHECK(clopos_auth_cancel(c->client) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_invalidate(c->client, "none") == CLOPOS_AUTH_OK);
    other = new_client();
    clopos_auth_client_free(other);
    if (c->frees_client) {
        clopos_auth_client_free(c->client);
        CHECK(clopos_auth_current(c->client, NULL) == 0);
    }
    count_up(&c->calls);
}

static void run_caller_back(caller_back *c, int32_t status)
{
    clopos_auth_client *client = new_watched_client(call_back, c);
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    clopos_auth_status result;

    c->client = client;
    result = clopos_auth_get_token(client, 0, &token, &err);
    clopos_auth_error_free(err);
    clopos_auth_token_free(token);
    /* The request may end during this call, and the change function may then free the client. */
    CHECK(result == CLOPOS_AUTH_WOULD_WAIT || result == status || (c->frees_client && result == CLOPOS_AUTH_CANCELLED));
    WAIT_UNTIL(count(&c->calls) == 1);
    CHECK(c->status == status && (c->serial != 0) == (status == CLOPOS_AUTH_OK));
    if (c->frees_client)
        CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    clopos_auth_client_free(client);
    CHECK(count(&c->calls) == 1);
}

static void a_call_in_the_change_function_returns_the_new_result(void)
{
    static caller_back success = {COUNTER_INIT, NULL, false, -1, 0};
    static caller_back failure = {COUNTER_INIT, NULL, false, -1, 0};

    run_caller_back(&success, CLOPOS_AUTH_OK);
    sandbox_fails("status-401");
    run_caller_back(&failure, CLOPOS_AUTH_REJECTED);
}

static void the_change_function_may_free_its_client(void)
{
    static caller_back c = {COUNTER_INIT, NULL, true, -1, 0};

    run_caller_back(&c, CLOPOS_AUTH_OK);
}

/* A change function that runs until it is released. */
typedef struct gate {
    counter entered, opened, left;
} gate;

static void pass_gate(int32_t status, void *user)
{
    gate *g = (gate *)user;

    (void)status;
    count_up(&g->entered);
    WAIT_UNTIL(count(&g->opened) > 0);
    count_up(&g->left);
}

static void no_call_on_another_thread_waits_for_the_change_function(void)
{
    static gate g = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    clopos_auth_client *client = new_watched_client(pass_gate, &g), *other;
    clopos_auth_token *first = get_token(client), *second;

    WAIT_UNTIL(count(&g.entered) == 1);
    second = get_token(client);
    CHECK(second->serial == first->serial && clopos_auth_current(client, NULL) == first->serial);
    clopos_auth_state_free(get_state(client));
    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_OK);
    /* A second sign-in begins and ends meanwhile, and the function is called for it. */
    authenticate(client);
    WAIT_UNTIL(count(&g.entered) == 2);
    CHECK(clopos_auth_invalidate(client, NULL) == CLOPOS_AUTH_OK);
    other = new_client();
    clopos_auth_token_free(get_token(other));
    clopos_auth_client_free(other);
    CHECK(count(&g.left) == 0);
    count_up(&g.opened);
    clopos_auth_token_free(first);
    clopos_auth_token_free(second);
    clopos_auth_client_free(client);
    CHECK(count(&g.left) == 2 && count(&g.entered) == 2);
}

static void *free_client(void *client)
{
    clopos_auth_client_free((clopos_auth_client *)client);
    return NULL;
}

static void freeing_a_client_waits_for_its_change_function(void)
{
    static gate g = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    clopos_auth_client *client = new_watched_client(pass_gate, &g);
    clopos_auth_token *token = NULL;
    pthread_t thread;

    sandbox_sets("latency_ms", 300);
    CHECK(clopos_auth_get_token(client, 0, &token, NULL) == CLOPOS_AUTH_WOULD_WAIT);
    WAIT_UNTIL(count(&g.entered) == 1);
    start_thread(&thread, free_client, client);
    WAIT_UNTIL(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(count(&g.left) == 0);
    count_up(&g.opened);
    join_thread(thread);
    CHECK(count(&g.left) == 1 && count(&g.entered) == 1);
}

static bool has_change(void *c)
{
    return changes_of((changes *)c) > 0;
}

static void note_free(void *user)
{
    changes *c = (changes *)user;

    pthread_mutex_lock(&c->lock);
    c->is_freed = true;
    pthread_mutex_unlock(&c->lock);
}

static void the_change_function_is_never_called_after_the_client_was_freed(void)
{
    enum { ROUNDS = 20 };
    static changes all[ROUNDS];
    int round;

    for (round = 0; round < ROUNDS; round++) {
        changes *c = &all[round];

        CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
        free_in_use(new_watched_client(count_change, c), has_change, note_free, c);
    }
    for (round = 0; round < ROUNDS; round++) {
        pthread_mutex_lock(&all[round].lock);
        CHECK(!all[round].called_after_free);
        pthread_mutex_unlock(&all[round].lock);
    }
}

/* Many clients and the event loops of several threads. */
enum { MOST_CLIENTS = 1000, MOST_CHANGES = 8 * MOST_CLIENTS, THREADS = 16 };
static struct {
    clopos_auth_client *clients[MOST_CLIENTS];
    int number;
    int new_tokens[MOST_CLIENTS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* The number of each change's client. */
    int order[MOST_CHANGES];
    int changes;
} many;

static void wake_loops(int32_t status, void *user)
{
    int client = (int)((int *)user - many.new_tokens);

    pthread_mutex_lock(&many.lock);
    CHECK(many.changes < MOST_CHANGES);
    many.order[many.changes++] = client;
    many.new_tokens[client] += status == CLOPOS_AUTH_OK;
    pthread_cond_broadcast(&many.changed);
    pthread_mutex_unlock(&many.lock);
}

/* Whether there is a token now; otherwise a sign-in is running, whose end is a change. */
static bool has_token(clopos_auth_client *client)
{
    int32_t status;

    do {
        clopos_auth_token *token = NULL;
        clopos_auth_error *err = NULL;

        status = clopos_auth_get_token(client, 0, &token, &err);
        /* On a busy machine a sign-in may fail: try again until another one has begun. */
        if (status != CLOPOS_AUTH_OK && status != CLOPOS_AUTH_WOULD_WAIT) {
            CHECK(err->retryable == 1);
            nap();
        }
        clopos_auth_token_free(token);
        clopos_auth_error_free(err);
    } while (status != CLOPOS_AUTH_OK && status != CLOPOS_AUTH_WOULD_WAIT);
    return status == CLOPOS_AUTH_OK;
}

/* Gets a token of each client and never waits inside the library. If a change is lost, it waits for ever. */
static void *take_all_tokens(void *unused)
{
    bool has[MOST_CLIENTS] = {false};
    int client, missing = many.number, seen = 0;

    for (client = 0; client < many.number; client++)
        missing -= has[client] = has_token(many.clients[client]);
    while (missing > 0) {
        pthread_mutex_lock(&many.lock);
        while (many.changes == seen)
            pthread_cond_wait(&many.changed, &many.lock);
        client = many.order[seen++];
        pthread_mutex_unlock(&many.lock);
        if (!has[client])
            missing -= has[client] = has_token(many.clients[client]);
    }
    return unused;
}

/* Fewer with slow tools, so that no sign-in exceeds its timeout; and in C++, where the library is the same. */
static int number_of_clients(void)
{
    const char *tool = getenv("LD_PRELOAD");

    if (tool != NULL && strstr(tool, "vgpreload") != NULL)
        return THREADS;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__cplusplus)
    return 100;
#else
    return MOST_CLIENTS;
#endif
}

static void no_change_of_a_thousand_clients_on_sixteen_threads_is_lost(void)
{
    pthread_t threads[THREADS];
    int i, number = number_of_clients();

    many.number = number;
    CHECK(pthread_mutex_init(&many.lock, NULL) == 0 && pthread_cond_init(&many.changed, NULL) == 0);
    sandbox_sets("requests_per_minute", 0);
    for (i = 0; i < number; i++)
        many.clients[i] = new_watched_client(wake_loops, &many.new_tokens[i]);
    for (i = 0; i < THREADS; i++)
        start_thread(&threads[i], take_all_tokens, NULL);
    for (i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    for (i = 0; i < number; i++) {
        /* Waits for a change function that is running. */
        clopos_auth_client_free(many.clients[i]);
        CHECK(many.new_tokens[i] == 1);
    }
    CHECK(sandbox_requests() >= number);
}

static void current_is_the_serial_of_the_token_that_get_token_returns(void)
{
    clopos_auth_client *client = new_client(), *other = new_client();
    clopos_auth_token *first, *cached, *second, *others;
    int64_t expires_in = -1;
    uint64_t before;

    CHECK(clopos_auth_current(client, &expires_in) == 0 && expires_in == 0);
    CHECK(clopos_auth_current(client, NULL) == 0);
    CHECK(sandbox_requests() == 0);
    first = get_token(client);
    CHECK(first->serial != 0);
    CHECK(clopos_auth_current(client, &expires_in) == first->serial);
    CHECK(expires_in <= first->expires_in && expires_in > first->expires_in - 10);
    cached = get_token(client);
    CHECK(cached->serial == first->serial);
    authenticate(client);
    before = clopos_auth_current(client, NULL);
    second = get_token(client);
    CHECK(before != 0 && before == second->serial && second->serial != first->serial);
    others = get_token(other);
    CHECK(others->serial != first->serial && others->serial != second->serial);
    /* The refused token is not the current one, which stays. */
    CHECK(clopos_auth_invalidate(client, first->value) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_current(client, NULL) == second->serial);
    CHECK(clopos_auth_invalidate(client, NULL) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_current(client, &expires_in) == 0 && expires_in == 0);
    clopos_auth_token_free(first);
    clopos_auth_token_free(cached);
    clopos_auth_token_free(second);
    clopos_auth_token_free(others);
    clopos_auth_client_free(client);
    expires_in = -1;
    CHECK(clopos_auth_current(client, &expires_in) == 0 && expires_in == 0);
    clopos_auth_client_free(other);
}

static void current_is_0_once_the_token_is_due_to_be_replaced(void)
{
    clopos_auth_client *client;
    clopos_auth_token *token, *next;

    sandbox_sets("lifetime", 2);
    client = new_client();
    token = get_token(client);
    WAIT_UNTIL(clopos_auth_current(client, NULL) == 0);
    WAIT_UNTIL((next = get_token(client))->serial != token->serial || (clopos_auth_token_free(next), false));
    clopos_auth_token_free(token);
    clopos_auth_token_free(next);
    clopos_auth_client_free(client);
}

static void the_state_agrees_with_the_services_count(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_state *state = get_state(client);
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    CHECK(state->has_token == 0 && state->is_fresh == 0 && state->request_in_flight == 0);
    CHECK(state->expires_in_ms == -1 && state->refresh_in_ms == -1 && state->next_request_in_ms == 0);
    CHECK(state->last_status == CLOPOS_AUTH_OK && state->last_http_status == 0);
    CHECK(state->last_result_age_ms == -1 && state->last_message == NULL);
    CHECK(state->requests == 0 && state->failures == 0);
    clopos_auth_state_free(state);

    sandbox_fails_times("status-503", 2);
    token = get_token(client);
    state = get_state(client);
    CHECK(state->requests == (uint64_t)sandbox_requests() && state->requests == 3 && state->failures == 2);
    CHECK(state->has_token == 1 && state->is_fresh == 1 && state->request_in_flight == 0);
    CHECK(state->expires_in_ms > 3500000 && state->expires_in_ms <= token->expires_in * 1000 + 1000);
    CHECK(state->refresh_in_ms > 0 && state->refresh_in_ms < state->expires_in_ms);
    CHECK(state->last_status == CLOPOS_AUTH_OK && state->last_http_status == 200);
    CHECK(state->last_result_age_ms >= 0 && state->last_result_age_ms < 20000);
    CHECK(state->last_message == NULL);
    clopos_auth_state_free(state);
    clopos_auth_token_free(token);

    /* A failure does not drop the token. */
    sandbox_fails("message-hostile");
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    state = get_state(client);
    CHECK(state->requests == (uint64_t)sandbox_requests() && state->requests == 4 && state->failures == 3);
    CHECK(state->has_token == 1 && state->is_fresh == 1 && state->next_request_in_ms > 0);
    CHECK(state->last_status == CLOPOS_AUTH_REJECTED && state->last_http_status == 401);
    CHECK(state->last_message != NULL && *state->last_message != '\0');
    CHECK(strstr(state->last_message, env("CLOPOS_CLIENT_SECRET")) == NULL);
    clopos_auth_client_free(client);
    CHECK(state->requests == 4); /* the state outlives the client */
    clopos_auth_state_free(state);
}

static void *wait_for_token(void *client)
{
    clopos_auth_token *token = NULL;

    const int32_t status = clopos_auth_get_token((clopos_auth_client *)client, DEFAULT_TIMEOUT, &token, NULL);

    CHECK(status == CLOPOS_AUTH_CANCELLED || status == CLOPOS_AUTH_INVALID_HANDLE);
    return NULL;
}

static void get_state_does_not_wait_for_a_request_that_hangs(void)
{
    enum { WAITING = 4, CALLS = 1000 };
    clopos_auth_client *client = new_client();
    pthread_t threads[WAITING];
    int64_t before, longest = 0;
    int i;

    sandbox_fails("request-hang");
    for (i = 0; i < WAITING; i++)
        start_thread(&threads[i], wait_for_token, client);
    WAIT_UNTIL(sandbox_requests() == 1);
    for (i = 0; i < CALLS; i++) {
        clopos_auth_state *state;

        before = now_ms();
        state = get_state(client);
        CHECK(clopos_auth_current(client, NULL) == 0);
        longest = now_ms() - before > longest ? now_ms() - before : longest;
        CHECK(state->request_in_flight == 1 && state->requests == 1 && state->failures == 0);
        CHECK(state->has_token == 0 && state->last_result_age_ms == -1);
        clopos_auth_state_free(state);
    }
    /* A second, because this machine may be busy. */
    CHECK(longest < 1000);
    clopos_auth_client_free(client);
    for (i = 0; i < WAITING; i++)
        join_thread(threads[i]);
    CHECK(sandbox_requests() == 1);
}

const test CHANGE_TESTS[] = {
    TEST(each_request_that_ends_is_one_change),
    TEST(a_null_change_function_is_not_called),
    TEST(a_call_in_the_change_function_returns_the_new_result),
    TEST(the_change_function_may_free_its_client),
    TEST(no_call_on_another_thread_waits_for_the_change_function),
    TEST(freeing_a_client_waits_for_its_change_function),
    TEST(the_change_function_is_never_called_after_the_client_was_freed),
    TEST(no_change_of_a_thousand_clients_on_sixteen_threads_is_lost),
    TEST(current_is_the_serial_of_the_token_that_get_token_returns),
    TEST(current_is_0_once_the_token_is_due_to_be_replaced),
    TEST(the_state_agrees_with_the_services_count),
    TEST(get_state_does_not_wait_for_a_request_that_hangs),
    END_OF_TESTS};
