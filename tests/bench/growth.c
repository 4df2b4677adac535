/* The memory, threads and files of a process with many clients, or many threads with one client.
 *
 * Usage: growth URL CA_FILE clients|threads NUMBER
 *
 * Prints `name number` pairs: resident KiB, heap bytes, threads and file descriptors, before and after.
 */
#define _GNU_SOURCE
#include "clopos_auth.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char pem[65536];
static pthread_barrier_t all_there, all_done;

static void die(const char *what, const clopos_auth_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error != NULL ? error->message : "failed");
    exit(1);
}

static long status_line(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL)
        die("/proc/self/status", NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = atol(line + strlen(name));
    fclose(file);
    return value;
}

static void show(const char *when)
{
    int files = -3; /* ., .. and the directory itself */
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        die("/proc/self/fd", NULL);
    while (readdir(directory) != NULL)
        files++;
    closedir(directory);
    printf("%s_rss_kib %ld\n%s_heap %zu\n%s_threads %ld\n%s_files %d\n", when, status_line("VmRSS:"), when,
           mallinfo2().uordblks + mallinfo2().hblkhd, when, status_line("Threads:"), when, files);
}

static clopos_auth_client *make(const char *url, size_t pem_len)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    if (clopos_auth_config_set_base_url(config, url, &error) != CLOPOS_AUTH_OK ||
        clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &error) != CLOPOS_AUTH_OK ||
        clopos_auth_config_add_ca_pem(config, pem, pem_len, &error) != CLOPOS_AUTH_OK ||
        clopos_auth_client_new("sandbox_client", "sandbox_secret", "sandbox", "test_sandbox", config,
                               &client, &error) != CLOPOS_AUTH_OK ||
        clopos_auth_get_token(client, 10000, &token, &error) != CLOPOS_AUTH_OK)
        die("a client", error);
    clopos_auth_token_free(token);
    clopos_auth_config_free(config);
    return client;
}

/* With NULL as the client the thread does not use the library. */
static void *work(void *client)
{
    char buf[1024];
    if (client != NULL &&
        clopos_auth_copy_token(client, 0, buf, sizeof buf, NULL, NULL, NULL) != CLOPOS_AUTH_OK)
        die("copy_token", NULL);
    pthread_barrier_wait(&all_there);
    pthread_barrier_wait(&all_done);
    return NULL;
}

static void threads(const char *when, clopos_auth_client *client, int number)
{
    pthread_t *ids = calloc((size_t)number, sizeof *ids);
    int i;
    if (ids == NULL)
        die("calloc", NULL);
    pthread_barrier_init(&all_there, NULL, (unsigned)number + 1);
    pthread_barrier_init(&all_done, NULL, (unsigned)number + 1);
    for (i = 0; i < number; i++)
        if (pthread_create(&ids[i], NULL, work, client) != 0)
            die("pthread_create", NULL);
    pthread_barrier_wait(&all_there);
    show(when);
    pthread_barrier_wait(&all_done);
    for (i = 0; i < number; i++)
        pthread_join(ids[i], NULL);
    free(ids);
}

int main(int argc, char **argv)
{
    int number = argc > 4 ? atoi(argv[4]) : 0, i;
    clopos_auth_client **clients;
    size_t pem_len;
    FILE *file;
    if (number < 1) {
        fprintf(stderr, "usage: %s URL CA_FILE clients|threads NUMBER\n", argv[0]);
        return 2;
    }
    clients = calloc((size_t)number, sizeof *clients);
    file = fopen(argv[2], "rb");
    if (file == NULL || clients == NULL)
        die(argv[2], NULL);
    pem_len = fread(pem, 1, sizeof pem, file);
    fclose(file);
    if (strcmp(argv[3], "threads") == 0) {
        clients[0] = make(argv[1], pem_len);
        /* First with idle threads: their stacks are reused. */
        threads("before", NULL, number);
        threads("after", clients[0], number);
        clopos_auth_client_free(clients[0]);
    } else {
        clopos_auth_client_free(make(argv[1], pem_len));
        show("before");
        for (i = 0; i < number; i++)
            clients[i] = make(argv[1], pem_len);
        show("after");
        for (i = 0; i < number; i++)
            clopos_auth_client_free(clients[i]);
    }
    free(clients);
    return 0;
}
