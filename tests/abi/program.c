/* Uses every function and field of 1.0, with whose header it is compiled, and the library of today. The environment
 * names the service. */
#include <clopos_auth.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if CLOPOS_AUTH_VERSION_NUMBER != 0x010000
#error "this is not the header of 1.0"
#endif

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))
#define OK(call) CHECK((call) == CLOPOS_AUTH_OK && error == NULL)

static int lines;

static void fail(int line, const char *what)
{
    printf("line %d: %s\n", line, what);
    exit(1);
}

static void log_line(int32_t level, const char *line, void *user)
{
    CHECK(level >= CLOPOS_AUTH_LOG_ERROR && level <= CLOPOS_AUTH_LOG_DEBUG && *line != '\0');
    ++*(int *)user;
}

int main(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL, *other = NULL;
    clopos_auth_error *error = NULL;
    char pem[16384], copy[CLOPOS_AUTH_TOKEN_MAX + 1];
    size_t length, needed = 0;
    int64_t expires_at = 0;
    FILE *file = fopen(getenv("CLOPOS_CA_FILE"), "rb");

    CHECK(config != NULL && file != NULL);
    length = fread(pem, 1, sizeof pem, file);
    fclose(file);
    CHECK(strcmp(clopos_auth_version(), CLOPOS_AUTH_VERSION) != 0);
    CHECK(clopos_auth_version_number() > CLOPOS_AUTH_VERSION_NUMBER);
    CHECK(strcmp(clopos_auth_status_name(CLOPOS_AUTH_PROTOCOL), "PROTOCOL") == 0);
    OK(clopos_auth_config_set_base_url(config, getenv("CLOPOS_BASE_URL"), &error));
    OK(clopos_auth_config_set_timeout_ms(config, 30000, &error));
    OK(clopos_auth_config_set_attempt_timeout_ms(config, 10000, &error));
    OK(clopos_auth_config_set_max_attempts(config, 3, &error));
    OK(clopos_auth_config_set_requests_per_minute(config, 10, &error));
    OK(clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &error));
    OK(clopos_auth_config_add_ca_pem(config, pem, length, &error));
    OK(clopos_auth_config_set_proxy(config, "none", &error));
    OK(clopos_auth_config_set_user_agent(config, "Till/1.0", &error));
    OK(clopos_auth_config_set_allow_plain_http(config, 0, &error));
    OK(clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, log_line, &lines, &error));
    OK(clopos_auth_client_new(getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"),
                              getenv("CLOPOS_BRAND"), getenv("CLOPOS_INTEGRATOR_ID"), config, &client,
                              &error));
    OK(clopos_auth_get_token(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, &error));
    CHECK(strlen(token->value) == token->value_len && strcmp(token->token_type, "Bearer") == 0);
    CHECK(token->expires_in > 3500 && token->expires_at > 1700000000);
    OK(clopos_auth_copy_token(client, 0, copy, sizeof copy, &needed, &expires_at, &error));
    CHECK(strcmp(copy, token->value) == 0 && needed == token->value_len + 1 && expires_at == token->expires_at);
    OK(clopos_auth_authenticate(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &other, &error));
    CHECK(strcmp(other->value, token->value) != 0);
    CHECK(clopos_auth_invalidate(client, token->value) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_cancel(client) == CLOPOS_AUTH_OK);
    clopos_auth_client_free(client);
    CHECK(lines > 0);

    CHECK(clopos_auth_client_new("id", "wrong", "sandbox", "test_sandbox", config, &client, &error) == CLOPOS_AUTH_OK);
    CHECK(clopos_auth_authenticate(client, 30000, &token, &error) == CLOPOS_AUTH_REJECTED);
    CHECK(error->status == CLOPOS_AUTH_REJECTED && error->http_status == 401 && error->retryable == 0);
    CHECK(error->retry_after_ms > 0 && error->server_code == NULL && *error->message != '\0');
    clopos_auth_error_free(error);
    clopos_auth_token_free(other);
    clopos_auth_client_free(client);
    clopos_auth_config_free(config);
    puts("ok");
    return 0;
}
