/* The setters of a config: what they accept, what they refuse, and that a client copies its settings. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

typedef clopos_auth_status (*set_number)(clopos_auth_config *, uint32_t, clopos_auth_error **);

static void check_range(set_number set, const char *name, uint32_t min, uint32_t max)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;

    CHECK_BLAMES(name, CLOPOS_AUTH_INVALID_ARGUMENT, &err, set(config, min - 1, &err));
    CHECK_OK(&err, set(config, min, &err));
    CHECK_OK(&err, set(config, max, &err));
    CHECK_BLAMES(name, CLOPOS_AUTH_INVALID_ARGUMENT, &err, set(config, max + 1, &err));
    CHECK_BLAMES(name, CLOPOS_AUTH_INVALID_ARGUMENT, &err, set(config, UINT32_MAX, &err));
    clopos_auth_config_free(config);
}

static void numbers_are_accepted_from_their_minimum_to_their_maximum(void)
{
    check_range(clopos_auth_config_set_timeout_ms, "timeout_ms", 1, 3600000);
    check_range(clopos_auth_config_set_attempt_timeout_ms, "attempt_timeout_ms", 1, 600000);
    check_range(clopos_auth_config_set_max_attempts, "max_attempts", 1, 10);
    check_range(clopos_auth_config_set_requests_per_minute, "requests_per_minute", 1, 60);
}

static void only_the_headers_numbers_are_accepted_for_roots_levels_and_permissions(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_ARGUMENT;
    int32_t number;

    for (number = -1; number <= 5; number++) {
        const bool is_roots = number >= 0 && number <= 2;
        const bool is_level = number >= 1 && number <= 4;
        const bool is_permission = number == 0 || number == 1;

        CHECK(clopos_auth_config_set_roots(config, number, NULL) ==
              (is_roots ? CLOPOS_AUTH_OK : CLOPOS_AUTH_INVALID_ARGUMENT));
        CHECK(clopos_auth_config_set_log(config, number, log_to_transcript, NULL, NULL) ==
              (is_level ? CLOPOS_AUTH_OK : CLOPOS_AUTH_INVALID_ARGUMENT));
        CHECK(clopos_auth_config_set_allow_plain_http(config, number, NULL) ==
              (is_permission ? CLOPOS_AUTH_OK : CLOPOS_AUTH_INVALID_ARGUMENT));
    }
    CHECK_BLAMES("roots", invalid, &err, clopos_auth_config_set_roots(config, INT32_MAX, &err));
    CHECK_BLAMES("level", invalid, &err,
                 clopos_auth_config_set_log(config, INT32_MIN, log_to_transcript, NULL, &err));
    CHECK_BLAMES("allow", invalid, &err,
                 clopos_auth_config_set_allow_plain_http(config, INT32_MAX, &err));
    /* Without a function the level is ignored. */
    CHECK_OK(&err, clopos_auth_config_set_log(config, INT32_MAX, NULL, NULL, &err));
    clopos_auth_config_free(config);
}

static void a_base_url_is_https_with_a_host_and_no_user_query_or_fragment(void)
{
    static const char *const good[] = {"https://host", "https://host/", "https://host:8443/api",
                                       "HTTPS://host", "https://[2001:db8::1]:443"};
    static const char *const bad[] = {"host",
                                      "localhost:8443",
                                      "//host",
                                      "/path",
                                      "ftp://host",
                                      "https:host",
                                      "https://",
                                      "https:///path",
                                      "https://:443",
                                      "https://host:0",
                                      "https://host:65536",
                                      "https://host:port",
                                      "https://user@host",
                                      "https://user:hunter2@host",
                                      "https://host?query",
                                      "https://host/#fragment",
                                      "https://ho st"};
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;
    size_t i;

    for (i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_OK(&err, clopos_auth_config_set_base_url(config, good[i], &err));
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        printf("%s\n", bad[i]);
        CHECK(clopos_auth_config_set_base_url(config, bad[i], &err) ==
              CLOPOS_AUTH_INVALID_ARGUMENT);
        /* The message does not contain a password. */
        CHECK(strstr(err->message, "hunter2") == NULL);
        clopos_auth_error_free(err);
    }
    clopos_auth_config_free(config);
}

static void an_auth_path_is_percent_encoded_and_names_no_host(void)
{
    static const char *const good[] = {"/", "/open-api/v3/auth", "/auth/", "/a//b", "/%C3%A7", "/a@b:c;d=(e)"};
    static const char *const bad[] = {"open-api/v2/auth", "//host/auth", "/\\host/auth", "\\\\host",
                                      "@host/auth", "https://host/auth", "/auth?query", "/auth#fragment",
                                      "/a b", " /auth", "/auth\n", "/\x7f", "/\xc3\xa7", "/%", "/%2", "/%g0",
                                      "/{auth}", "/<auth>", "/\"auth\""};
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;
    size_t i;

    for (i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_OK(&err, clopos_auth_config_set_auth_path(config, good[i], &err));
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        printf("%s\n", bad[i]);
        CHECK_BLAMES("auth_path", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                     clopos_auth_config_set_auth_path(config, bad[i], &err));
    }
    clopos_auth_config_free(config);
}

static void long_strings_are_accepted_up_to_their_limit(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;
    char *longest_url = long_text(2048);
    char *too_long_url = long_text(2049);
    char *longest_agent = long_text(256);
    char *too_long_agent = long_text(257);
    char *longest_path = long_text(256);
    char *too_long_path = long_text(257);

    *longest_path = *too_long_path = '/';
    CHECK_OK(&err, clopos_auth_config_set_auth_path(config, longest_path, &err));
    CHECK_BLAMES("auth_path", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_auth_path(config, too_long_path, &err));
    free(longest_path);
    free(too_long_path);
    memcpy(longest_url, "https://host/", 13);
    memcpy(too_long_url, "https://host/", 13);
    CHECK_OK(&err, clopos_auth_config_set_base_url(config, longest_url, &err));
    CHECK_BLAMES("base_url", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_base_url(config, too_long_url, &err));
    CHECK_OK(&err, clopos_auth_config_set_user_agent(config, longest_agent, &err));
    CHECK_BLAMES("user_agent", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_user_agent(config, too_long_agent, &err));
    CHECK_BLAMES("user_agent", CLOPOS_AUTH_INVALID_ARGUMENT, &err,
                 clopos_auth_config_set_user_agent(config, "T\xc3\xbcrk/1", &err));
    free(longest_url);
    free(too_long_url);
    free(longest_agent);
    free(too_long_agent);
    clopos_auth_config_free(config);
}

static void check_plain_http(const char *base_url, int32_t allow, int32_t expected)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_config_set_allow_plain_http(config, allow, &err));
    CHECK_OK(&err, clopos_auth_config_set_base_url(config, base_url, &err));
    if (expected == CLOPOS_AUTH_OK)
        CHECK_OK(&err, make_client(config, &client, &err));
    else
        CHECK_BLAMES("base_url", expected, &err, make_client(config, &client, &err));
    clopos_auth_client_free(client);
    clopos_auth_config_free(config);
}

static void plain_http_to_another_device_needs_permission(void)
{
    const int32_t refused = CLOPOS_AUTH_INVALID_ARGUMENT;

    check_plain_http("http://integrations.clopos.com", 0, refused);
    check_plain_http("http://192.0.2.1:8080", 0, refused);
    check_plain_http("http://localhost.example.com", 0, refused);
    check_plain_http("http://127.0.0.1.example.com", 0, refused);
    check_plain_http("http://192.0.2.1:8080", 1, CLOPOS_AUTH_OK);
    check_plain_http("http://localhost:1", 0, CLOPOS_AUTH_OK);
    check_plain_http("http://127.0.0.1:1", 0, CLOPOS_AUTH_OK);
    check_plain_http("http://127.255.255.254", 0, CLOPOS_AUTH_OK);
    check_plain_http("http://[::1]:1", 0, CLOPOS_AUTH_OK);
}

static void only_pem_certificates_are_accepted_as_roots(void)
{
    static const char der[] = "\x30\x82\x01\x0a\x30\x82\x01\x0a";
    static const char path[] = "/etc/ssl/certs/ca-certificates.crt";
    static const char key[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    static const char cut_off[] = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    static const char not_base64[] =
        "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
    static const char not_a_certificate[] =
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_error *err = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_ARGUMENT;
    char *huge = long_text(1024 * 1024 + 1);

    CHECK_BLAMES("empty", invalid, &err, clopos_auth_config_add_ca_pem(config, "", 0, &err));
    CHECK_BLAMES("DER", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, der, sizeof der - 1, &err));
    CHECK_BLAMES("path", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, path, sizeof path - 1, &err));
    CHECK_BLAMES("private key", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, key, sizeof key - 1, &err));
    CHECK_BLAMES("pem", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, cut_off, sizeof cut_off - 1, &err));
    CHECK_BLAMES("pem", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, not_base64, sizeof not_base64 - 1, &err));
    CHECK_BLAMES("pem", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, not_a_certificate,
                                               sizeof not_a_certificate - 1, &err));
    CHECK_BLAMES("pem", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, huge, 1024 * 1024 + 1, &err));
    /* Refused before a byte beyond the limit is read. */
    CHECK_BLAMES("pem", invalid, &err,
                 clopos_auth_config_add_ca_pem(config, huge, SIZE_MAX, &err));
    free(huge);
    clopos_auth_config_free(config);
}

static void a_setter_that_fails_leaves_the_setting_as_it_was(void)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client;
    clopos_auth_error *err = NULL;
    const int32_t invalid = CLOPOS_AUTH_INVALID_ARGUMENT;

    CHECK_FAILS(invalid, &err, clopos_auth_config_set_base_url(config, "nowhere", &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_roots(config, 99, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_add_ca_pem(config, "x", 1, &err));
    CHECK_FAILS(invalid, &err, clopos_auth_config_set_proxy(config, "nonsense:", &err));
    client = new_client_with(config);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
}

static void a_client_copies_its_settings(void)
{
    clopos_auth_config *config = new_config();
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, make_client(config, &client, &err));
    CHECK_OK(&err, clopos_auth_config_set_base_url(config, "https://192.0.2.1", &err));
    clopos_auth_config_free(config);
    clopos_auth_token_free(get_token(client));
    clopos_auth_client_free(client);
}

const test SETTING_TESTS[] = {
    TEST(numbers_are_accepted_from_their_minimum_to_their_maximum),
    TEST(only_the_headers_numbers_are_accepted_for_roots_levels_and_permissions),
    TEST(a_base_url_is_https_with_a_host_and_no_user_query_or_fragment),
    TEST(an_auth_path_is_percent_encoded_and_names_no_host),
    TEST(long_strings_are_accepted_up_to_their_limit),
    TEST(plain_http_to_another_device_needs_permission),
    TEST(only_pem_certificates_are_accepted_as_roots),
    TEST(a_setter_that_fails_leaves_the_setting_as_it_was),
    TEST(a_client_copies_its_settings),
    END_OF_TESTS};
