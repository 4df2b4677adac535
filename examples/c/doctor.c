/* Says why this device cannot sign in, and what to do about it: goes through what a sign-in needs, one
 * step after another, tells what it found and how long each took, and ends with one sentence. What a
 * technician runs in a store.
 *
 *     cc -std=c99 doctor.c -lclopos_auth -o doctor
 *
 * Reads the same environment variables as login.c: CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND,
 * CLOPOS_INTEGRATOR_ID, and CLOPOS_BASE_URL and CLOPOS_CA_FILE for the sandbox. It signs in once, so run
 * it as often as a till would. It shows no secret: its output can be sent around.
 */

#define _POSIX_C_SOURCE 200809L

#include <clopos_auth.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVICE_URL "https://integrations.clopos.com"

enum {
    CONNECT_LIMIT_MS = 2000,
    SIGN_IN_LIMIT_MS = 15000,
    /* By how much the device's clock may differ from the server's. */
    CLOCK_LIMIT_S = 60,
    MAX_PEM_BYTES = 1 << 20,
    MAX_URL_BYTES = 2048
};

/* Something to connect to. */
typedef struct place {
    char host[MAX_URL_BYTES + 1];
    char port[6];
    bool secure;
} place;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void step(const char *name, const char *result, int64_t start_ms, const char *found)
{
    printf("%-9s %-7s %6" PRId64 " ms  %s\n", name, result, now_ms() - start_ms, found);
}

static void not_reached(const char *name)
{
    step(name, "-", now_ms(), "not reached");
}

/* What the library says about a failure. It never holds a secret. */
static const char *words(const clopos_auth_error *error)
{
    return error != NULL ? error->message : "memory ran out";
}

/* The same behind its status, as one line. */
static void status_words(char *line, size_t size, clopos_auth_status status,
                         const clopos_auth_error *error)
{
    snprintf(line, size, "%s: %s", clopos_auth_status_name(status), words(error));
}

/* ---- settings ---- */

static clopos_auth_status trust_only(clopos_auth_config *config, const char *path, char *problem,
                                     size_t size, clopos_auth_error **error)
{
    clopos_auth_status status = CLOPOS_AUTH_INVALID_ARGUMENT;
    char *pem = malloc(MAX_PEM_BYTES);
    FILE *file = fopen(path, "rb");

    if (file == NULL || pem == NULL) {
        snprintf(problem, size, "%s: %s", path, strerror(errno));
    } else {
        size_t length = fread(pem, 1, MAX_PEM_BYTES, file);
        status = clopos_auth_config_add_ca_pem(config, pem, length, error);
        if (status == CLOPOS_AUTH_OK)
            status = clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, error);
    }
    if (file != NULL)
        fclose(file);
    free(pem);
    return status;
}

/* A client for this device's settings, to be freed; NULL, and what is wrong with them. */
static clopos_auth_client *new_client(const char *base_url, char *problem, size_t size)
{
    static const char *const names[] = {"CLOPOS_CLIENT_ID", "CLOPOS_CLIENT_SECRET", "CLOPOS_BRAND",
                                        "CLOPOS_INTEGRATOR_ID"};
    const char *values[4];
    const char *ca_file = getenv("CLOPOS_CA_FILE");
    clopos_auth_config *config;
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status;
    size_t i;

    *problem = '\0';
    for (i = 0; i < 4; i++) {
        values[i] = getenv(names[i]);
        if (values[i] == NULL) {
            snprintf(problem, size, "%s is not set", names[i]);
            return NULL;
        }
    }
    config = clopos_auth_config_new();
    status = clopos_auth_config_set_base_url(config, base_url, &error);
    /* One answer is what is wanted here, not the best that can be had. */
    if (status == CLOPOS_AUTH_OK)
        status = clopos_auth_config_set_max_attempts(config, 1, &error);
    if (status == CLOPOS_AUTH_OK && ca_file != NULL)
        status = trust_only(config, ca_file, problem, size, &error);
    if (status == CLOPOS_AUTH_OK)
        status = clopos_auth_client_new(values[0], values[1], values[2], values[3], config,
                                        &client, &error);
    if (status != CLOPOS_AUTH_OK && *problem == '\0')
        snprintf(problem, size, "%s", words(error));
    clopos_auth_error_free(error);
    clopos_auth_config_free(config);
    return client;
}

/* ---- places ---- */

/* Of a URL that the library has accepted. A user name and a password are left out. */
static place place_of_url(const char *url)
{
    place result = {"", "80", false};
    const char *begin = strstr(url, "://");
    const char *end, *at, *colon;

    result.secure = begin != NULL && begin - url == 5 && strncasecmp(url, "https", 5) == 0;
    if (result.secure)
        strcpy(result.port, "443");
    begin = begin != NULL ? begin + 3 : url;
    at = strrchr(begin, '@');
    if (at != NULL)
        begin = at + 1;
    end = begin + strcspn(begin, "/?#");
    for (colon = end; colon > begin && colon[-1] != ':' && colon[-1] != ']'; colon--)
        ;
    if (colon > begin && colon[-1] == ':') {
        if (end > colon && end - colon < (ptrdiff_t)sizeof result.port)
            sprintf(result.port, "%.*s", (int)(end - colon), colon);
        end = colon - 1;
    }
    if (end - begin > 1 && *begin == '[') {
        begin++;
        end--;
    }
    snprintf(result.host, sizeof result.host, "%.*s", (int)(end - begin), begin);
    return result;
}

/* The variable that the library takes its proxy from; NULL if none is set. */
static const char *proxy_variable(void)
{
    static const char *const names[] = {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"};
    size_t i;

    for (i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[strspn(value, " \t")] != '\0')
            return names[i];
    }
    return NULL;
}

/* Whether an address accepts a connection; if not, errno says why. */
static bool accepts(const struct addrinfo *address)
{
    struct pollfd waiting = {-1, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    int fd = socket(address->ai_family, SOCK_STREAM, 0);

    if (fd < 0)
        return false;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        error = errno;
        if (error == EINPROGRESS) {
            waiting.fd = fd;
            if (poll(&waiting, 1, CONNECT_LIMIT_MS) != 1)
                error = ETIMEDOUT;
            else
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
    }
    close(fd);
    errno = error;
    return error == 0;
}

static void numeric(const struct addrinfo *address, char *text, size_t size)
{
    if (getnameinfo(address->ai_addr, address->ai_addrlen, text, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(text, size, "?");
}

/* Looks a place up and connects to each of its addresses. Writes the first address that did not answer
 * while others did, else nothing. */
static void probe(const place *target, char *silent, size_t size)
{
    char text[INET6_ADDRSTRLEN + 32], line[1024];
    struct addrinfo hints, *list = NULL;
    const struct addrinfo *address;
    bool reached = false;
    int64_t start = now_ms();
    int failed;

    *silent = '\0';
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    failed = getaddrinfo(target->host, target->port, &hints, &list);
    if (failed != 0) {
        snprintf(line, sizeof line, "%.200s: %s", target->host, gai_strerror(failed));
        step("dns", "failed", start, line);
        not_reached("connect");
        return;
    }
    snprintf(line, sizeof line, "%.200s is ", target->host);
    for (address = list; address != NULL; address = address->ai_next) {
        size_t used = strlen(line);
        numeric(address, text, sizeof text);
        snprintf(line + used, sizeof line - used, "%s%s", text,
                 address->ai_next != NULL ? ", " : "");
    }
    step("dns", "ok", start, line);
    for (address = list; address != NULL; address = address->ai_next) {
        numeric(address, text, sizeof text);
        start = now_ms();
        if (accepts(address)) {
            reached = true;
            snprintf(line, sizeof line, "%s port %s", text, target->port);
            step("connect", "ok", start, line);
        } else {
            const char *why = errno == ETIMEDOUT ? "no answer" : strerror(errno);
            snprintf(line, sizeof line, "%s port %s: %s", text, target->port, why);
            step("connect", "failed", start, line);
            if (*silent == '\0')
                snprintf(silent, size, "%s", text);
        }
    }
    if (!reached)
        *silent = '\0';
    freeaddrinfo(list);
}

/* ---- the sign-in ---- */

/* The step that an answer of the service's proves. */
static void tls(int64_t start, const place *service)
{
    if (service->secure)
        step("tls", "ok", start, "the server is who it should be");
    else
        step("tls", "-", start, "not used: the URL is http://");
}

/* The rest of the steps, after a sign-in that went well, and the sentence at the end. */
static void signed_in(int64_t start, const place *service, const clopos_auth_token *token,
                      const char *silent)
{
    int64_t lead = (int64_t)time(NULL) - (token->expires_at - token->expires_in);
    bool clock_is_off = lead > CLOCK_LIMIT_S || lead < -CLOCK_LIMIT_S;
    char line[128];

    tls(start, service);
    if (clock_is_off)
        snprintf(line, sizeof line, "%" PRId64 " s %s the server's", lead < 0 ? -lead : lead,
                 lead < 0 ? "behind" : "ahead of");
    else
        snprintf(line, sizeof line, "agrees with the server's");
    step("clock", clock_is_off ? "wrong" : "ok", now_ms(), line);
    snprintf(line, sizeof line, "a token for %" PRId64 " s", token->expires_in);
    step("sign-in", "ok", start, line);
    if (clock_is_off)
        puts("Signing in works, but set this device's date and time: they are wrong.");
    else if (*silent != '\0')
        printf("Signing in works, but %s does not answer, which costs time: repair that route.\n",
               silent);
    else
        puts("All is well: this device can sign in.");
}

/* The rest of the steps, after a sign-in that failed. */
static void not_signed_in(int64_t start, const place *service, clopos_auth_status status,
                          const clopos_auth_error *error)
{
    char line[2048];

    status_words(line, sizeof line, status, error);
    switch (status) {
    case CLOPOS_AUTH_TLS:
        step("tls", "failed", start, line);
        not_reached("clock");
        not_reached("sign-in");
        break;
    case CLOPOS_AUTH_CLOCK:
        tls(start, service);
        step("clock", "failed", now_ms(), line);
        not_reached("sign-in");
        break;
    case CLOPOS_AUTH_DNS:
    case CLOPOS_AUTH_CONNECT:
    case CLOPOS_AUTH_PROXY:
    case CLOPOS_AUTH_TIMEOUT:
        not_reached("tls");
        not_reached("clock");
        step("sign-in", "failed", start, line);
        break;
    default:
        tls(start, service);
        step("clock", "ok", now_ms(),
             service->secure ? "good enough for the certificate" : "no certificate asks for it");
        step("sign-in", "failed", start, line);
    }
}

static void proxy_remedy(int32_t http_status, const place *service)
{
    switch (http_status) {
    case 401:
    case 407:
        puts("To fix: put the proxy's right user name and password into its URL.");
        break;
    case 403:
        printf("To fix: have whoever runs the proxy allow CONNECT to %s port %s.\n", service->host,
               service->port);
        break;
    default:
        puts("To fix: correct the proxy's URL, or see to it that the proxy runs and reaches the "
             "internet.");
    }
}

/* The sentence at the end, where something has to be fixed. */
static void remedy(clopos_auth_status status, const clopos_auth_error *error, const place *service,
                   bool has_proxy)
{
    const char *host = service->host, *port = service->port;
    int64_t wait_ms = error != NULL && error->retry_after_ms > 0 ? error->retry_after_ms : 0;

    switch (status) {
    case CLOPOS_AUTH_DNS:
        printf("To fix: make %s resolvable (is the network cable in, the Wi-Fi on, the DNS server "
               "right, the name spelt right?).\n", host);
        break;
    case CLOPOS_AUTH_CONNECT:
        printf("To fix: let this device reach %s port %s (a firewall, a wrong port, or the line "
               "itself is in the way).\n", host, port);
        break;
    case CLOPOS_AUTH_PROXY:
        proxy_remedy(error != NULL ? error->http_status : 0, service);
        break;
    case CLOPOS_AUTH_TLS:
        printf("To fix: see to it that %s is reached with nothing in between, or add the CA of what "
               "stands in between (the line tls says what was seen).\n", host);
        break;
    case CLOPOS_AUTH_CLOCK:
        printf("To fix: set this device's date and time; where they are right, have the certificate of "
               "%s renewed.\n", host);
        break;
    case CLOPOS_AUTH_REJECTED:
        puts("To fix: correct the client id, the client secret, the brand or the integrator id, "
             "before trying again: many wrong tries may lock the store out.");
        break;
    case CLOPOS_AUTH_RATE_LIMITED:
        printf("To fix: wait %" PRId64 " s: this store's devices have asked too often.\n",
               wait_ms / 1000 + 1);
        break;
    case CLOPOS_AUTH_SERVER:
        puts("To fix: nothing here; the service itself fails: try again later, or call Clopos.");
        break;
    case CLOPOS_AUTH_PROTOCOL:
        printf("To fix: find out what answers in the place of %s: a login page of this network, "
               "perhaps (open any web site and look).\n", host);
        break;
    case CLOPOS_AUTH_TIMEOUT:
        if (has_proxy)
            puts("To fix: find out why the proxy or the line behind it passes nothing on.");
        else
            printf("To fix: find out why the line to %s port %s is so slow, or what on the way "
                   "swallows what is sent.\n", host, port);
        break;
    default:
        printf("To fix: report this (%s).\n", words(error));
    }
}

int main(void)
{
    const char *base_url = getenv("CLOPOS_BASE_URL");
    const char *variable = proxy_variable();
    char line[2 * MAX_URL_BYTES], silent[INET6_ADDRSTRLEN + 32];
    clopos_auth_client *client;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status;
    int64_t start = now_ms();
    place service, proxy;

    if (base_url == NULL)
        base_url = SERVICE_URL;
    client = new_client(base_url, line, sizeof line);
    if (client == NULL) {
        step("settings", "failed", start, line);
        printf("To fix: correct the settings of this device (%s).\n", line);
        return EXIT_FAILURE;
    }
    service = place_of_url(base_url);
    snprintf(line, sizeof line, "the service is %s", base_url);
    step("settings", "ok", start, line);

    if (variable == NULL) {
        step("proxy", "ok", now_ms(), "none is set");
        probe(&service, silent, sizeof silent);
    } else {
        const char *url = getenv(variable);
        proxy = place_of_url(url + strspn(url, " \t"));
        snprintf(line, sizeof line, "%s names %s port %s, NO_PROXY may except hosts", variable,
                 proxy.host, proxy.port);
        step("proxy", "ok", now_ms(), line);
        probe(&proxy, silent, sizeof silent);
    }

    start = now_ms();
    status = clopos_auth_authenticate(client, SIGN_IN_LIMIT_MS, &token, &error);
    if (status == CLOPOS_AUTH_OK) {
        signed_in(start, &service, token, silent);
    } else {
        not_signed_in(start, &service, status, error);
        remedy(status, error, &service, variable != NULL);
    }
    clopos_auth_token_free(token);
    clopos_auth_error_free(error);
    clopos_auth_client_free(client);
    return status == CLOPOS_AUTH_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
