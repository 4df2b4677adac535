/* No secret and no token is left in memory. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

#include <fcntl.h>
#include <unistd.h>

/* A text that is not in this program's memory: each byte is XORed with MASK. */
typedef struct hidden {
    unsigned char bytes[256];
    size_t length;
} hidden;

enum { MASK = 0x5a };
/* The text is searched for in pieces of this many bytes. */
#define PIECE ((size_t)16)

static hidden hide(const char *text, size_t length)
{
    hidden h;
    size_t i;

    CHECK(length >= 12 && length <= sizeof h.bytes);
    for (i = 0; i < length; i++)
        h.bytes[i] = (unsigned char)text[i] ^ MASK;
    h.length = length;
    return h;
}

static size_t piece_length(const hidden *h)
{
    return h->length < PIECE ? h->length : PIECE;
}

/* Whether one of the text's pieces is there. */
static bool is_at(const hidden *h, const unsigned char *memory)
{
    const size_t length = piece_length(h);
    size_t piece, i;

    for (piece = 0; piece + length <= h->length; piece += length) {
        for (i = 0; i < length && (memory[i] ^ MASK) == h->bytes[piece + i]; i++)
            ;
        if (i == length)
            return true;
    }
    return false;
}

/* Returns the number of the text's pieces in a range of this process's memory, up to the first unreadable page. */
static int count_in_range(const hidden *h, int memory, uint64_t start, uint64_t end)
{
    static unsigned char chunk[64 * 1024];
    const size_t length = piece_length(h);
    int found = 0;

    while (start + length <= end) {
        const size_t size = end - start < sizeof chunk ? (size_t)(end - start) : sizeof chunk;
        const ssize_t got = pread(memory, chunk, size, (off_t)start);
        size_t i;

        if (got < (ssize_t)length)
            break;
        for (i = 0; i + length <= (size_t)got; i++)
            found += is_at(h, chunk + i);
        /* Chunks overlap, so that a piece across two of them is found. */
        start += (uint64_t)got - length + 1;
    }
    memset(chunk, 0, sizeof chunk);
    return found;
}

/* Returns the number of the text's pieces in this process's writable memory: heap, stacks, data, also freed
 * memory. */
static int count_in_memory(const hidden *h)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    const int memory = open("/proc/self/mem", O_RDONLY);
    char line[4096];
    int found = 0;

    CHECK(maps != NULL && memory >= 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        char permissions[5];

        CHECK(sscanf(line, "%lx-%lx %4s", &start, &end, permissions) == 3);
        if (strncmp(permissions, "rw", 2) == 0)
            found += count_in_range(h, memory, start, end);
    }
    fclose(maps);
    close(memory);
    return found;
}

/* Not with valgrind and AddressSanitizer: they keep copies, and do not reuse freed memory, so a buffer that
 * rustls has freed is not overwritten. AddressSanitizer also maps terabytes. */
static bool memory_can_be_searched(void)
{
#ifdef __SANITIZE_ADDRESS__
    return false;
#else
    const char *under = getenv("CLOPOS_TEST_UNDER");

    return under == NULL || strstr(under, "valgrind") == NULL;
#endif
}

/* Removes the secret from the environment, as a careful program does once it has a client. */
static hidden forget_secret(void)
{
    char *secret = (char *)(uintptr_t)env("CLOPOS_CLIENT_SECRET");
    const hidden h = hide(secret, strlen(secret));

    memset(secret, 0, h.length);
    return h;
}

static void nothing_of_secret_and_token_is_left_once_everything_is_freed(void)
{
    clopos_auth_client *client = new_client();
    const hidden secret = forget_secret();
    clopos_auth_token *token = get_token(client);
    /* The signature occurs only in this token. */
    const hidden signature = hide(token->value + token->value_len - 40, 40);

    if (memory_can_be_searched()) {
        /* The search finds what exists. */
        CHECK(count_in_memory(&secret) > 0);
        CHECK(count_in_memory(&signature) > 1);
    }
    clopos_auth_token_free(token);
    if (memory_can_be_searched())
        CHECK(count_in_memory(&signature) > 0);
    clopos_auth_client_free(client);
    WAIT_UNTIL(threads() == 1);
    if (memory_can_be_searched()) {
        CHECK(count_in_memory(&secret) == 0);
        CHECK(count_in_memory(&signature) == 0);
    }
}

/* A secret of 200 letters, none of whose pieces occurs elsewhere. */
static hidden unique_secret(void)
{
    hidden h;
    uint32_t state = 1;
    size_t i;

    h.length = 200;
    for (i = 0; i < h.length; i++) {
        state = state * 1664525u + 1013904223u;
        h.bytes[i] = (unsigned char)('a' + (state >> 16) % 26) ^ MASK;
    }
    return h;
}

/* Writes the text and a NUL. */
static void reveal(const hidden *h, char *text)
{
    size_t i;

    for (i = 0; i < h->length; i++)
        text[i] = (char)(h->bytes[i] ^ MASK);
    text[h->length] = '\0';
}

static clopos_auth_client *client_with_secret(const hidden *secret, clopos_auth_config *config)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;
    char text[sizeof secret->bytes + 1];

    reveal(secret, text);
    CHECK_OK(&err, clopos_auth_client_new(env("CLOPOS_CLIENT_ID"), text, env("CLOPOS_BRAND"),
                                          env("CLOPOS_INTEGRATOR_ID"), config, &client, &err));
    memset(text, 0, sizeof text);
    /* Without a later read the compiler would remove the memset(). */
    CHECK(strlen(text) == 0);
    clopos_auth_config_free(config);
    return client;
}

static void check_nothing_is_left_after(int32_t status, clopos_auth_config *config)
{
    const hidden secret = unique_secret();
    clopos_auth_client *client = client_with_secret(&secret, config);
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    CHECK_FAILS(status, &err, clopos_auth_get_token(client, DEFAULT_TIMEOUT, &token, &err));
    if (memory_can_be_searched())
        CHECK(count_in_memory(&secret) > 0);
    clopos_auth_client_free(client);
    WAIT_UNTIL(threads() == 1);
    if (memory_can_be_searched())
        CHECK(count_in_memory(&secret) == 0);
}

/* Settings for one attempt. */
static clopos_auth_config *one_attempt(void)
{
    clopos_auth_config *config = new_config();

    CHECK(clopos_auth_config_set_max_attempts(config, 1, NULL) == CLOPOS_AUTH_OK);
    return config;
}

static void nothing_of_the_secret_is_left_after_a_refusal(void)
{
    sandbox_fails("status-401");
    check_nothing_is_left_after(CLOPOS_AUTH_REJECTED, one_attempt());
}

static void nothing_of_the_secret_is_left_after_a_refusal_that_repeats_it(void)
{
    sandbox_fails("message-hostile");
    check_nothing_is_left_after(CLOPOS_AUTH_REJECTED, one_attempt());
}

static void nothing_of_the_secret_is_left_after_a_timeout(void)
{
    clopos_auth_config *config = one_attempt();

    sandbox_fails("request-hang");
    CHECK(clopos_auth_config_set_attempt_timeout_ms(config, 500, NULL) == CLOPOS_AUTH_OK);
    check_nothing_is_left_after(CLOPOS_AUTH_TIMEOUT, config);
}

static void nothing_of_the_secret_is_left_after_a_server_that_is_not_trusted(void)
{
    clopos_auth_config *config = clopos_auth_config_new();

    CHECK(clopos_auth_config_set_base_url(config, env("CLOPOS_BASE_URL"), NULL) == CLOPOS_AUTH_OK);
    check_nothing_is_left_after(CLOPOS_AUTH_TLS, config);
}

/* The sandbox's control port is an HTTP server that does not support CONNECT. */
static void nothing_of_the_secret_and_of_the_proxys_password_is_left_after_a_proxy_that_refuses(void)
{
    clopos_auth_config *config = one_attempt();
    const hidden password = unique_secret();
    const char *authority = strstr(env("CLOPOS_TEST_CONTROL"), "//") + 2;
    char text[sizeof password.bytes + 1], url[512];

    reveal(&password, text);
    snprintf(url, sizeof url, "http://till:%s@%s", text, authority);
    CHECK(clopos_auth_config_set_proxy(config, url, NULL) == CLOPOS_AUTH_OK);
    memset(text, 0, sizeof text);
    memset(url, 0, sizeof url);
    CHECK(strlen(text) == 0 && strlen(url) == 0);
    check_nothing_is_left_after(CLOPOS_AUTH_PROXY, config);
}

static void nothing_of_the_secret_is_left_of_a_client_freed_during_its_request(void)
{
    const hidden secret = unique_secret();
    clopos_auth_client *client = client_with_secret(&secret, one_attempt());
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    sandbox_fails("request-hang");
    CHECK_FAILS(CLOPOS_AUTH_WOULD_WAIT, &err, clopos_auth_get_token(client, 0, &token, &err));
    WAIT_UNTIL(sandbox_requests() == 1);
    clopos_auth_client_free(client);
    WAIT_UNTIL(threads() == 1);
    if (memory_can_be_searched())
        CHECK(count_in_memory(&secret) == 0);
}

const test MEMORY_TESTS[] = {
    TEST(nothing_of_secret_and_token_is_left_once_everything_is_freed),
    TEST(nothing_of_the_secret_is_left_after_a_refusal),
    TEST(nothing_of_the_secret_is_left_after_a_refusal_that_repeats_it),
    TEST(nothing_of_the_secret_is_left_after_a_timeout),
    TEST(nothing_of_the_secret_is_left_after_a_server_that_is_not_trusted),
    TEST(nothing_of_the_secret_and_of_the_proxys_password_is_left_after_a_proxy_that_refuses),
    TEST(nothing_of_the_secret_is_left_of_a_client_freed_during_its_request),
    END_OF_TESTS,
};
