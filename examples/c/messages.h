/* How the examples print log lines and errors. Allocates nothing. */

#ifndef EXAMPLES_MESSAGES_H
#define EXAMPLES_MESSAGES_H

#include <clopos_auth.h>

#include <inttypes.h>
#include <stdio.h>

/* The library calls this on any thread, and on several at the same time: one fprintf() is one whole line. */
static void CLOPOS_AUTH_CALL log_line(int32_t level, const char *line, void *user)
{
    (void)user;
    fprintf(stderr, "clopos[%" PRId32 "] %s\n", level, line);
}

/* Prints why a call failed. Frees the error, which is NULL if there was no memory for it. */
static void report(const char *what, clopos_auth_status status, clopos_auth_error *error)
{
    fprintf(stderr, "%s: %s: %s\n", what, clopos_auth_status_name(status),
            error != NULL ? error->message : "no details available (out of memory)");
    clopos_auth_error_free(error);
}

#endif
