/* Out of resources: `resources memory`, `resources stack BYTES`. A program of its own, since it stands in
 * for malloc(). The environment is that of harness.h.
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

/* ---- Memory that ends. ---- */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum { NEVER = 0x7fffffff };

/* Of the thread that makes the call: how many allocations there were, the first that fails, and whether
 * those behind it fail, too. */
static __thread int allocations;
static __thread int fails_at = NEVER;
static __thread bool for_good;

static bool has_memory(void)
{
    if (fails_at == NEVER)
        return true;
    allocations++;
    if (allocations < fails_at || (allocations > fails_at && !for_good))
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

/* ---- What every part does. ---- */

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *what, int line)
{
    fails_at = NEVER;
    printf("resources.c:%d: %s\n", line, what);
    fflush(stdout);
    _exit(3);
}

static char *ca;
static size_t ca_length;

static void read_ca(void)
{
    enum { MAX_BYTES = 64 * 1024 };
    const char *path = getenv("CLOPOS_CA_FILE");
    FILE *file;

    if (path == NULL)
        return;
    file = fopen(path, "rb");
    CHECK(file != NULL);
    ca = (char *)malloc(MAX_BYTES);
    CHECK(ca != NULL);
    ca_length = fread(ca, 1, MAX_BYTES, file);
    fclose(file);
}

static clopos_auth_config *new_config(void)
{
    clopos_auth_config *config = clopos_auth_config_new();

    CHECK(config != NULL);
    CHECK(clopos_auth_config_set_base_url(config, getenv("CLOPOS_BASE_URL"), NULL) == CLOPOS_AUTH_OK);
    if (ca != NULL)
        CHECK(clopos_auth_config_add_ca_pem(config, ca, ca_length, NULL) == CLOPOS_AUTH_OK);
    return config;
}

static clopos_auth_status make_client(clopos_auth_config *config, clopos_auth_client **client,
                                      clopos_auth_error **err)
{
    return clopos_auth_client_new(getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"),
                                  getenv("CLOPOS_BRAND"), getenv("CLOPOS_INTEGRATOR_ID"), config,
                                  client, err);
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

typedef enum operation { MAKE, GET, COPY, BLAME, INVALIDATE, OPERATIONS } operation;

static const char *const NAMES[] = {"client_new", "get_token", "copy_token", "an error object",
                                    "invalidate"};

/* In a process of its own: one call, of which the n-th allocation fails. The exit status says how it
 * went: 0, it did not get to the n-th; 1, it failed as is promised. */
static int call(operation which, int n, bool and_all_behind)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client = new_client(), *another = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    clopos_auth_status status;
    char buf[CLOPOS_AUTH_TOKEN_MAX + 1];

    get_a_token(client);
    allocations = 0;
    for_good = and_all_behind;
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
    case BLAME:
        status = clopos_auth_authenticate(NULL, 0, &token, &err);
        break;
    default:
        status = clopos_auth_invalidate(client, NULL);
        break;
    }
    fails_at = NEVER;
    if (which == BLAME) {
        /* The status does not depend on the object. */
        CHECK(status == CLOPOS_AUTH_INVALID_HANDLE);
        CHECK(allocations < n || err == NULL || !for_good);
    } else if (allocations < n) {
        CHECK(status == CLOPOS_AUTH_OK && err == NULL);
    } else {
        CHECK(status == CLOPOS_AUTH_INTERNAL && token == NULL && another == NULL);
        CHECK(for_good ? err == NULL : err != NULL && strcmp(err->message, "out of memory") == 0);
    }
    clopos_auth_error_free(err);
    clopos_auth_token_free(token);
    /* Memory is back, and so is everything else. */
    get_a_token(which == INVALIDATE ? new_client() : client);
    return allocations < n ? 0 : 1;
}

/* Walks through all allocations of a call. */
static void walk(operation which, bool and_all_behind, int *survived, int *ended)
{
    int n, status;

    *survived = *ended = 0;
    for (n = 1; n < 10000; n++) {
        pid_t child;

        fflush(stdout);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            /* What Rust says when it ends the process is not news here. */
            CHECK(freopen("/dev/null", "w", stderr) != NULL);
            status = call(which, n, and_all_behind);
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
            CHECK(!"neither a status nor the end that is documented");
    }
    CHECK(!"it has an end");
}

static void memory(void)
{
    int which, for_all, survived, ended;

    for (which = 0; which < OPERATIONS; which++) {
        for (for_all = 0; for_all < 2; for_all++) {
            walk((operation)which, for_all, &survived, &ended);
            printf("%s, %s: %d allocations survived, %d end the process\n", NAMES[which],
                   for_all ? "from the n-th on" : "the n-th", survived, ended);
            if (which == GET)
                CHECK(survived == 1 && ended == 0);
            if (which == COPY || which == INVALIDATE)
                CHECK(survived == 0 && ended == 0);
            if (which == BLAME)
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
    read_ca();
    if (strcmp(argv[1], "memory") == 0)
        memory();
    else if (strcmp(argv[1], "stack") == 0 && argc == 3)
        stack((size_t)atol(argv[2]));
    else
        return 2;
    puts("ok");
    return 0;
}
