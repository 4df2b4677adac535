/* Injects errors that the tools must find: `injected leak` loses a token, `injected overrun` reads the byte
 * after a token, `injected endless` passes a string without a NUL, `injected race` has a log function that
 * counts on several threads without a lock, `injected write` creates a file, `injected nothing` does none of
 * these. Over TLS or plain HTTP, depending on CLOPOS_BASE_URL.
 */
#define _POSIX_C_SOURCE 200809L

#include <clopos_auth.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) ((condition) ? (void)0 : exit(2))

#include "shared.h"

static clopos_auth_config *new_config(void)
{
    static char pem[64 * 1024];
    clopos_auth_config *config = clopos_auth_config_new();
    const size_t length = read_ca(pem, sizeof pem);

    if (length != 0)
        clopos_auth_config_add_ca_pem(config, pem, length, NULL);
    clopos_auth_config_set_base_url(config, getenv("CLOPOS_BASE_URL"), NULL);
    return config;
}

static int logged;

static void count_unguarded(int32_t level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
    logged++;
}

static void *sign_in(void *client)
{
    clopos_auth_token *token = NULL;

    clopos_auth_get_token((clopos_auth_client *)client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, NULL);
    clopos_auth_token_free(token);
    return NULL;
}

/* A log function that is called on several threads and does not use a lock. */
static void race(void)
{
    enum { CLIENTS = 2 };
    clopos_auth_client *clients[CLIENTS] = {NULL, NULL};
    pthread_t threads[CLIENTS];
    int i;

    for (i = 0; i < CLIENTS; i++) {
        clopos_auth_config *config = new_config();
        clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, count_unguarded, NULL, NULL);
        clopos_auth_client_new("a", "b", "c", "d", config, &clients[i], NULL);
        clopos_auth_config_free(config);
    }
    for (i = 0; i < CLIENTS; i++)
        pthread_create(&threads[i], NULL, sign_in, clients[i]);
    for (i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    for (i = 0; i < CLIENTS; i++)
        clopos_auth_client_free(clients[i]);
    printf("%d lines\n", logged);
}

static void endless(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    char *text = (char *)malloc(8);

    if (text == NULL)
        return;
    memset(text, 'x', 8);
    clopos_auth_config_set_proxy(config, text, NULL);
    clopos_auth_config_free(config);
    free(text);
}

int main(int argc, char **argv)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    const char *after;

    make_client(config, &client, NULL);
    clopos_auth_config_free(config);
    clopos_auth_get_token(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, NULL);
    clopos_auth_client_free(client);
    if (argc != 2 || token == NULL)
        return 1;
    if (strcmp(argv[1], "overrun") == 0) {
        /* The type is the last string in the token's memory. */
        after = token->token_type + strlen(token->token_type) + 1;
        printf("%d\n", *after);
    }
    if (strcmp(argv[1], "race") == 0)
        race();
    if (strcmp(argv[1], "write") == 0) {
        FILE *file = tmpfile();
        if (file != NULL)
            fclose(file);
    }
    if (strcmp(argv[1], "endless") == 0)
        endless();
    if (strcmp(argv[1], "leak") != 0)
        clopos_auth_token_free(token);
    token = NULL;
    return 0;
}
