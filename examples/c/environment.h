/* What the examples share: a client with the credentials and settings in the environment.
 *
 * CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID are the credentials. For
 * the sandbox: CLOPOS_BASE_URL is its URL, CLOPOS_CA_FILE its CA in PEM, the only one trusted.
 */

#ifndef EXAMPLES_ENVIRONMENT_H
#define EXAMPLES_ENVIRONMENT_H

#include "messages.h"

#include <clopos_auth.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns the file's content (free it), or NULL after printing an error. */
static char *read_file(const char *path, size_t *length)
{
    enum { MAX_BYTES = 1 << 20 };
    char *content = NULL;
    FILE *file = fopen(path, "rb");

    if (file != NULL && (content = malloc(MAX_BYTES)) != NULL) {
        *length = fread(content, 1, MAX_BYTES, file);
        if (ferror(file)) {
            free(content);
            content = NULL;
        }
    }
    if (content == NULL)
        perror(path);
    if (file != NULL)
        fclose(file);
    return content;
}

/* Makes the CAs in this file the only ones trusted. */
static bool trust_only(clopos_auth_config *config, const char *ca_file)
{
    clopos_auth_error *error = NULL;
    clopos_auth_status status;
    size_t length = 0;
    char *pem = read_file(ca_file, &length);

    if (pem == NULL)
        return false;
    status = clopos_auth_config_add_ca_pem(config, pem, length, &error);
    free(pem);
    if (status == CLOPOS_AUTH_OK)
        status = clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &error);
    if (status != CLOPOS_AUTH_OK)
        report(ca_file, status, error);
    return status == CLOPOS_AUTH_OK;
}

static bool configure(clopos_auth_config *config, clopos_auth_change_fn on_change, void *user)
{
    const char *base_url = getenv("CLOPOS_BASE_URL");
    const char *ca_file = getenv("CLOPOS_CA_FILE");
    clopos_auth_error *error = NULL;
    clopos_auth_status status;

    status = clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_INFO, log_line, NULL, &error);
    if (status == CLOPOS_AUTH_OK)
        status = clopos_auth_config_set_on_change(config, on_change, user, &error);
    if (status == CLOPOS_AUTH_OK && base_url != NULL)
        status = clopos_auth_config_set_base_url(config, base_url, &error);
    if (status != CLOPOS_AUTH_OK) {
        report("configuration", status, error);
        return false;
    }
    return ca_file == NULL || trust_only(config, ca_file);
}

/* Returns a client, to be freed, or NULL after printing an error. `on_change` may be NULL. */
static clopos_auth_client *new_client(clopos_auth_change_fn on_change, void *user)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_config *config = clopos_auth_config_new();

    if (config == NULL) {
        fputs("configuration: no handle is left\n", stderr);
    } else if (configure(config, on_change, user)) {
        /* A variable that is not set is NULL: the library refuses it, and names it in its error. */
        clopos_auth_status status = clopos_auth_client_new(
            getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"), getenv("CLOPOS_BRAND"),
            getenv("CLOPOS_INTEGRATOR_ID"), config, &client, &error);
        if (status != CLOPOS_AUTH_OK)
            report("client", status, error);
    }
    clopos_auth_config_free(config);
    return client;
}

#endif
