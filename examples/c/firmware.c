/* Signs in from a device's main loop, without blocking it and without a heap of its own. The token is copied
 * into a static buffer, and the static library is linked:
 *
 *     cc -std=c99 firmware.c libclopos_auth.a -lpthread -lm -ldl -o firmware
 *
 * The environment has the credentials: see environment.h.
 */

#define _POSIX_C_SOURCE 200809L

#include "messages.h"

#include <clopos_auth.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_MS = 20,
    MAX_TICKS = 60 * 1000 / TICK_MS
};

static char token[CLOPOS_AUTH_TOKEN_MAX + 1];
static char ca_pem[64 * 1024];
static char stdout_buffer[512]; /* otherwise stdio allocates one */

/* Reads a file into `ca_pem`. Returns its length, or -1 after printing an error. A real device has its CA, if
 * it needs one, as a constant. */
static ssize_t read_ca(const char *path)
{
    ssize_t length = -1;
    int file = open(path, O_RDONLY);

    if (file >= 0) {
        length = read(file, ca_pem, sizeof ca_pem);
        close(file);
    }
    if (length < 0)
        perror(path);
    return length;
}

static bool configure(clopos_auth_config *config)
{
    const char *base_url = getenv("CLOPOS_BASE_URL");
    const char *ca_file = getenv("CLOPOS_CA_FILE");
    clopos_auth_error *error = NULL;
    clopos_auth_status status;

    status = clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_INFO, log_line, NULL, &error);
    if (status == CLOPOS_AUTH_OK && base_url != NULL)
        status = clopos_auth_config_set_base_url(config, base_url, &error);
    if (status == CLOPOS_AUTH_OK && ca_file != NULL) {
        ssize_t length = read_ca(ca_file);
        if (length < 0)
            return false;
        status = clopos_auth_config_add_ca_pem(config, ca_pem, (size_t)length, &error);
        if (status == CLOPOS_AUTH_OK)
            status = clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &error);
    }
    if (status != CLOPOS_AUTH_OK)
        report("configuration", status, error);
    return status == CLOPOS_AUTH_OK;
}

static clopos_auth_client *new_client(void)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_config *config = clopos_auth_config_new();

    if (config == NULL) {
        fputs("configuration: no handle is left\n", stderr);
    } else if (configure(config)) {
        clopos_auth_status status = clopos_auth_client_new(
            getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"), getenv("CLOPOS_BRAND"),
            getenv("CLOPOS_INTEGRATOR_ID"), config, &client, &error);
        if (status != CLOPOS_AUTH_OK)
            report("client", status, error);
    }
    clopos_auth_config_free(config);
    return client;
}

/* The device's other work. */
static void tick(void)
{
    static const struct timespec one_tick = {0, TICK_MS * 1000000L};

    nanosleep(&one_tick, NULL);
}

/* The main loop: polls until there is a token, the time is over, or an error is not retryable. WOULD_WAIT is
 * retryable: a sign-in is running. The library logs other errors. */
static bool sign_in(clopos_auth_client *client)
{
    int ticks;

    for (ticks = 0; ticks < MAX_TICKS; ticks++) {
        clopos_auth_error *error = NULL;
        size_t needed = 0;
        int64_t expires_at = 0;
        clopos_auth_status status =
            clopos_auth_copy_token(client, 0, token, sizeof token, &needed, &expires_at, &error);

        if (status == CLOPOS_AUTH_OK) {
            printf("token of %zu bytes, expires at %" PRId64 ", received after %d ms\n", needed - 1,
                   expires_at, ticks * TICK_MS);
            return true;
        }
        if (error == NULL || !error->retryable) {
            report("sign in", status, error);
            return false;
        }
        clopos_auth_error_free(error);
        tick();
    }
    fputs("sign in: no token in time\n", stderr);
    return false;
}

/* The compiler may remove a memset() whose result is not read. */
static void wipe(char *secret, size_t size)
{
    volatile char *byte = secret;

    while (size-- > 0)
        *byte++ = 0;
}

int main(void)
{
    clopos_auth_client *client;
    bool done = false;

    setvbuf(stdout, stdout_buffer, _IOLBF, sizeof stdout_buffer);
    client = new_client();
    if (client != NULL)
        done = sign_in(client);
    wipe(token, sizeof token);
    clopos_auth_client_free(client);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
