/* Mistakes on purpose: a checker that does not find them finds nothing. `planted leak` loses a token,
 * `planted overrun` reads the byte behind one, `planted endless` passes a text without its NUL, `planted
 * race` has a log function that counts on several threads without a lock, `planted
 * write` makes a file, `planted nothing` does none of it. Over TLS or plain HTTP, as CLOPOS_BASE_URL says.
 */
#define _POSIX_C_SOURCE 200809L

#include <clopos_auth.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static clopos_auth_config *new_config(void)
{
    static char pem[64 * 1024];
    const char *path = getenv("CLOPOS_CA_FILE");
    clopos_auth_config *config = clopos_auth_config_new();
    FILE *file = fopen(path != NULL ? path : "", "rb");

    if (file != NULL) {
        const size_t length = fread(pem, 1, sizeof pem, file);
        fclose(file);
        if (length != 0)
            clopos_auth_config_add_ca_pem(config, pem, length, NULL);
    }
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

/* A log function that is called on several threads, and forgets it. */
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
    const char *behind;

    clopos_auth_client_new(getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"),
                           getenv("CLOPOS_BRAND"), getenv("CLOPOS_INTEGRATOR_ID"), config, &client,
                           NULL);
    clopos_auth_config_free(config);
    clopos_auth_get_token(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, NULL);
    clopos_auth_client_free(client);
    if (argc != 2 || token == NULL)
        return 1;
    if (strcmp(argv[1], "overrun") == 0) {
        /* The type is the last text in the token's memory. */
        behind = token->token_type + strlen(token->token_type) + 1;
        printf("%d\n", *behind);
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
