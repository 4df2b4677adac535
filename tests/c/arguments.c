/* What every function does with invalid arguments. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

static void null_in_any_argument_of_client_new_is_an_invalid_argument(void)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;

    CHECK_BLAMES("client_id", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_client_new(NULL, "s", "b", "i", NULL, &client, &err));
    CHECK_BLAMES("client_secret", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_client_new("c", NULL, "b", "i", NULL, &client, &err));
    CHECK_BLAMES("brand", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_client_new("c", "s", NULL, "i", NULL, &client, &err));
    CHECK_BLAMES("integrator_id", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_client_new("c", "s", "b", NULL, NULL, &client, &err));
    CHECK_BLAMES("out", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_client_new("c", "s", "b", "i", NULL, NULL, &err));
    CHECK(client == NULL);
}

static void null_in_any_argument_of_a_call_is_an_invalid_argument(void)
{
    clopos_auth_client *client = new_client();
    clopos_auth_error *err = NULL;
    size_t needed = 0;
    int64_t expires_at = 0;

    CHECK_BLAMES("out", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_get_token(client, DEFAULT_TIMEOUT, NULL, &err));
    CHECK_BLAMES("out", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_authenticate(client, DEFAULT_TIMEOUT, NULL, &err));
    CHECK_BLAMES("buf", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_copy_token(client, DEFAULT_TIMEOUT, NULL, 1, &needed, &expires_at, &err));
    CHECK_BLAMES("out", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_get_state(client, NULL, &err));
    clopos_auth_client_free(client);
    CHECK(sandbox_requests() == 0);
}

static void null_in_any_argument_of_a_setter_is_an_invalid_argument(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;

    CHECK_BLAMES("base_url", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_base_url(config, NULL, &err));
    CHECK_BLAMES("auth_path", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_auth_path(config, NULL, &err));
    CHECK_BLAMES("proxy", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_proxy(config, NULL, &err));
    CHECK_BLAMES("user_agent", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_user_agent(config, NULL, &err));
    CHECK_BLAMES("pem", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_add_ca_pem(config, NULL, 0, &err));
    CHECK_BLAMES("pem", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_add_ca_pem(config, NULL, 100, &err));
    clopos_auth_config_free(config);
}

static void null_as_a_client_is_an_invalid_handle(void)
{
    clopos_auth_token *token = NULL;
    clopos_auth_state *state = NULL;
    clopos_auth_error *err = NULL;
    char buf[8];
    int64_t expires_in = 99;

    CHECK_FAILS(CLOPOS_AUTH_INVALID_HANDLE, &err, clopos_auth_get_token(NULL, DEFAULT_TIMEOUT, &token, &err));
    CHECK_FAILS(CLOPOS_AUTH_INVALID_HANDLE, &err,
                clopos_auth_authenticate(NULL, DEFAULT_TIMEOUT, &token, &err));
    CHECK_FAILS(CLOPOS_AUTH_INVALID_HANDLE, &err,
                clopos_auth_copy_token(NULL, DEFAULT_TIMEOUT, buf, sizeof buf, NULL, NULL, &err));
    CHECK(clopos_auth_invalidate(NULL, NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(clopos_auth_cancel(NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK_FAILS(CLOPOS_AUTH_INVALID_HANDLE, &err, clopos_auth_get_state(NULL, &state, &err));
    CHECK(clopos_auth_current(NULL, &expires_in) == 0 && expires_in == 0);
    CHECK(clopos_auth_current(NULL, NULL) == 0);
}

static void null_as_a_config_is_an_invalid_handle_in_every_setter(void)
{
    clopos_auth_error *err = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_HANDLE;

    CHECK_FAILS(invalid, &err, clopos_auth_config_set_base_url(NULL, "https://host", &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_auth_path(NULL, "/auth", &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_timeout_ms(NULL, 1, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_attempt_timeout_ms(NULL, 1, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_max_attempts(NULL, 1, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_requests_per_minute(NULL, 1, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_roots(NULL, 0, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_add_ca_pem(NULL, "x", 1, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_proxy(NULL, "none", &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_user_agent(NULL, "x", &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_allow_plain_http(NULL, 0, &err));
    CHECK_FAILS(invalid, &err,
                clopos_auth_config_set_log(NULL, CLOPOS_AUTH_LOG_INFO, NULL, NULL, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_on_change(NULL, NULL, NULL, &err));
}

static void null_is_allowed_where_the_header_allows_it(void)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;
    char buf[CLOPOS_AUTH_TOKEN_MAX + 1];

    clopos_auth_token_free(NULL);
    clopos_auth_error_free(NULL);
    clopos_auth_state_free(NULL);
    clopos_auth_config_free(NULL);
    clopos_auth_client_free(NULL);

    CHECK_OK(&err, clopos_auth_client_new("c", "s", "b", "i", NULL, &client, &err));
    clopos_auth_client_free(client);

    client = new_client();
    CHECK_OK(&err, clopos_auth_copy_token(client, DEFAULT_TIMEOUT, buf, sizeof buf, NULL, NULL, &err));
    CHECK(strlen(buf) > 100);
    CHECK(clopos_auth_invalidate(client, NULL) == CLOPOS_AUTH_OK);
    clopos_auth_client_free(client);
}

static void err_may_be_null_in_every_function_that_has_it(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    clopos_auth_state *state = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_ARGUMENT;
    const int32_t no_handle = CLOPOS_AUTH_INVALID_HANDLE;

    CHECK(clopos_auth_config_set_base_url(config, "", NULL) == invalid);
    CHECK(clopos_auth_config_set_auth_path(config, "", NULL) == invalid);
    CHECK(clopos_auth_config_set_timeout_ms(config, 0, NULL) == invalid);
    CHECK(clopos_auth_config_set_attempt_timeout_ms(config, 0, NULL) == invalid);
    CHECK(clopos_auth_config_set_max_attempts(config, 0, NULL) == invalid);
    CHECK(clopos_auth_config_set_requests_per_minute(config, 0, NULL) == invalid);
    CHECK(clopos_auth_config_set_roots(config, -1, NULL) == invalid);
    CHECK(clopos_auth_config_add_ca_pem(config, "", 0, NULL) == invalid);
    CHECK(clopos_auth_config_set_proxy(config, "", NULL) == invalid);
    CHECK(clopos_auth_config_set_user_agent(config, "", NULL) == invalid);
    CHECK(clopos_auth_config_set_allow_plain_http(config, -1, NULL) == invalid);
    CHECK(clopos_auth_config_set_log(config, 0, log_to_transcript, NULL, NULL) == invalid);
    CHECK(clopos_auth_config_set_on_change(config, NULL, NULL, NULL) == CLOPOS_AUTH_OK);
    clopos_auth_config_free(config);
    CHECK(clopos_auth_config_set_on_change(config, NULL, NULL, NULL) == no_handle);

    CHECK(clopos_auth_client_new(NULL, NULL, NULL, NULL, NULL, NULL, NULL) == invalid);
    CHECK(clopos_auth_client_new("", "s", "b", "i", NULL, &client, NULL) == invalid);
    CHECK(clopos_auth_get_token(NULL, DEFAULT_TIMEOUT, &token, NULL) == no_handle);
    CHECK(clopos_auth_get_token(NULL, DEFAULT_TIMEOUT, NULL, NULL) == invalid);
    CHECK(clopos_auth_authenticate(NULL, DEFAULT_TIMEOUT, &token, NULL) == no_handle);
    CHECK(clopos_auth_copy_token(NULL, DEFAULT_TIMEOUT, NULL, 0, NULL, NULL, NULL) == no_handle);
    CHECK(clopos_auth_get_state(NULL, &state, NULL) == no_handle);
    CHECK(clopos_auth_get_state(NULL, NULL, NULL) == invalid);
}

/* Strings that are refused for every argument. */
static const char *const BAD_TEXTS[] = {
    "",
    "line\nbreak",
    "carriage\rreturn",
    "tab\t",
    "bell\a",
    "delete\x7f",
    "next line\xc2\x85",      /* U+0085, a control character beyond ASCII */
    "latin1 \xe7",            /* a sequence that is cut off */
    "\xff\xfe",               /* never in UTF-8 */
    "overlong \xc0\x80",      /* an encoding of NUL */
    "surrogate \xed\xa0\x80", /* U+D800 */
    "beyond \xf4\x90\x80\x80" /* above U+10FFFF */
};

static void refuse_text_everywhere(clopos_auth_config *config, const char *text)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_ARGUMENT;

    CHECK_BLAMES("client_id", invalid, &err,
                 clopos_auth_client_new(text, "s", "b", "i", NULL, &client, &err));
    CHECK_BLAMES("client_secret", invalid, &err,
                 clopos_auth_client_new("c", text, "b", "i", NULL, &client, &err));
    CHECK_BLAMES("brand", invalid, &err,
                 clopos_auth_client_new("c", "s", text, "i", NULL, &client, &err));
    CHECK_BLAMES("integrator_id", invalid, &err,
                 clopos_auth_client_new("c", "s", "b", text, NULL, &client, &err));
    CHECK(client == NULL);
    CHECK_BLAMES("base_url", invalid, &err, clopos_auth_config_set_base_url(config, text, &err));
    CHECK_BLAMES("auth_path", invalid, &err, clopos_auth_config_set_auth_path(config, text, &err));
    CHECK_BLAMES("proxy", invalid, &err, clopos_auth_config_set_proxy(config, text, &err));
    CHECK_BLAMES("user_agent", invalid, &err,
                 clopos_auth_config_set_user_agent(config, text, &err));
}

static void every_string_must_be_utf8_without_control_characters_and_not_too_long(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    char *huge = long_text(1024 * 1024);
    size_t i;

    for (i = 0; i < sizeof BAD_TEXTS / sizeof *BAD_TEXTS; i++)
        refuse_text_everywhere(config, BAD_TEXTS[i]);
    refuse_text_everywhere(config, huge);
    free(huge);
    clopos_auth_config_free(config);
}

static void so_must_the_value_of_a_refused_token(void)
{
    clopos_auth_client *client = new_client();
    char *huge = long_text(1024 * 1024);
    size_t i;

    for (i = 0; i < sizeof BAD_TEXTS / sizeof *BAD_TEXTS; i++)
        CHECK(clopos_auth_invalidate(client, BAD_TEXTS[i]) == CLOPOS_AUTH_INVALID_ARGUMENT);
    CHECK(clopos_auth_invalidate(client, huge) == CLOPOS_AUTH_INVALID_ARGUMENT);
    free(huge);
    clopos_auth_client_free(client);
}

static void credentials_take_1024_bytes_and_not_one_more(void)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;
    char *longest = long_text(1024);
    char *too_long = long_text(1025);

    CHECK_OK(&err, clopos_auth_client_new(longest, longest, longest, longest, NULL, &client, &err));
    clopos_auth_client_free(client);
    CHECK_BLAMES("client_id", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_client_new(too_long, "s", "b", "i", NULL, &client, &err));
    CHECK_BLAMES("client_secret", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_client_new("c", too_long, "b", "i", NULL, &client, &err));
    CHECK(client == NULL);
    free(longest);
    free(too_long);
}

static void a_brand_may_be_any_unicode_text(void)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;
    clopos_auth_config *config = new_config();

    /* "çay-evi", which the sandbox knows. */
    CHECK_OK(&err, clopos_auth_client_new(env("CLOPOS_CLIENT_ID"), env("CLOPOS_CLIENT_SECRET"),
                                          "\xc3\xa7"
                                          "ay-evi",
                                          env("CLOPOS_INTEGRATOR_ID"), config, &client, &err));
    clopos_auth_config_free(config);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
}

static void outputs_are_set_to_null_before_anything_else(void)
{
    /* Never read: only an address. */
    static int64_t garbage;
    clopos_auth_client *client = (clopos_auth_client *)&garbage;
    clopos_auth_token *token = (clopos_auth_token *)&garbage;
    clopos_auth_state *state = (clopos_auth_state *)&garbage;
    clopos_auth_error *err = (clopos_auth_error *)&garbage;
    char buf[4] = "abc";
    size_t needed = 99;
    int64_t expires_at = 99;

    CHECK(clopos_auth_client_new(NULL, "s", "b", "i", NULL, &client, NULL) ==
          CLOPOS_AUTH_INVALID_ARGUMENT);
    CHECK(client == NULL);
    CHECK(clopos_auth_get_token(NULL, DEFAULT_TIMEOUT, &token, NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(token == NULL);
    token = (clopos_auth_token *)&garbage;
    CHECK(clopos_auth_authenticate(NULL, DEFAULT_TIMEOUT, &token, NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(token == NULL);
    CHECK(clopos_auth_copy_token(NULL, DEFAULT_TIMEOUT, buf, sizeof buf, &needed, &expires_at, NULL) ==
          CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(buf[0] == '\0' && needed == 0 && expires_at == 0);
    CHECK(clopos_auth_get_state(NULL, &state, NULL) == CLOPOS_AUTH_INVALID_HANDLE);
    CHECK(state == NULL);

    CHECK_OK(&err, clopos_auth_client_new("c", "s", "b", "i", NULL, &client, &err));
    clopos_auth_client_free(client);
}

static void every_status_has_its_name(void)
{
    static const struct {
        int32_t status;
        const char *name;
    } names[] = {
        {CLOPOS_AUTH_OK, "OK"},
        {CLOPOS_AUTH_INVALID_ARGUMENT, "INVALID_ARGUMENT"},
        {CLOPOS_AUTH_INVALID_HANDLE, "INVALID_HANDLE"},
        {CLOPOS_AUTH_BUFFER_TOO_SMALL, "BUFFER_TOO_SMALL"},
        {CLOPOS_AUTH_INTERNAL, "INTERNAL"},
        {CLOPOS_AUTH_WOULD_WAIT, "WOULD_WAIT"},
        {CLOPOS_AUTH_CANCELLED, "CANCELLED"},
        {CLOPOS_AUTH_TIMEOUT, "TIMEOUT"},
        {CLOPOS_AUTH_DNS, "DNS"},
        {CLOPOS_AUTH_CONNECT, "CONNECT"},
        {CLOPOS_AUTH_TLS, "TLS"},
        {CLOPOS_AUTH_CLOCK, "CLOCK"},
        {CLOPOS_AUTH_PROXY, "PROXY"},
        {CLOPOS_AUTH_REJECTED, "REJECTED"},
        {CLOPOS_AUTH_RATE_LIMITED, "RATE_LIMITED"},
        {CLOPOS_AUTH_SERVER, "SERVER"},
        {CLOPOS_AUTH_PROTOCOL, "PROTOCOL"},
    };
    static const int32_t unknown[] = {-1, INT32_MIN, INT32_MAX, sizeof names / sizeof *names};
    size_t i;

    for (i = 0; i < sizeof names / sizeof *names; i++) {
        /* The numbers are the ABI: they never change. */
        CHECK(names[i].status == (int32_t)i);
        CHECK(strcmp(clopos_auth_status_name(names[i].status), names[i].name) == 0);
    }
    for (i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(strcmp(clopos_auth_status_name(unknown[i]), "UNKNOWN") == 0);
}

static void the_library_and_its_header_have_the_same_version(void)
{
    unsigned major = 0, minor = 0, patch = 0;

    CHECK(strcmp(clopos_auth_version(), CLOPOS_AUTH_VERSION) == 0);
    CHECK(clopos_auth_version_number() == CLOPOS_AUTH_VERSION_NUMBER);
    CHECK(sscanf(clopos_auth_version(), "%u.%u.%u", &major, &minor, &patch) == 3);
    CHECK(clopos_auth_version_number() == major * 0x10000 + minor * 0x100 + patch);
}

const test ARGUMENT_TESTS[] = {
    TEST(null_in_any_argument_of_client_new_is_an_invalid_argument),
    TEST(null_in_any_argument_of_a_call_is_an_invalid_argument),
    TEST(null_in_any_argument_of_a_setter_is_an_invalid_argument),
    TEST(null_as_a_client_is_an_invalid_handle),
    TEST(null_as_a_config_is_an_invalid_handle_in_every_setter),
    TEST(null_is_allowed_where_the_header_allows_it),
    TEST(err_may_be_null_in_every_function_that_has_it),
    TEST(every_string_must_be_utf8_without_control_characters_and_not_too_long),
    TEST(so_must_the_value_of_a_refused_token),
    TEST(credentials_take_1024_bytes_and_not_one_more),
    TEST(a_brand_may_be_any_unicode_text),
    TEST(outputs_are_set_to_null_before_anything_else),
    TEST(every_status_has_its_name),
    TEST(the_library_and_its_header_have_the_same_version),
    END_OF_TESTS};
