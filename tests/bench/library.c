/* The library's side of the comparison in exchange.h. ROOTS in the environment: none (the default: only
 * CA_FILE is trusted), bundled or system. */
#define _GNU_SOURCE
#include "clopos_auth.h"

#include "exchange.h"

static void check(clopos_auth_status status, clopos_auth_error *error)
{
    if (status != CLOPOS_AUTH_OK)
        die(clopos_auth_status_name(status), error != NULL ? error->message : NULL);
}

static void *client_make(const char *url, const char *ca_file)
{
    static char pem[65536];
    const char *roots = getenv("ROOTS");
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;
    int32_t which = CLOPOS_AUTH_ROOTS_NONE;
    if (roots != NULL && strcmp(roots, "system") == 0)
        which = CLOPOS_AUTH_ROOTS_SYSTEM;
    else if (roots != NULL && strcmp(roots, "bundled") == 0)
        which = CLOPOS_AUTH_ROOTS_BUNDLED;
    check(clopos_auth_config_set_base_url(config, url, &error), error);
    check(clopos_auth_config_set_roots(config, which, &error), error);
    check(clopos_auth_config_set_requests_per_minute(config, 60, &error), error);
    if (which != CLOPOS_AUTH_ROOTS_SYSTEM) {
        FILE *file = fopen(ca_file, "rb");
        size_t len;
        if (file == NULL)
            die(ca_file, "cannot be read");
        len = fread(pem, 1, sizeof pem, file);
        fclose(file);
        check(clopos_auth_config_add_ca_pem(config, pem, len, &error), error);
    }
    check(clopos_auth_client_new("sandbox_client", "sandbox_secret", "sandbox", "test_sandbox", config,
                                 &client, &error),
          error);
    clopos_auth_config_free(config);
    return client;
}

static void client_exchange(void *client)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    check(clopos_auth_authenticate(client, 10000, &token, &error), error);
    if (token->value_len < 100)
        die("token", "too short");
    clopos_auth_token_free(token);
}

static void client_drop(void *client)
{
    clopos_auth_client_free(client);
}
