/* What the C tests share. A test is a function whose name is the promise that it checks. It runs in a
 * process of its own, with a sandbox of its own that tests/c.rs starts. The environment has the sandbox's
 * URL (CLOPOS_BASE_URL), its CA (CLOPOS_CA_FILE; not set without TLS), the URL of its control port
 * (CLOPOS_TEST_CONTROL), and the credentials (CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND,
 * CLOPOS_INTEGRATOR_ID).
 *
 * Every log line and every error message that a test sees is written to a file in the directory
 * CLOPOS_TEST_TRANSCRIPT. tests/run.sh searches that for secrets.
 *
 * Valid as C99 and as C++11, like the header under test.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <clopos_auth.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test {
    const char *name;
    void (*run)(void);
} test;

/* An entry in a file's list of tests. */
#define TEST(function) {#function, function}
/* The last entry of each list. */
#define END_OF_TESTS {NULL, NULL}

extern const test ARGUMENT_TESTS[], SETTING_TESTS[], HANDLE_TESTS[], TOKEN_TESTS[], LOG_TESTS[],
    CHANGE_TESTS[], MEMORY_TESTS[], SIGNAL_TESTS[];

/* Ends the test as failed. */
void fail_at(const char *file, int line, const char *what);

#define CHECK(condition) ((condition) ? (void)0 : fail_at(__FILE__, __LINE__, #condition))

#define DEFAULT_TIMEOUT CLOPOS_AUTH_TIMEOUT_DEFAULT

/* `call` returns OK, and *err is NULL. */
#define CHECK_OK(err, call) check_status(__FILE__, __LINE__, CLOPOS_AUTH_OK, (call), (err), NULL)
/* `call` returns `status`, and *err is an error with that status; frees it. */
#define CHECK_FAILS(status, err, call) \
    check_status(__FILE__, __LINE__, (status), (call), (err), NULL)
/* The same, and the error's message contains `what`. */
#define CHECK_BLAMES(what, status, err, call) \
    check_status(__FILE__, __LINE__, (status), (call), (err), (what))

void check_status(const char *file, int line, int32_t expected, int32_t status,
                  clopos_auth_error **err, const char *what);

/* Polls until the condition holds; fails the test after 20 s. */
#define WAIT_UNTIL(condition)                        \
    do {                                             \
        int64_t deadline_ms = now_ms() + 20000;      \
        while (!(condition)) {                       \
            CHECK(now_ms() < deadline_ms);           \
            nap();                                   \
        }                                            \
    } while (0)

/* Milliseconds on the monotonic clock. */
int64_t now_ms(void);
/* The pause of WAIT_UNTIL, 2 ms. */
void nap(void);

/* A number that any thread may change. */
typedef struct counter {
    pthread_mutex_t lock;
    int value;
} counter;
#define COUNTER_INIT {PTHREAD_MUTEX_INITIALIZER, 0}
int count(counter *c);
void count_up(counter *c);

void start_thread(pthread_t *thread, void *(*body)(void *), void *argument);
void join_thread(pthread_t thread);
/* Whether this thread of the process sleeps, according to the kernel. */
bool sleeps(long thread_id);

/* The variable's value; fails the test if it is not set. */
const char *env(const char *name);
/* Memory, to be freed; never NULL. */
void *allocate(size_t size);
/* A string of `length` letters x, to be freed. */
char *long_text(size_t length);

/* Settings for the sandbox, with a log function that writes to the transcript. */
clopos_auth_config *new_config(void);
/* A client with these settings, which it frees, or with new_config(). */
clopos_auth_client *new_client_with(clopos_auth_config *config);
clopos_auth_client *new_client(void);
/* Returns a token, to be freed; fails the test if there is none. */
clopos_auth_token *get_token(clopos_auth_client *client);
/* Frees a client while four threads sign in with it, once `may_free(user)` is true, and then calls
 * `freed(user)`. Returns when the threads have ended. */
void free_in_use(clopos_auth_client *client, bool (*may_free)(void *user), void (*freed)(void *user),
                 void *user);

/* A log function for set_log. */
void log_to_transcript(int32_t level, const char *line, void *user);
void to_transcript(const char *line);

/* Makes the sandbox inject this fault always, or the next `times` times; changes a setting of it. */
void sandbox_fails(const char *fault);
void sandbox_fails_times(const char *fault, int times);
void sandbox_sets(const char *setting, int value);
/* The number of sign-in requests that the sandbox has received. */
int sandbox_requests(void);

#include "shared.h"

#endif
