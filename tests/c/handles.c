/* Clients and configs are handles, not addresses: an invalid one is refused and never touches memory. */
#ifndef _GNU_SOURCE /* g++ defines it */
#define _GNU_SOURCE
#endif

#include "harness.h"

#include <sys/syscall.h>
#include <unistd.h>

/* Every function that takes a client refuses this handle. */
static void check_no_client(clopos_auth_client *client)
{
    clopos_auth_token *token = NULL;
    clopos_auth_state *state = NULL;
    clopos_auth_error *err = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_HANDLE;
    char buf[8];

    CHECK_FAILS(invalid, &err, clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_authenticate(client, DEFAULT_TIMEOUT, &token, &err));
    CHECK_FAILS(invalid, &err,
                clopos_auth_copy_token(client, DEFAULT_TIMEOUT, buf, sizeof buf, NULL, NULL, &err));
    CHECK(clopos_auth_invalidate(client, NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK_FAILS(invalid, &err, clopos_auth_get_state(client, &state, &err));
    CHECK(clopos_auth_current(client, NULL) == 0);
    clopos_auth_client_free(client);
}

/* Every kind of function that takes a config refuses this handle. */
static void check_no_config(clopos_auth_config *config)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_HANDLE;

    CHECK_FAILS(invalid, &err, clopos_auth_config_set_timeout_ms(config, 1, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_proxy(config, "none", &err));
    CHECK_FAILS(invalid, &err, clopos_auth_client_new("c", "s", "b", "i", config, &client, &err));
    CHECK(client == NULL);
    clopos_auth_config_free(config);
}

static void a_handle_that_was_freed_is_invalid_and_may_be_freed_again(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = new_client();

    clopos_auth_config_free(config);
    clopos_auth_config_free(config);
    check_no_config(config);

    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
    clopos_auth_client_free(client);
    check_no_client(client);
}

static void a_made_up_handle_is_invalid(void)
{
    int64_t local = 0;
    clopos_auth_client *client = new_client();
    clopos_auth_config *config = clopos_auth_config_new();
    uintptr_t bit;

    check_no_client((clopos_auth_client *)&local);
    check_no_config((clopos_auth_config *)&local);
    check_no_client((clopos_auth_client *)UINTPTR_MAX);
    check_no_config((clopos_auth_config *)UINTPTR_MAX);
    for (bit = 1; bit != 0; bit <<= 1) {
        /* Alone, and as one wrong bit in a valid handle. */
        check_no_client((clopos_auth_client *)bit);
        check_no_config((clopos_auth_config *)bit);
        check_no_client((clopos_auth_client *)((uintptr_t)client ^ bit));
        check_no_config((clopos_auth_config *)((uintptr_t)config ^ bit));
    }
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
    clopos_auth_config_free(config);
}

static void a_handle_of_the_other_kind_is_invalid_and_stays_as_it_is(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_config *config = new_config();

    check_no_client((clopos_auth_client *)config);
    check_no_config((clopos_auth_config *)client);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
    client = new_client_with(config);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
}

static void a_handle_is_never_used_again(void)
{
    enum { TIMES = 1000 };
    static clopos_auth_config *seen[TIMES];
    clopos_auth_config *config;
    int i, j;

    for (i = 0; i < TIMES; i++) {
        config = clopos_auth_config_new();
        CHECK(config != NULL);
        for (j = 0; j < i; j++)
            CHECK(seen[j] != config);
        seen[i] = config;
        clopos_auth_config_free(config);
    }
    for (i = 0; i < TIMES; i++)
        CHECK(clopos_auth_config_set_timeout_ms(seen[i], 1, NULL) == CLOPOS_AUTH_INVALID_HANDLE);
}

enum { CALLERS = 16 };

typedef struct caller {
    pthread_t thread;
    clopos_auth_client *client;
    counter *started;
    /* Which of the three calls that wait. */
    int call;
    long thread_id;
    int32_t first_status, second_status;
    int64_t first_ended_ms;
} caller;

static int32_t wait_for_token(const caller *c)
{
    clopos_auth_token *token = NULL;
    char buf[16];

    switch (c->call) {
    case 0:
        return clopos_auth_get_token(c->client, DEFAULT_TIMEOUT, &token, NULL);
    case 1:
        return clopos_auth_authenticate(c->client, DEFAULT_TIMEOUT, &token, NULL);
    default:
        return clopos_auth_copy_token(c->client, DEFAULT_TIMEOUT, buf, sizeof buf, NULL, NULL, NULL);
    }
}

static void *call_twice(void *argument)
{
    caller *c = (caller *)argument;

    c->thread_id = syscall(SYS_gettid);
    count_up(c->started);
    c->first_status = wait_for_token(c);
    c->first_ended_ms = now_ms();
    c->second_status = wait_for_token(c);
    return NULL;
}

static bool all_sleep(const caller *callers)
{
    int i;

    for (i = 0; i < CALLERS; i++)
        if (!sleeps(callers[i].thread_id))
            return false;
    return true;
}

/* A thread that has started and sleeps for some time waits inside the library. Checked several times,
 * because valgrind's threads also sleep while they wait for each other. */
static void wait_until_all_are_inside(const caller *callers, counter *started)
{
    int times = 0;

    WAIT_UNTIL(count(started) == CALLERS);
    WAIT_UNTIL((times = all_sleep(callers) ? times + 1 : 0) == 50);
}

static void freeing_a_client_wakes_16_waiting_threads(void)
{
    static caller callers[CALLERS];
    counter started = COUNTER_INIT;
    clopos_auth_client *client = new_client();
    int64_t freed_ms;
    int i;

    sandbox_fails("request-hang");
    for (i = 0; i < CALLERS; i++) {
        callers[i].client = client;
        callers[i].started = &started;
        callers[i].call = i % 3;
        start_thread(&callers[i].thread, call_twice, &callers[i]);
    }
    wait_until_all_are_inside(callers, &started);
    freed_ms = now_ms();
    clopos_auth_client_free(client);
    for (i = 0; i < CALLERS; i++) {
        join_thread(callers[i].thread);
        CHECK(callers[i].first_status == CLOPOS_AUTH_CANCELLED);
        CHECK(callers[i].second_status == CLOPOS_AUTH_INVALID_HANDLE);
        CHECK(callers[i].first_ended_ms - freed_ms < 2000);
    }
    check_no_client(client);
}

static void *free_client(void *client)
{
    clopos_auth_client_free((clopos_auth_client *)client);
    return NULL;
}

static void many_threads_may_free_the_same_client(void)
{
    pthread_t threads[8];
    int round, i;

    for (round = 0; round < 20; round++) {
        clopos_auth_client *client = new_client();
        for (i = 0; i < 8; i++)
            start_thread(&threads[i], free_client, client);
        for (i = 0; i < 8; i++)
            join_thread(threads[i]);
        CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_INVALID_HANDLE);
    }
}

const test HANDLE_TESTS[] = {
    TEST(a_handle_that_was_freed_is_invalid_and_may_be_freed_again),
    TEST(a_made_up_handle_is_invalid),
    TEST(a_handle_of_the_other_kind_is_invalid_and_stays_as_it_is),
    TEST(a_handle_is_never_used_again),
    TEST(freeing_a_client_wakes_16_waiting_threads),
    TEST(many_threads_may_free_the_same_client),
    END_OF_TESTS};
