/* What happens if memory runs out (`resources memory`), and that a small stack is enough (`resources stack
 * BYTES`). A program of its own, since it replaces malloc(). The environment is that of harness.h.
 */
#define _GNU_SOURCE

#include <clopos_auth.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Allocations that fail. ---- */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum { NEVER = 0x7fffffff };

/* Of the calling thread: the number of allocations, the number of the first that fails, and whether all
 * later ones fail as well. */
static __thread int allocations;
static __thread int fails_at = NEVER;
static __thread bool and_later;

static bool has_memory(void)
{
    if (fails_at == NEVER)
        return true;
    allocations++;
    if (allocations < fails_at || (allocations > fails_at && !and_later))
        return true;
    errno = ENOMEM;
    return false;
}

void *malloc(size_t size)
{
    return has_memory() ? __libc_malloc(size) : NULL;
}

void *calloc(size_t n, size_t size)
{
    return has_memory() ? __libc_calloc(n, size) : NULL;
}

void *realloc(void *old, size_t size)
{
    return has_memory() ? __libc_realloc(old, size) : NULL;
}

void *memalign(size_t alignment, size_t size)
{
    return has_memory() ? __libc_memalign(alignment, size) : NULL;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = memalign(alignment, size);
    return *out != NULL ? 0 : ENOMEM;
}

/* ---- Common functions. ---- */

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *what, int line)
{
    fails_at = NEVER;
    printf("resources.c:%d: %s\n", line, what);
    fflush(stdout);
    _exit(3);
}

#include "shared.h"

static char ca[64 * 1024];
static size_t ca_length;

static clopos_auth_config *new_config(void)
{
    clopos_auth_config *config = clopos_auth_config_new();

    CHECK(config != NULL);
    CHECK(clopos_auth_config_set_base_url(config, getenv("CLOPOS_BASE_URL"), NULL) == CLOPOS_AUTH_OK);
    if (ca_length > 0)
        CHECK(clopos_auth_config_add_ca_pem(config, ca, ca_length, NULL) == CLOPOS_AUTH_OK);
    return config;
}

static clopos_auth_client *new_client(void)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client = NULL;

    CHECK(make_client(config, &client, NULL) == CLOPOS_AUTH_OK);
    clopos_auth_config_free(config);
    return client;
}

static void get_a_token(clopos_auth_client *client)
{
    clopos_auth_token *token = NULL;

    CHECK(clopos_auth_get_token(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, NULL) == CLOPOS_AUTH_OK);
    CHECK(token != NULL && token->value_len != 0);
    clopos_auth_token_free(token);
}

/* ---- Memory. ---- */

typedef enum operation { MAKE, GET, COPY, FAIL, INVALIDATE, OPERATIONS } operation;

static const char *const NAMES[] = {"client_new", "get_token", "copy_token", "an error",
                                    "invalidate"};

/* Makes one call whose n-th allocation fails. Returns 1 if the call failed as promised, 0 if it made fewer
 * allocations. Runs in a process of its own, because other failures end the process. */
static int call(operation which, int n, bool later_fail)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client = new_client(), *another = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    clopos_auth_status status;
    char buf[CLOPOS_AUTH_TOKEN_MAX + 1];

    get_a_token(client);
    allocations = 0;
    and_later = later_fail;
    fails_at = n;
    switch (which) {
    case MAKE:
        status = make_client(config, &another, &err);
        break;
    case GET:
        status = clopos_auth_get_token(client, 0, &token, &err);
        break;
    case COPY:
        status = clopos_auth_copy_token(client, 0, buf, sizeof buf, NULL, NULL, &err);
        break;
    case FAIL:
        status = clopos_auth_authenticate(NULL, 0, &token, &err);
        break;
    default:
        status = clopos_auth_invalidate(client, NULL);
        break;
    }
    fails_at = NEVER;
    if (which == FAIL) {
        /* The status does not depend on memory for the error. */
        CHECK(status == CLOPOS_AUTH_INVALID_HANDLE);
        CHECK(allocations < n || err == NULL || !and_later);
    } else if (allocations < n) {
        CHECK(status == CLOPOS_AUTH_OK && err == NULL);
    } else {
        CHECK(status == CLOPOS_AUTH_INTERNAL && token == NULL && another == NULL);
        CHECK(and_later ? err == NULL : err != NULL && strcmp(err->message, "out of memory") == 0);
    }
    clopos_auth_error_free(err);
    clopos_auth_token_free(token);
    /* With memory again, everything works. */
    get_a_token(which == INVALIDATE ? new_client() : client);
    return allocations < n ? 0 : 1;
}

/* Lets each allocation of a call fail in turn. Counts the calls that returned and those that ended the
 * process. */
static void fail_each(operation which, bool later_fail, int *survived, int *ended)
{
    int n, status;

    *survived = *ended = 0;
    for (n = 1; n < 10000; n++) {
        pid_t child;

        fflush(stdout);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            /* Without Rust's message when it ends the process. */
            CHECK(freopen("/dev/null", "w", stderr) != NULL);
            status = call(which, n, later_fail);
            fflush(stdout);
            _exit(status);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
            (*survived)++;
        else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
            (*ended)++;
        else
            CHECK(!"it neither failed with INTERNAL nor ended with abort()");
    }
    CHECK(!"the number of allocations is limited");
}

static void memory(void)
{
    int which, for_all, survived, ended;

    for (which = 0; which < OPERATIONS; which++) {
        for (for_all = 0; for_all < 2; for_all++) {
            fail_each((operation)which, for_all, &survived, &ended);
            printf("%s, %s: %d allocations survived, %d end the process\n", NAMES[which],
                   for_all ? "from the n-th on" : "the n-th", survived, ended);
            if (which == GET)
                CHECK(survived == 1 && ended == 0);
            if (which == COPY || which == INVALIDATE)
                CHECK(survived == 0 && ended == 0);
            if (which == FAIL)
                CHECK(survived >= 1);
        }
    }
}

/* ---- Stack. ---- */

static void ignore_line(int32_t level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
}

static void *every_function(void *unused)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    size_t needed;
    int64_t expires_at;
    char small[4];

    clopos_auth_config_set_timeout_ms(config, 30000, NULL);
    clopos_auth_config_set_attempt_timeout_ms(config, 10000, NULL);
    clopos_auth_config_set_max_attempts(config, 3, NULL);
    clopos_auth_config_set_requests_per_minute(config, 60, NULL);
    clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_BUNDLED, NULL);
    clopos_auth_config_set_proxy(config, "environment", NULL);
    clopos_auth_config_set_user_agent(config, "MyTill/4.2", NULL);
    clopos_auth_config_set_allow_plain_http(config, 1, NULL);
    clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, ignore_line, NULL, NULL);
    CHECK(clopos_auth_config_set_proxy(config, "socks5://x", &err) != CLOPOS_AUTH_OK);
    clopos_auth_error_free(err);
    CHECK(make_client(config, &client, NULL) == CLOPOS_AUTH_OK);
    clopos_auth_config_free(config);
    CHECK(clopos_auth_authenticate(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, &err) ==
          CLOPOS_AUTH_OK);
    get_a_token(client);
    CHECK(clopos_auth_copy_token(client, 0, small, sizeof small, &needed, &expires_at, &err) ==
          CLOPOS_AUTH_BUFFER_TOO_SMALL);
    clopos_auth_error_free(err);
    clopos_auth_invalidate(client, token->value);
    clopos_auth_token_free(token);
    clopos_auth_cancel(client);
    clopos_auth_client_free(client);
    CHECK(clopos_auth_status_name(CLOPOS_AUTH_OK) != NULL && clopos_auth_version() != NULL);
    clopos_auth_version_number();
    return unused;
}

static void stack(size_t bytes)
{
    pthread_attr_t attributes;
    pthread_t thread;

    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, bytes) == 0);
    CHECK(pthread_create(&thread, &attributes, every_function, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    alarm(120);
    ca_length = read_ca(ca, sizeof ca);
    if (strcmp(argv[1], "memory") == 0)
        memory();
    else if (strcmp(argv[1], "stack") == 0 && argc == 3)
        stack((size_t)atol(argv[2]));
    else
        return 2;
    puts("ok");
    return 0;
}
