/* What is left in memory of a secret and of a token. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

#include <fcntl.h>
#include <unistd.h>

#define SOON CLOPOS_AUTH_TIMEOUT_DEFAULT

/* A text that this program knows without having it in its memory: a mask lies over it. */
typedef struct hidden {
    unsigned char bytes[64];
    size_t length;
} hidden;

enum { MASK = 0x5a };

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

static bool is_at(const hidden *h, const unsigned char *memory)
{
    size_t i;

    for (i = 0; i < h->length; i++)
        if ((memory[i] ^ MASK) != h->bytes[i])
            return false;
    return true;
}

/* How often the text is in a range of this process's memory. Pages that cannot be read are skipped. */
static int count_in_range(const hidden *h, int memory, uint64_t start, uint64_t end)
{
    static unsigned char chunk[64 * 1024];
    int found = 0;

    while (start + h->length <= end) {
        const size_t size = end - start < sizeof chunk ? (size_t)(end - start) : sizeof chunk;
        const ssize_t got = pread(memory, chunk, size, (off_t)start);
        size_t i;

        if (got < (ssize_t)h->length)
            break;
        for (i = 0; i + h->length <= (size_t)got; i++)
            found += is_at(h, chunk + i);
        /* What lies across two chunks is in the next one. */
        start += (uint64_t)got - h->length + 1;
    }
    memset(chunk, 0, sizeof chunk);
    return found;
}

/* How often the text is in the memory that this process may write: heap, stacks, data. Freed memory is
 * part of it. */
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

/* Takes the secret out of the environment, as a careful program does once it has a client. */
static hidden forget_secret(void)
{
    char *secret = (char *)(uintptr_t)env("CLOPOS_CLIENT_SECRET");
    const hidden h = hide(secret, strlen(secret));

    memset(secret, 0, h.length);
    return h;
}

static void nothing_of_secret_and_token_is_left_once_everything_is_freed(void)
{
    const char *under = getenv("CLOPOS_TEST_UNDER");
    clopos_auth_client *client = new_client();
    const hidden secret = forget_secret();
    clopos_auth_token *token = get_token(client);
    /* Its signature is in nothing but it. */
    const hidden signature = hide(token->value + token->value_len - 40, 40);

    /* The search finds what there is. (Valgrind keeps its own copies, and lets nobody have freed memory
     * again: a buffer that rustls frees cannot be written over then.) */
    if (under != NULL && strstr(under, "valgrind") != NULL) {
        clopos_auth_token_free(token);
        clopos_auth_client_free(client);
        return;
    }
    CHECK(count_in_memory(&secret) > 0);
    CHECK(count_in_memory(&signature) > 1);
    clopos_auth_token_free(token);
    CHECK(count_in_memory(&signature) > 0);
    clopos_auth_client_free(client);
    WAIT_UNTIL(threads() == 1);
    CHECK(count_in_memory(&secret) == 0);
    CHECK(count_in_memory(&signature) == 0);
}

const test MEMORY_TESTS[] = {
    TEST(nothing_of_secret_and_token_is_left_once_everything_is_freed),
    END_OF_TESTS,
};
