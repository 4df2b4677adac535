/* Starts a request while another thread loads a library. This file is the program and, with PLUGIN, the
 * library, whose constructor waits until the program has started the request. */
#define _POSIX_C_SOURCE 200809L
#include <semaphore.h>

extern sem_t loading, started;

#ifdef PLUGIN
__attribute__((constructor)) static void constructor(void)
{
    sem_post(&loading);
    sem_wait(&started);
}
#else
#include <clopos_auth.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

sem_t loading, started;

static void *load(void *path) { return dlopen(path, RTLD_NOW); }

int main(int count, char **arguments)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_status first, second;
    pthread_t thread;
    void *library = NULL;

    (void)count;
    alarm(60);
    clopos_auth_config_set_base_url(config, getenv("CLOPOS_BASE_URL"), NULL);
    clopos_auth_client_new(getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"), getenv("CLOPOS_BRAND"),
                           getenv("CLOPOS_INTEGRATOR_ID"), config, &client, NULL);
    clopos_auth_config_free(config);
    first = clopos_auth_authenticate(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, NULL);
    clopos_auth_token_free(token);

    sem_init(&loading, 0, 0);
    sem_init(&started, 0, 0);
    pthread_create(&thread, NULL, load, arguments[1]);
    sem_wait(&loading);
    second = clopos_auth_authenticate(client, 0, &token, NULL);
    sem_post(&started);
    pthread_join(thread, &library);
    clopos_auth_client_free(client);
    printf("%s, %s, %s\n", clopos_auth_status_name(first), clopos_auth_status_name(second),
           library ? "loaded" : "not loaded");
    return 0;
}
#endif
