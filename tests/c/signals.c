/* Programs that use signals. Each signal would end the process if the library did not block it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "harness.h"

#include <fenv.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Signals that the library's thread blocks only if the program does. */
enum { BLOCKED = 4 };

static sigset_t block_signals(int *signals)
{
    sigset_t set;
    int i;

    signals[0] = SIGRTMIN;
    signals[1] = SIGRTMIN + 5;
    signals[2] = SIGPWR;
    signals[3] = SIGXCPU;
    sigemptyset(&set);
    for (i = 0; i < BLOCKED; i++)
        sigaddset(&set, signals[i]);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    return set;
}

static void send_to_process(int signal)
{
    CHECK(kill(getpid(), signal) == 0);
}

static void wait_for_token(clopos_auth_client *client)
{
    clopos_auth_token *token = NULL;

    WAIT_UNTIL(clopos_auth_get_token(client, 0, &token, NULL) == CLOPOS_AUTH_OK);
    clopos_auth_token_free(token);
}

static void a_pending_signal_that_the_caller_has_blocked_is_not_delivered_by_a_call(void)
{
    static const struct timespec soon = {10, 0};
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    int signals[BLOCKED], i;
    sigset_t set = block_signals(signals);

    for (i = 0; i < BLOCKED; i++)
        send_to_process(signals[i]);
    sandbox_sets("latency_ms", 300);
    CHECK_FAILS(CLOPOS_AUTH_WOULD_WAIT, &err, clopos_auth_get_token(client, 0, &token, &err));
    for (i = 0; i < BLOCKED; i++)
        CHECK(sigtimedwait(&set, NULL, &soon) > 0);
    wait_for_token(client);
    clopos_auth_client_free(client);
}

static void a_signal_that_the_caller_has_blocked_is_not_delivered_during_a_request(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    int signals[BLOCKED], i;
    sigset_t set = block_signals(signals);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    struct signalfd_siginfo info;

    CHECK(fd >= 0);
    sandbox_fails_times("request-hang", 1);
    CHECK_FAILS(CLOPOS_AUTH_WOULD_WAIT, &err, clopos_auth_get_token(client, 0, &token, &err));
    WAIT_UNTIL(sandbox_requests() == 1);
    for (i = 0; i < BLOCKED; i++) {
        send_to_process(signals[i]);
        CHECK(read(fd, &info, sizeof info) == (ssize_t)sizeof info);
        CHECK(info.ssi_signo == (uint32_t)signals[i]);
    }
    close(fd);
    clopos_auth_client_free(client);
}

static void a_program_may_enable_floating_point_exceptions(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    /* The library's thread inherits this. */
    feenableexcept(FE_ALL_EXCEPT);
    sandbox_fails_times("status-503", 1);
    token = get_token(client);
    CHECK(clopos_auth_invalidate(client, token->value) == CLOPOS_AUTH_OK);
    clopos_auth_token_free(token);
    CHECK_FAILS(CLOPOS_AUTH_REJECTED, &err, clopos_auth_get_token(client, 0, &token, &err));
    clopos_auth_client_free(client);
    fedisableexcept(FE_ALL_EXCEPT);
    CHECK(sandbox_requests() == 2);
}

const test SIGNAL_TESTS[] = {
    TEST(a_pending_signal_that_the_caller_has_blocked_is_not_delivered_by_a_call),
    TEST(a_signal_that_the_caller_has_blocked_is_not_delivered_during_a_request),
    TEST(a_program_may_enable_floating_point_exceptions),
    END_OF_TESTS};
