/* The cost of a cached token: nanoseconds for one call over all threads (wall time divided by the number of
 * calls), compared with a string behind a mutex. Each round measures all ways one after the other: compare
 * only the numbers of one run.
 *
 * Usage: cached_token BASE_URL CA_FILE [ROUNDS]
 */
#define _GNU_SOURCE
#include "clopos_auth.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 32, MAX_ROUNDS = 99, CALLS = 1000000 };

static clopos_auth_client *client;

/* A string and its expiry behind a mutex, by the clock that includes sleep. */
static struct {
    pthread_mutex_t lock;
    char *value;
    size_t len;
    struct timespec ends;
} usual = {PTHREAD_MUTEX_INITIALIZER, NULL, 0, {0, 0}};

static void die(const char *what, clopos_auth_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error != NULL ? error->message : "failed");
    exit(1);
}

static void library_copy(char *buf, size_t cap)
{
    clopos_auth_error *error = NULL;
    if (clopos_auth_copy_token(client, 0, buf, cap, NULL, NULL, &error) != CLOPOS_AUTH_OK)
        die("copy_token", error);
}

static void library_current(char *buf, size_t cap)
{
    int64_t left;
    (void)buf;
    (void)cap;
    if (clopos_auth_current(client, &left) == 0)
        die("current", NULL);
}

static void library_get(char *buf, size_t cap)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    (void)buf;
    (void)cap;
    if (clopos_auth_get_token(client, 0, &token, &error) != CLOPOS_AUTH_OK)
        die("get_token", error);
    clopos_auth_token_free(token);
}

static int still_valid(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec < usual.ends.tv_sec;
}

static void mutex_copy(char *buf, size_t cap)
{
    pthread_mutex_lock(&usual.lock);
    if (!still_valid() || usual.len >= cap)
        die("mutex", NULL);
    memcpy(buf, usual.value, usual.len + 1);
    pthread_mutex_unlock(&usual.lock);
}

static void mutex_get(char *buf, size_t cap)
{
    char *copy;
    (void)buf;
    (void)cap;
    pthread_mutex_lock(&usual.lock);
    copy = still_valid() ? malloc(usual.len + 1) : NULL;
    if (copy == NULL)
        die("mutex", NULL);
    memcpy(copy, usual.value, usual.len + 1);
    pthread_mutex_unlock(&usual.lock);
    free(copy);
}

/* The lower limit: read a clock and copy, without sharing. */
static void floor_copy(char *buf, size_t cap)
{
    if (!still_valid() || usual.len >= cap)
        die("floor", NULL);
    memcpy(buf, usual.value, usual.len + 1);
}

struct way {
    const char *name;
    void (*call)(char *, size_t);
};

static const struct way ways[] = {
    {"copy_token", library_copy}, {"mutex, copied into a buffer", mutex_copy},
    {"current", library_current}, {"get_token + token_free", library_get},
    {"mutex, malloc + free", mutex_get}, {"clock + copy, nothing shared", floor_copy},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

struct job {
    const struct way *way;
    int calls;
    pthread_barrier_t *start;
};

static void *work(void *argument)
{
    struct job *job = argument;
    char buf[1024];
    int i;
    pthread_barrier_wait(job->start);
    for (i = 0; i < job->calls; i++)
        job->way->call(buf, sizeof buf);
    return NULL;
}

static double measure(const struct way *way, int threads)
{
    pthread_t ids[MAX_THREADS];
    pthread_barrier_t start;
    struct job job = {way, CALLS / threads, &start};
    struct timespec from, to;
    int i;
    pthread_barrier_init(&start, NULL, (unsigned)threads + 1);
    for (i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, &job) != 0)
            die("pthread_create", NULL);
    clock_gettime(CLOCK_MONOTONIC, &from);
    pthread_barrier_wait(&start);
    for (i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    pthread_barrier_destroy(&start);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
           ((double)job.calls * threads);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static char *read_file(const char *path, size_t *len)
{
    static char content[65536];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die(path, NULL);
    *len = fread(content, 1, sizeof content, file);
    fclose(file);
    return content;
}

static void set_up(const char *base_url, const char *ca_file)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    size_t pem_len = 0;
    const char *pem = read_file(ca_file, &pem_len);
    if (clopos_auth_config_set_base_url(config, base_url, &error) != CLOPOS_AUTH_OK ||
        clopos_auth_config_add_ca_pem(config, pem, pem_len, &error) != CLOPOS_AUTH_OK ||
        clopos_auth_client_new("sandbox_client", "sandbox_secret", "sandbox", "test_sandbox", config,
                               &client, &error) != CLOPOS_AUTH_OK ||
        clopos_auth_get_token(client, 10000, &token, &error) != CLOPOS_AUTH_OK)
        die("set-up", error);
    usual.value = strdup(token->value);
    usual.len = token->value_len;
    clock_gettime(CLOCK_BOOTTIME, &usual.ends);
    usual.ends.tv_sec += (time_t)token->expires_in;
    clopos_auth_token_free(token);
    clopos_auth_config_free(config);
}

int main(int argc, char **argv)
{
    static const int threads[] = {1, 2, 8, 32};
    static double ns[4][WAYS][MAX_ROUNDS];
    int rounds = argc > 3 ? atoi(argv[3]) : 9;
    int round, t, w;
    if (argc < 3 || rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: %s BASE_URL CA_FILE [ROUNDS, 1 to %d]\n", argv[0], MAX_ROUNDS);
        return 2;
    }
    set_up(argv[1], argv[2]);
    for (round = 0; round < rounds; round++)
        for (t = 0; t < 4; t++)
            for (w = 0; w < WAYS; w++)
                ns[t][w][round] = measure(&ways[w], threads[t]);
    printf("%d bytes of token, median of %d rounds, ns for one call summed over threads\n",
           (int)usual.len, rounds);
    printf("%-30s %8s %8s %8s %8s\n", "threads", "1", "2", "8", "32");
    for (w = 0; w < WAYS; w++) {
        printf("%-30s", ways[w].name);
        for (t = 0; t < 4; t++) {
            qsort(ns[t][w], (size_t)rounds, sizeof(double), ascending);
            printf(" %8.1f", ns[t][w][rounds / 2]);
        }
        printf("\n");
    }
    free(usual.value);
    clopos_auth_client_free(client);
    return 0;
}
