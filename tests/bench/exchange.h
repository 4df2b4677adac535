/* What the compared programs share. Usage: PROGRAM URL CA_FILE EXCHANGES CLIENTS
 *
 * Each of CLIENTS threads has a client of its own and makes EXCHANGES with it, one after the other: a request
 * and its response. The server decides whether connections are new, resumed or kept. Prints `name number`
 * pairs: the nanoseconds of the first exchange, of the median of the others, of all by all clients (wall time
 * divided by their number), and the heap bytes that each client after the first adds.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_EXCHANGES = 59 }; /* the library's limit is 60 requests in a minute */

/* Defined by the program: a client, and an exchange that gets a token. */
static void *client_make(const char *url, const char *ca_file);
static void client_exchange(void *client);
static void client_drop(void *client);

static void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why != NULL ? why : "failed");
    exit(1);
}

struct job {
    void *client;
    int exchanges;
    double ns[MAX_EXCHANGES];
};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *run(void *argument)
{
    struct job *job = argument;
    int i;
    for (i = 0; i < job->exchanges; i++) {
        double from = now_ns();
        client_exchange(job->client);
        job->ns[i] = now_ns() - from;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int exchanges = argc > 3 ? atoi(argv[3]) : 1, clients = argc > 4 ? atoi(argv[4]) : 1, i;
    struct job *jobs;
    pthread_t *ids;
    size_t one = 0;
    double from, all;
    if (argc < 3 || exchanges < 1 || exchanges > MAX_EXCHANGES || clients < 1 || clients > 256) {
        fprintf(stderr, "usage: %s URL CA_FILE [EXCHANGES, 1 to %d] [CLIENTS, 1 to 256]\n", argv[0],
                MAX_EXCHANGES);
        return 2;
    }
    jobs = calloc((size_t)clients, sizeof *jobs);
    ids = calloc((size_t)clients, sizeof *ids);
    if (jobs == NULL || ids == NULL)
        die("calloc", NULL);
    for (i = 0; i < clients; i++) {
        jobs[i].client = client_make(argv[1], argv[2]);
        jobs[i].exchanges = exchanges;
    }
    from = now_ns();
    if (clients == 1) {
        run(&jobs[0]);
    } else {
        /* The first exchange of each client is for the heap, and not timed. */
        client_exchange(jobs[0].client);
        jobs[0].exchanges = exchanges = exchanges > 1 ? exchanges - 1 : 1;
        one = mallinfo2().uordblks;
        for (i = 1; i < clients; i++) {
            client_exchange(jobs[i].client);
            jobs[i].exchanges = exchanges;
        }
        printf("heap_per_client %.0f\n",
               ((double)mallinfo2().uordblks - (double)one) / (clients - 1));
        from = now_ns();
        for (i = 0; i < clients; i++)
            if (pthread_create(&ids[i], NULL, run, &jobs[i]) != 0)
                die("pthread_create", NULL);
        for (i = 0; i < clients; i++)
            pthread_join(ids[i], NULL);
    }
    all = (now_ns() - from) / ((double)exchanges * clients);
    printf("first_ns %.0f\nall_ns %.0f\n", jobs[0].ns[0], all);
    if (exchanges > 1) {
        qsort(jobs[0].ns + 1, (size_t)exchanges - 1, sizeof(double), ascending);
        printf("other_ns %.0f\n", jobs[0].ns[1 + (exchanges - 1) / 2]);
    }
    for (i = 0; i < clients; i++)
        client_drop(jobs[i].client);
    free(jobs);
    free(ids);
    return 0;
}

#endif
