/* What the event loops share: a till that sends a request five times a second and gets a token before each,
 * without ever waiting for one. It prints changes.
 */

#ifndef EXAMPLES_TILL_H
#define EXAMPLES_TILL_H

#include "environment.h"

enum {
    /* How often this till sends a request to the service. */
    REQUEST_MS = 200,
    /* The longest time that the loop may spend elsewhere than waiting for events. */
    LIMIT_MS = 5
};

struct till {
    clopos_auth_client *client;
    uint64_t serial;           /* of the token that was printed last; 0 if none was */
    clopos_auth_status status; /* that was printed last */
    int64_t longest_us;        /* the longest time away from the loop */
};

/* Called when a request is due, and after a change. Returns the milliseconds until the next call, or -1 after
 * printing an error that is not retryable. */
static int64_t request(struct till *till)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status = clopos_auth_get_token(till->client, 0, &token, &error);
    int64_t pause_ms = REQUEST_MS;

    if (status == CLOPOS_AUTH_OK) {
        /* A real till sends its request with this token now. */
        if (token->serial != till->serial)
            printf("token %" PRIu64 ", expires in %" PRId64 " s\n", token->serial, token->expires_in);
        till->serial = token->serial;
    } else if (error != NULL && error->retryable) {
        /* WOULD_WAIT: the change function will be called. */
        if (status != till->status)
            printf("no token: %s\n", clopos_auth_status_name(status));
        if (error->retry_after_ms > pause_ms)
            pause_ms = error->retry_after_ms;
    } else {
        report("sign in", status, error);
        error = NULL;
        pause_ms = -1;
    }
    till->status = status;
    clopos_auth_token_free(token);
    clopos_auth_error_free(error);
    return pause_ms;
}

/* Called when the loop begins to wait again, after having been away since `since_us`. */
static void was_away(struct till *till, int64_t since_us, int64_t now_us)
{
    if (now_us - since_us > till->longest_us)
        till->longest_us = now_us - since_us;
}

static void print_longest(const struct till *till)
{
    printf("longest time away from the loop: %.1f ms, of %d ms at most\n",
           (double)till->longest_us / 1000, LIMIT_MS);
}

#endif
