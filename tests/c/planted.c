/* Mistakes on purpose: a memcheck that does not find them finds nothing. `planted leak` loses a token,
 * `planted overrun` reads the byte behind one, `planted nothing` does neither. Over TLS or plain HTTP,
 * as CLOPOS_BASE_URL says.
 */
#define _POSIX_C_SOURCE 200809L

#include <clopos_auth.h>

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
    if (strcmp(argv[1], "leak") != 0)
        clopos_auth_token_free(token);
    token = NULL;
    return 0;
}
