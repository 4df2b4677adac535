/* What the C tests share. A test is a function whose name is the promise that it checks; it runs in a
 * process of its own, against a sandbox of its own that tests/c.rs starts. The environment says where:
 * CLOPOS_BASE_URL, CLOPOS_CA_FILE (not set: no TLS), CLOPOS_TEST_CONTROL (the sandbox's control port),
 * and CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND, CLOPOS_INTEGRATOR_ID.
 *
 * Every log line and every error text that a test sees goes into a file in the directory
 * CLOPOS_TEST_TRANSCRIPT, where it is searched for secrets.
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

/* A row in a file's list of tests. */
#define TEST(function) {#function, function}
/* What ends each list. */
#define END_OF_TESTS {NULL, NULL}

extern const test ARGUMENT_TESTS[], SETTING_TESTS[], HANDLE_TESTS[], TOKEN_TESTS[], LOG_TESTS[],
    CHANGE_TESTS[], MEMORY_TESTS[], SIGNAL_TESTS[];

/* Ends the test as failed. */
void fail_at(const char *file, int line, const char *what);

#define CHECK(condition) ((condition) ? (void)0 : fail_at(__FILE__, __LINE__, #condition))

/* `call` returns OK, and *err is NULL. */
#define CHECK_OK(err, call) check_status(__FILE__, __LINE__, CLOPOS_AUTH_OK, (call), (err), NULL)
/* `call` returns `status`, with an error in *err that says the same; frees it. */
#define CHECK_FAILS(status, err, call) \
    check_status(__FILE__, __LINE__, (status), (call), (err), NULL)
/* The same, and the error's message names `what`. */
#define CHECK_BLAMES(what, status, err, call) \
    check_status(__FILE__, __LINE__, (status), (call), (err), (what))

void check_status(const char *file, int line, int32_t expected, int32_t status,
                  clopos_auth_error **err, const char *what);

/* Polls until the condition holds; fails the test where it does not within 20 s. */
#define WAIT_UNTIL(condition)                        \
    do {                                             \
        int64_t patience_ends = now_ms() + 20000;    \
        while (!(condition)) {                       \
            CHECK(now_ms() < patience_ends);         \
            nap();                                   \
        }                                            \
    } while (0)

/* Milliseconds on a clock that only goes forward. */
int64_t now_ms(void);
/* The pause between two looks at a state. */
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
/* How many threads this process has: with requests in the air, also the library's. */
int threads(void);
/* Whether the kernel says that this thread of the process sleeps. */
bool sleeps(long thread_id);

/* The variable's value; fails the test where it is not set. */
const char *env(const char *name);
/* Memory, to be freed; never NULL. */
void *allocate(size_t size);
/* A text of `length` times the letter x, to be freed. */
char *long_text(size_t length);
/* The content of the sandbox's CA file, to be freed; NULL without TLS. */
char *read_ca(size_t *length);

/* Settings that lead to the sandbox and log every line to the transcript. */
clopos_auth_config *new_config(void);
/* A client with these settings, which it frees, or with new_config(). */
clopos_auth_client *new_client_with(clopos_auth_config *config);
clopos_auth_client *new_client(void);
/* client_new with the sandbox's credentials. */
clopos_auth_status make_client(const clopos_auth_config *config, clopos_auth_client **out,
                               clopos_auth_error **err);
/* A token that must come, to be freed. */
clopos_auth_token *get_token(clopos_auth_client *client);

/* A log function for set_log. */
void log_to_transcript(int32_t level, const char *line, void *user);
void to_transcript(const char *line);

/* Makes the sandbox go wrong every time, or the next `times` times; mends it; changes a setting. */
void sandbox_fails(const char *fault);
void sandbox_fails_times(const char *fault, int times);
void sandbox_heals(void);
void sandbox_sets(const char *setting, int value);
/* How many auth requests arrived there. */
int sandbox_requests(void);

#endif
