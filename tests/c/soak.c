/* A soak test: many threads use a few clients whose tokens live for a second, while clients are replaced
 * and the service fails in every way. This program runs and measures; tests/c/soak.rs starts it and judges
 * its output. Usage: soak SECONDS [MISTAKE]
 *
 * The time is divided into rounds. At the end of each, every thread stops, every client but one is freed, and
 * a line has what is left: "rest ROUND CLIENTS CALLS PRIVATE HEAP THREADS FILES" (PRIVATE is resident memory
 * in KiB, HEAP is in bytes). When a thread gets another token, a line "token VALUE TIMES LATEST" has the
 * previous one: how often it was returned, and when last, in nanoseconds of CLOCK_MONOTONIC. The end is
 * "status NAME CALLS" for each status, and "late NANOSECONDS", by how much a call exceeded its timeout.
 *
 * MISTAKE is an injected error, which the judge must find.
 */
#define _GNU_SOURCE

#include <clopos_auth.h>

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 32, CLIENTS = 8, ROUNDS = 12, STATUSES = 17, REMEMBERED = 4096 };

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static void fail(int line, const char *what)
{
    printf("not ok - soak.c:%d: %s\n", line, what);
    fflush(stdout);
    /* Not exit(): other threads may still use the library. */
    _exit(1);
}

#include "shared.h"

/* A client, and whether a thread has begun to free it, and has done so. Never freed itself: threads read it
 * after the client has been freed. */
struct client {
    clopos_auth_client *handle;
    int claimed;
    int freed;
};

/* The last token that a thread got in a place. */
struct seen {
    char value[1024];
    long times;
    int64_t latest;
};

struct worker {
    pthread_t thread;
    int number;
    unsigned random;
    int scheduler;
    struct seen seen[CLIENTS + 1];
    long statuses[STATUSES];
    int64_t late;
    int round;
};

static struct client clients[REMEMBERED];
static long clients_made;
/* The clients in use now. */
static struct client *places[CLIENTS];
/* A client that stays, whose service never fails. */
static struct client *steady;
static struct worker workers[THREADS + 1];
static pthread_barrier_t barrier;
static int resting, ending;
static const char *mistake = "";
static FILE *transcript;
static pthread_mutex_t transcript_lock = PTHREAD_MUTEX_INITIALIZER;

#define LOAD(variable) __atomic_load_n(&(variable), __ATOMIC_SEQ_CST)
#define STORE(variable, value) __atomic_store_n(&(variable), (value), __ATOMIC_SEQ_CST)
#define SWAP(variable, value) __atomic_exchange_n(&(variable), (value), __ATOMIC_SEQ_CST)

static int64_t now(void)
{
    struct timespec time;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void nap(int64_t time)
{
    const struct timespec span = {time / SECOND, time % SECOND};

    nanosleep(&span, NULL);
}

static const char *env(const char *name)
{
    const char *value = getenv(name);

    CHECK(value != NULL);
    return value;
}

static unsigned draw(unsigned *random, unsigned below)
{
    *random = *random * 1664525u + 1013904223u;
    return (unsigned)(((uint64_t)*random * below) >> 32);
}

/* How long this thread has waited for a processor; 0 if the kernel does not tell. */
static int64_t time_in_queue(const struct worker *worker)
{
    char text[128];
    ssize_t length = pread(worker->scheduler, text, sizeof text - 1, 0);
    long long queued = 0;

    text[length > 0 ? length : 0] = '\0';
    return sscanf(text, "%*s %lld", &queued) == 1 ? queued : 0;
}

/* -- Clients -- */

static void write_log(int32_t level, const char *line, void *user)
{
    const struct client *client = (const struct client *)user;

    CHECK(level >= CLOPOS_AUTH_LOG_ERROR && level <= CLOPOS_AUTH_LOG_DEBUG);
    /* Nothing is logged after client_free() has returned. */
    CHECK(!LOAD(client->freed));
    if (transcript != NULL) {
        pthread_mutex_lock(&transcript_lock);
        fprintf(transcript, "%s\n", line);
        pthread_mutex_unlock(&transcript_lock);
    }
}

static struct client *new_client(const char *base_url)
{
    static char pem[64 * 1024];
    struct client *client = &clients[clients_made++ % REMEMBERED];
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;
    const size_t length = read_ca(pem, sizeof pem);

    CHECK(length > 0 && config != NULL);
    memset(client, 0, sizeof *client);
    CHECK(clopos_auth_config_set_base_url(config, base_url, NULL) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, NULL) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_config_add_ca_pem(config, pem, length, NULL) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_config_set_attempt_timeout_ms(config, 400, NULL) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_config_set_requests_per_minute(config, 60, NULL) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, write_log, client, NULL) ==
          CLOPOS_AUTH_OK);
    CHECK(make_client(config, &client->handle, &err) == CLOPOS_AUTH_OK);
    CHECK(client->handle != NULL && err == NULL);
    clopos_auth_config_free(config);
    return client;
}

/* Any thread, any number of times. */
static void free_client(struct client *client)
{
    const int was_claimed = SWAP(client->claimed, 1);

    clopos_auth_client_free(client->handle);
    if (!was_claimed)
        STORE(client->freed, 1);
}

static void replace_client(int place)
{
    struct client *old = SWAP(places[place], new_client(env("CLOPOS_BASE_URL")));

    if (old != NULL)
        free_client(old);
}

/* -- Calls -- */

static void print_seen(const struct seen *seen)
{
    if (seen->times != 0)
        printf("token %s %ld %lld\n", seen->value, seen->times, (long long)seen->latest);
}

static void token_returned(struct seen *seen, const char *value, int64_t at)
{
    if (strcmp(seen->value, value) != 0) {
        print_seen(seen);
        CHECK(strlen(value) < sizeof seen->value);
        strcpy(seen->value, value);
        seen->times = 0;
        seen->latest = 0;
    }
    seen->times++;
    if (at > seen->latest)
        seen->latest = at;
}

enum call { GET_TOKEN, COPY_TOKEN, AUTHENTICATE };

static clopos_auth_status call(struct worker *worker, int place, struct client *client,
                               enum call which, uint32_t timeout_ms)
{
    static char no_error[] = "";
    char copy[CLOPOS_AUTH_TOKEN_MAX + 1];
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;
    clopos_auth_status status;
    const char *value = no_error;
    const int is_gone = LOAD(client->freed);
    const int64_t start = now();
    int64_t queued = time_in_queue(worker), end;
    size_t needed = 0;

    switch (which) {
    case GET_TOKEN:
        status = clopos_auth_get_token(client->handle, timeout_ms, &token, &err);
        break;
    case COPY_TOKEN:
        status = clopos_auth_copy_token(client->handle, timeout_ms, copy, sizeof copy, &needed, NULL,
                                        &err);
        break;
    default:
        status = clopos_auth_authenticate(client->handle, timeout_ms, &token, &err);
    }
    /* A call ends by reading its clock and returning the token. It does not wait then, but may lose the
     * processor: that time is not the library's. */
    end = now();
    end -= time_in_queue(worker) - queued;

    CHECK(status >= 0 && status < STATUSES);
    worker->statuses[status]++;
    if (is_gone)
        CHECK(status == CLOPOS_AUTH_INVALID_HANDLE);
    if (end - start - timeout_ms * MILLISECOND > worker->late)
        worker->late = end - start - timeout_ms * MILLISECOND;
    if (status == CLOPOS_AUTH_OK) {
        CHECK(err == NULL);
        value = which == COPY_TOKEN ? copy : token->value;
        CHECK(strlen(value) == (which == COPY_TOKEN ? needed - 1 : token->value_len));
        token_returned(&worker->seen[place], value, end > start ? end : start);
    } else {
        CHECK(token == NULL && err != NULL && err->status == status && *err->message != '\0');
        CHECK(status != CLOPOS_AUTH_INVALID_ARGUMENT && status != CLOPOS_AUTH_BUFFER_TOO_SMALL);
    }
    if (status == CLOPOS_AUTH_INTERNAL) {
        printf("internal: %s\n", err->message);
        CHECK(status != CLOPOS_AUTH_INTERNAL);
    }
    if (strcmp(mistake, "leak") == 0 && token != NULL && worker->number == 0 &&
        worker->round != LOAD(resting)) {
        token = NULL;
        worker->round = LOAD(resting);
    }
    clopos_auth_token_free(token);
    clopos_auth_error_free(err);
    return status;
}

/* Returns a token that has expired. */
static void keep_too_long(struct worker *worker)
{
    struct seen *seen = &worker->seen[CLIENTS];

    if (call(worker, CLIENTS, steady, GET_TOKEN, 5000) == CLOPOS_AUTH_OK) {
        nap(SECOND + 100 * MILLISECOND);
        token_returned(seen, seen->value, now());
    }
}

static void do_something(struct worker *worker)
{
    static const uint32_t TIMEOUTS_MS[] = {0, 0, 1, 20, 200, 1500};
    const uint32_t timeout_ms = TIMEOUTS_MS[draw(&worker->random, 6)];
    const int place = (int)draw(&worker->random, CLIENTS);
    struct client *client = LOAD(places[place]);
    const unsigned dice = draw(&worker->random, 10000);

    if (dice < 10) {
        call(worker, place, client, AUTHENTICATE, timeout_ms);
    } else if (dice < 15) {
        clopos_auth_cancel(client->handle);
    } else if (dice < 25) {
        /* Before the first token: any. */
        const char *value = worker->seen[place].value;
        clopos_auth_invalidate(client->handle, *value != '\0' ? value : NULL);
    } else if (dice < 26) {
        free_client(client);
        call(worker, place, client, GET_TOKEN, timeout_ms);
    } else {
        call(worker, place, client, dice % 2 ? GET_TOKEN : COPY_TOKEN, timeout_ms);
    }
}

/* -- Threads -- */

static void prepare(struct worker *worker)
{
    worker->random = 12345u + (unsigned)worker->number;
    worker->scheduler = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    worker->round = -1;
}

static void *work(void *argument)
{
    struct worker *worker = (struct worker *)argument;
    int i;

    prepare(worker);
    while (!LOAD(ending)) {
        if (LOAD(resting) % 2 != 0) {
            pthread_barrier_wait(&barrier);
            pthread_barrier_wait(&barrier);
        } else if (worker->number < THREADS) {
            do_something(worker);
            nap(draw(&worker->random, 4000) * INT64_C(1000));
        } else if (strcmp(mistake, "stale") == 0) {
            keep_too_long(worker);
        } else {
            /* This service does not fail: no call may fail. */
            CHECK(call(worker, CLIENTS, steady, AUTHENTICATE, 10000) == CLOPOS_AUTH_OK);
            CHECK(call(worker, CLIENTS, steady, GET_TOKEN, 0) == CLOPOS_AUTH_OK);
            for (i = 0; i < 25 && LOAD(resting) % 2 == 0; i++)
                nap(100 * MILLISECOND);
        }
    }
    for (i = 0; i <= CLIENTS; i++)
        print_seen(&worker->seen[i]);
    return NULL;
}

static void *sleep_for_ever(void *argument)
{
    for (;;)
        pause();
    return argument;
}

/* The resident memory without mapped files, such as the library's code, whose pages count from their first
 * use. */
static long private_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long resident = 0, shared = 0;

    CHECK(file != NULL && fscanf(file, "%*s %ld %ld", &resident, &shared) == 2);
    fclose(file);
    return (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

static long calls(void)
{
    long number = 0;
    int i, status;

    for (i = 0; i <= THREADS; i++)
        for (status = 0; status < STATUSES; status++)
            number += workers[i].statuses[status];
    return number;
}

/* While all threads wait. */
static void measure(int round)
{
    const int64_t deadline = now() + 2 * SECOND;
    struct mallinfo2 memory;
    pthread_t thread;
    int i;

    if (strcmp(mistake, "thread") == 0)
        CHECK(pthread_create(&thread, NULL, sleep_for_ever, NULL) == 0);
    if (strcmp(mistake, "descriptor") == 0)
        CHECK(open("/dev/null", O_RDONLY) >= 0);
    for (i = 0; i < CLIENTS; i++)
        free_client(places[i]);
    /* The client that stays always has a token and a connection here. */
    CHECK(call(&workers[THREADS], CLIENTS, steady, AUTHENTICATE, 10000) == CLOPOS_AUTH_OK);
    /* The thread of a request that no call waits for ends with its attempt. */
    while (threads() > THREADS + 2 && now() < deadline)
        nap(5 * MILLISECOND);
    malloc_trim(0);
    memory = mallinfo2();
    printf("rest %d %ld %ld %ld %ld %d %d\n", round, clients_made, calls(), private_kib(),
           (long)(memory.uordblks + memory.hblkhd), threads(),
           entries("/proc/self/fd") - 1);
}

/* Replaces clients while the threads use them. */
static void churn(int64_t until)
{
    unsigned random = 4711;
    int i;

    while (now() < until) {
        for (i = 0; i < CLIENTS; i++)
            /* After three seconds on average, or when a thread has freed it. */
            if (LOAD(places[i]->claimed) || draw(&random, 60) == 0)
                replace_client(i);
        nap(50 * MILLISECOND);
    }
}

static void open_transcript(void)
{
    const char *directory = getenv("CLOPOS_TEST_TRANSCRIPT");
    char path[4096];

    if (directory == NULL)
        return;
    snprintf(path, sizeof path, "%s/soak-%ld.log", directory, (long)getpid());
    transcript = fopen(path, "a");
    CHECK(transcript != NULL);
}

int main(int argc, char **argv)
{
    static char output[1 << 16];
    const int64_t seconds = argc > 1 ? atoi(argv[1]) : 0;
    int64_t late = 0;
    int i, round, status;

    CHECK(seconds >= ROUNDS);
    if (argc > 2)
        mistake = argv[2];
    setvbuf(stdout, output, _IOLBF, sizeof output);
    alarm((unsigned)seconds * 2 + 60);
    open_transcript();
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS + 2) == 0);
    steady = new_client(env("CLOPOS_TEST_STEADY_URL"));
    for (i = 0; i < CLIENTS; i++)
        replace_client(i);
    for (i = 0; i <= THREADS; i++) {
        workers[i].number = i;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (round = 1; round <= ROUNDS; round++) {
        churn(now() + seconds * SECOND / ROUNDS);
        STORE(resting, round * 2 - 1);
        pthread_barrier_wait(&barrier);
        measure(round);
        for (i = 0; i < CLIENTS; i++)
            replace_client(i);
        STORE(ending, round == ROUNDS);
        STORE(resting, round * 2);
        pthread_barrier_wait(&barrier);
    }
    for (i = 0; i <= THREADS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        if (workers[i].late > late)
            late = workers[i].late;
    }
    for (status = 0; status < STATUSES; status++) {
        long number = 0;
        for (i = 0; i <= THREADS; i++)
            number += workers[i].statuses[status];
        printf("status %s %ld\n", clopos_auth_status_name(status), number);
    }
    printf("late %lld\n", (long long)late);
    for (i = 0; i < CLIENTS; i++)
        free_client(places[i]);
    free_client(steady);
    puts("done");
    return 0;
}
