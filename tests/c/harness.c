/* See harness.h. `PROGRAM --list` prints the tests' names, `PROGRAM NAME` runs one. */
#define _POSIX_C_SOURCE 200809L

#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static FILE *transcript;
static pthread_mutex_t transcript_lock = PTHREAD_MUTEX_INITIALIZER;

void to_transcript(const char *line)
{
    if (transcript == NULL)
        return;
    pthread_mutex_lock(&transcript_lock);
    fprintf(transcript, "%s\n", line);
    fflush(transcript);
    pthread_mutex_unlock(&transcript_lock);
}

void log_to_transcript(int32_t level, const char *line, void *user)
{
    (void)level;
    (void)user;
    to_transcript(line);
}

void fail_at(const char *file, int line, const char *what)
{
    printf("%s:%d: %s\n", file, line, what);
    fflush(stdout);
    /* Not exit(): other threads may still use the library. */
    _exit(1);
}

void check_status(const char *file, int line, int32_t expected, int32_t status,
                  clopos_auth_error **err, const char *what)
{
    char text[1024];
    const char *message = *err != NULL ? (*err)->message : "";

    to_transcript(message);
    if (status != expected) {
        snprintf(text, sizeof text, "%s instead of %s: %s", clopos_auth_status_name(status),
                 clopos_auth_status_name(expected), message);
        fail_at(file, line, text);
    }
    if (status == CLOPOS_AUTH_OK) {
        if (*err != NULL)
            fail_at(file, line, "an error came with OK");
        return;
    }
    if (*err == NULL)
        fail_at(file, line, "no error came with a failure");
    if ((*err)->status != status)
        fail_at(file, line, "the error's status is another than the call's");
    if (message == NULL || *message == '\0' || strchr(message, '\n') != NULL)
        fail_at(file, line, "the message is not one line of text");
    if (what != NULL && strstr(message, what) == NULL) {
        snprintf(text, sizeof text, "the message does not name %s: %s", what, message);
        fail_at(file, line, text);
    }
    if ((*err)->server_code != NULL)
        to_transcript((*err)->server_code);
    clopos_auth_error_free(*err);
    *err = NULL;
}

int64_t now_ms(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nap(void)
{
    static const struct timespec two_ms = {0, 2000000};

    nanosleep(&two_ms, NULL);
}

int count(counter *c)
{
    int value;

    pthread_mutex_lock(&c->lock);
    value = c->value;
    pthread_mutex_unlock(&c->lock);
    return value;
}

void count_up(counter *c)
{
    pthread_mutex_lock(&c->lock);
    c->value++;
    pthread_mutex_unlock(&c->lock);
}

void start_thread(pthread_t *thread, void *(*body)(void *), void *argument)
{
    CHECK(pthread_create(thread, NULL, body, argument) == 0);
}

void join_thread(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

const char *env(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL)
        fail_at(name, 0, "this environment variable is not set");
    return value;
}

void *allocate(size_t size)
{
    void *memory = malloc(size);

    CHECK(memory != NULL);
    return memory;
}

char *long_text(size_t length)
{
    char *text = (char *)allocate(length + 1);

    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

clopos_auth_config *new_config(void)
{
    enum { MAX_BYTES = 64 * 1024 };
    clopos_auth_error *err = NULL;
    clopos_auth_config *config = clopos_auth_config_new();
    char *pem = (char *)allocate(MAX_BYTES);
    const size_t length = read_ca(pem, MAX_BYTES);

    CHECK(config != NULL);
    CHECK_OK(&err, clopos_auth_config_set_base_url(config, env("CLOPOS_BASE_URL"), &err));
    CHECK_OK(&err, clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, log_to_transcript,
                                              NULL, &err));
    if (length > 0) {
        CHECK_OK(&err, clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &err));
        CHECK_OK(&err, clopos_auth_config_add_ca_pem(config, pem, length, &err));
    }
    free(pem);
    return config;
}

clopos_auth_client *new_client_with(clopos_auth_config *config)
{
    clopos_auth_client *client = NULL;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, make_client(config, &client, &err));
    CHECK(client != NULL);
    clopos_auth_config_free(config);
    return client;
}

clopos_auth_client *new_client(void)
{
    return new_client_with(new_config());
}

clopos_auth_token *get_token(clopos_auth_client *client)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *err = NULL;

    CHECK_OK(&err, clopos_auth_get_token(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, &err));
    CHECK(token != NULL);
    return token;
}

static void *authenticate_until_freed(void *client)
{
    clopos_auth_token *token = NULL;
    int32_t status;

    do {
        status = clopos_auth_authenticate((clopos_auth_client *)client, DEFAULT_TIMEOUT, &token, NULL);
        clopos_auth_token_free(token);
    } while (status != CLOPOS_AUTH_INVALID_HANDLE);
    return NULL;
}

void free_in_use(clopos_auth_client *client, bool (*may_free)(void *user), void (*freed)(void *user),
                 void *user)
{
    enum { CALLERS = 4 };
    pthread_t threads[CALLERS];
    int i;

    for (i = 0; i < CALLERS; i++)
        start_thread(&threads[i], authenticate_until_freed, client);
    WAIT_UNTIL(may_free(user));
    clopos_auth_client_free(client);
    freed(user);
    for (i = 0; i < CALLERS; i++)
        join_thread(threads[i]);
}

/* Sends a request to the sandbox's control port. Returns the whole response, in static memory. */
static const char *control(const char *method, const char *path, const char *body)
{
    static char response[4096];
    char request[1024];
    struct sockaddr_in address;
    size_t length = 0;
    ssize_t received;
    int sock = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(sock >= 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(env("CLOPOS_TEST_CONTROL"), ':') + 1));
    CHECK(connect(sock, (struct sockaddr *)&address, sizeof address) == 0);
    snprintf(request, sizeof request,
             "%s %s HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n"
             "Content-Type: application/json\r\nContent-Length: %u\r\n\r\n%s",
             method, path, (unsigned)strlen(body), body);
    CHECK(send(sock, request, strlen(request), 0) == (ssize_t)strlen(request));
    while ((received = recv(sock, response + length, sizeof response - 1 - length, 0)) > 0)
        length += (size_t)received;
    CHECK(received == 0);
    close(sock);
    response[length] = '\0';
    CHECK(strncmp(response, "HTTP/1.1 20", 11) == 0);
    return response;
}

void sandbox_fails(const char *fault)
{
    char body[128];

    snprintf(body, sizeof body, "{\"name\": \"%s\"}", fault);
    control("POST", "/sandbox/faults", body);
}

void sandbox_fails_times(const char *fault, int times)
{
    char body[128];

    snprintf(body, sizeof body, "{\"name\": \"%s\", \"times\": %d}", fault, times);
    control("POST", "/sandbox/faults", body);
}

void sandbox_sets(const char *setting, int value)
{
    char body[128];

    snprintf(body, sizeof body, "{\"%s\": %d}", setting, value);
    control("POST", "/sandbox/settings", body);
}

int sandbox_requests(void)
{
    const char *number = strstr(control("GET", "/sandbox/stats", ""), "\"auth_requests\":");

    CHECK(number != NULL);
    return atoi(strchr(number, ':') + 1);
}

static const test *const GROUPS[] = {ARGUMENT_TESTS, SETTING_TESTS, HANDLE_TESTS, TOKEN_TESTS,
                                     LOG_TESTS, CHANGE_TESTS, MEMORY_TESTS,
                                     SIGNAL_TESTS};

static void open_transcript(void)
{
    const char *directory = getenv("CLOPOS_TEST_TRANSCRIPT");
    char path[4096];

    if (directory == NULL)
        return;
    snprintf(path, sizeof path, "%s/c-%ld.log", directory, (long)getpid());
    transcript = fopen(path, "a");
    CHECK(transcript != NULL);
}

bool sleeps(long thread_id)
{
    char path[64], stat[512];
    const char *state;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", thread_id);
    file = fopen(path, "r");
    CHECK(file != NULL && fgets(stat, sizeof stat, file) != NULL);
    fclose(file);
    state = strrchr(stat, ')');
    CHECK(state != NULL);
    return state[2] == 'S';
}

/* Whether no thread of the library is left. ThreadSanitizer may have a thread of its own. */
static bool library_has_no_thread(void)
{
#ifdef __SANITIZE_THREAD__
    return threads() <= 2;
#else
    return threads() == 1;
#endif
}

int main(int argc, char **argv)
{
    const char *deadline = getenv("CLOPOS_TEST_DEADLINE_S");
    size_t i;

    CHECK(argc == 2);
    /* The signal ends a test that hangs. */
    alarm(deadline != NULL ? (unsigned)atoi(deadline) : 60);
    open_transcript();
    for (i = 0; i < sizeof GROUPS / sizeof *GROUPS; i++) {
        const test *t;
        for (t = GROUPS[i]; t->name != NULL; t++) {
            if (strcmp(argv[1], "--list") == 0) {
                puts(t->name);
            } else if (strcmp(argv[1], t->name) == 0) {
                t->run();
                /* The library's threads end soon after their client has been freed. */
                WAIT_UNTIL(library_has_no_thread());
                printf("ok - %s\n", t->name);
                if (transcript != NULL)
                    fclose(transcript);
                return 0;
            }
        }
    }
    return strcmp(argv[1], "--list") == 0 ? 0 : 2;
}
