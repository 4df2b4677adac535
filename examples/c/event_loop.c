/* A till's event loop that never waits for a token: it uses poll(), and a pipe to which the change function
 * writes.
 *
 *     cc -std=c99 event_loop.c -lclopos_auth -o event_loop
 *
 * It runs until its standard input ends (Ctrl-D). It prints changes: no token yet, a token, a new one after a
 * refresh, a failing service, its recovery; and at the end the longest time that it was away from poll().
 *
 * The environment has the credentials: see environment.h.
 */

#define _POSIX_C_SOURCE 200809L

#include "till.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

/* Called by the library on any thread: wakes the loop. (If the pipe is full, the loop wakes as well.) */
static void CLOPOS_AUTH_CALL on_change(int32_t status, void *user)
{
    const int *writing_end = user;
    static const char byte = 0;

    (void)status;
    while (write(*writing_end, &byte, 1) < 0 && errno == EINTR)
        continue;
}

static bool open_pipe(int ends[2])
{
    int i;

    if (pipe(ends) != 0)
        return false;
    for (i = 0; i < 2; i++)
        if (fcntl(ends[i], F_SETFL, O_NONBLOCK) != 0 || fcntl(ends[i], F_SETFD, FD_CLOEXEC) != 0)
            return false;
    return true;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int milliseconds_until(int64_t due_us)
{
    int64_t left_us = due_us - now_us();

    return left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
}

/* Runs until standard input ends. A real program polls its sockets and devices here as well. */
static bool run(struct till *till, int changes)
{
    struct pollfd waiting[2] = {{STDIN_FILENO, POLLIN, 0}, {-1, POLLIN, 0}};
    int64_t since_us = now_us(), due_us = since_us;
    char bytes[64];

    waiting[1].fd = changes;
    while (true) {
        fflush(stdout);
        was_away(till, since_us, now_us());
        if (poll(waiting, 2, milliseconds_until(due_us)) < 0 && errno != EINTR) {
            perror("poll");
            return false;
        }
        since_us = now_us();
        if (waiting[0].revents != 0 && read(STDIN_FILENO, bytes, sizeof bytes) <= 0)
            return true;
        while (waiting[1].revents != 0 && read(changes, bytes, sizeof bytes) > 0)
            due_us = since_us;
        if (since_us >= due_us) {
            int64_t pause_ms = request(till);
            if (pause_ms < 0)
                return false;
            due_us = since_us + pause_ms * 1000;
        }
    }
}

int main(void)
{
    struct till till = {NULL, 0, CLOPOS_AUTH_OK, 0};
    int ends[2] = {-1, -1};
    bool done = false;

    if (!open_pipe(ends))
        perror("pipe");
    else
        till.client = new_client(on_change, &ends[1]);
    if (till.client != NULL) {
        done = run(&till, ends[0]);
        print_longest(&till);
    }
    /* Afterwards on_change() is not called again, and the pipe may be closed. */
    clopos_auth_client_free(till.client);
    close(ends[0]);
    close(ends[1]);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
