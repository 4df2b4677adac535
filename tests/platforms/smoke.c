/* What must work on every platform, in C that every platform has: signs in, misuses handles, and, with
 * the argument "panic" and a library that was built for it, sees panics contained. The variables of the
 * examples have the credentials, the URL and the CA. */

#include <clopos_auth.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void check_at(int line, int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "smoke.c:%d: %s\n", line, what);
        failures++;
    }
}

#define CHECK(condition) check_at(__LINE__, (condition), #condition)

/* Whether a call returned `wanted`; shows the message of its error where it did not. Frees the error. It takes the address
 * of the error, since the error itself could be read before the call that is another argument. */
static int returned(clopos_auth_status wanted, clopos_auth_status status, clopos_auth_error **error)
{
    if (status != wanted)
        fprintf(stderr, "%s: %s\n", clopos_auth_status_name(status),
                *error != NULL ? (*error)->message : "no details");
    clopos_auth_error_free(*error);
    *error = NULL;
    return status == wanted;
}

static clopos_auth_config *new_config(void)
{
    static char pem[64 * 1024];
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *error = NULL;
    const char *path = getenv("CLOPOS_CA_FILE");
    FILE *file = path != NULL ? fopen(path, "rb") : NULL;
    size_t length = file != NULL ? fread(pem, 1, sizeof pem, file) : 0;

    if (file != NULL)
        fclose(file);
    CHECK(config != NULL);
    CHECK(length > 0);
    CHECK(returned(CLOPOS_AUTH_OK,
                  clopos_auth_config_set_base_url(config, getenv("CLOPOS_BASE_URL"), &error), &error));
    CHECK(returned(CLOPOS_AUTH_OK, clopos_auth_config_add_ca_pem(config, pem, length, &error), &error));
    CHECK(returned(CLOPOS_AUTH_OK,
                  clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &error), &error));
    return config;
}

/* The sandbox's client, with other texts where they are given. */
static clopos_auth_status new_client(const char *id, const char *secret, const char *brand,
                                     const clopos_auth_config *config, clopos_auth_client **client,
                                     clopos_auth_error **error)
{
    return clopos_auth_client_new(id != NULL ? id : getenv("CLOPOS_CLIENT_ID"),
                                  secret != NULL ? secret : getenv("CLOPOS_CLIENT_SECRET"),
                                  brand != NULL ? brand : getenv("CLOPOS_BRAND"),
                                  getenv("CLOPOS_INTEGRATOR_ID"), config, client, error);
}

static void signs_in(const clopos_auth_config *config)
{
    static char copy[CLOPOS_AUTH_TOKEN_MAX + 1];
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    size_t needed = 0;
    int64_t expires_at = 0;

    CHECK(returned(CLOPOS_AUTH_OK, new_client(NULL, NULL, NULL, config, &client, &error), &error));
    CHECK(returned(CLOPOS_AUTH_OK, clopos_auth_get_token(client, 30000, &token, &error), &error));
    CHECK(token != NULL);
    if (token == NULL)
        return;
    printf("a token of %lu bytes, %ld s\n", (unsigned long)token->value_len, (long)token->expires_in);
    CHECK(strlen(token->value) == token->value_len && token->value_len > 100);
    CHECK(token->expires_in > 3500 && token->expires_in <= 3600);
    CHECK(strcmp(token->token_type, "Bearer") == 0);

    CHECK(returned(CLOPOS_AUTH_BUFFER_TOO_SMALL,
                  clopos_auth_copy_token(client, 0, copy, token->value_len, &needed, &expires_at, &error),
                  &error));
    CHECK(needed == token->value_len + 1 && copy[0] == '\0');
    CHECK(returned(CLOPOS_AUTH_OK,
                  clopos_auth_copy_token(client, 0, copy, needed, NULL, &expires_at, &error), &error));
    CHECK(strcmp(copy, token->value) == 0 && expires_at == token->expires_at);

    CHECK(clopos_auth_invalidate(client, copy) == CLOPOS_AUTH_OK);
    clopos_auth_token_free(token);
    /* A fresh token that is refused. */
    CHECK(returned(CLOPOS_AUTH_REJECTED, clopos_auth_get_token(client, 30000, &token, &error), &error));
    clopos_auth_client_free(client);

    CHECK(returned(CLOPOS_AUTH_OK, new_client(NULL, NULL, NULL, config, &client, &error), &error));
    CHECK(returned(CLOPOS_AUTH_OK, clopos_auth_get_token(client, 30000, &token, &error), &error));
    clopos_auth_client_free(client);
    /* Outlives its client. */
    CHECK(token != NULL && strlen(token->value) == token->value_len);
    clopos_auth_token_free(token);
}

static void explains_a_rejection(const clopos_auth_config *config)
{
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;

    CHECK(returned(CLOPOS_AUTH_OK, new_client(NULL, "wrong", NULL, config, &client, &error), &error));
    CHECK(clopos_auth_get_token(client, 30000, &token, &error) == CLOPOS_AUTH_REJECTED);
    CHECK(token == NULL && error != NULL);
    if (error != NULL) {
        CHECK(error->status == CLOPOS_AUTH_REJECTED && error->http_status == 401);
        CHECK(error->retryable == 0 && error->retry_after_ms > 0);
        CHECK(error->server_code == NULL && strlen(error->message) > 10);
    }
    clopos_auth_error_free(error);
    clopos_auth_client_free(client);
}

static void survives_misuse(clopos_auth_config *config)
{
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;

    CHECK(returned(CLOPOS_AUTH_OK, new_client(NULL, NULL, NULL, config, &client, &error), &error));
    clopos_auth_client_free(client);
    clopos_auth_client_free(client);
    CHECK(returned(CLOPOS_AUTH_INVALID_HANDLE, clopos_auth_get_token(client, 0, &token, &error), &error));
    CHECK(clopos_auth_cancel((clopos_auth_client *)config) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(clopos_auth_cancel(NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(returned(CLOPOS_AUTH_INVALID_ARGUMENT,
                  clopos_auth_client_new(NULL, "", "", "", NULL, &client, &error), &error));
    CHECK(client == NULL);
}

static void contains_panics(const clopos_auth_config *config)
{
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;

    CHECK(returned(CLOPOS_AUTH_INTERNAL,
                  new_client("panic in the call", NULL, NULL, config, &client, &error), &error));
    CHECK(client == NULL);
    CHECK(returned(CLOPOS_AUTH_OK,
                  new_client(NULL, NULL, "panic in the flight", config, &client, &error), &error));
    CHECK(returned(CLOPOS_AUTH_INTERNAL, clopos_auth_get_token(client, 30000, &token, &error), &error));
    CHECK(token == NULL);
    clopos_auth_client_free(client);
    puts("two panics, contained");
}

int main(int count, char **arguments)
{
    clopos_auth_config *config = new_config();

    printf("libclopos_auth %s\n", clopos_auth_version());
    CHECK(clopos_auth_version_number() >> 16 == CLOPOS_AUTH_VERSION_NUMBER >> 16);
    CHECK(clopos_auth_version_number() >= CLOPOS_AUTH_VERSION_NUMBER);
    if (count > 1 && strcmp(arguments[1], "panic") == 0)
        contains_panics(config);
    signs_in(config);
    explains_a_rejection(config);
    survives_misuse(config);
    clopos_auth_config_free(config);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
