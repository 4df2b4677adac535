/* Calls every function of the library at every moment of a process, and checks the status that the header
 * promises. A failure ends the process with status 1; each moment that passes prints a line "ok - MOMENT".
 *
 * The environment variable CLOPOS_LIFECYCLE (before main() there are no arguments) contains any of these words:
 *
 * - request: the clients have a request that is running, and its server never responds; otherwise a token;
 * - log: they have a log function, and one of the moments is inside it;
 * - exit: as log, and the log function calls exit().
 *
 * The rest of the environment is that of harness.h. Compiled with LIFECYCLE_LOAD it loads the library from
 * the path in CLOPOS_LIBRARY, uses it once and unloads it: all moments are after that.
 * Compiled with LIFECYCLE_DLL it is a DLL with the function lifecycle(), which a program's main() calls.
 * Valid as C99 and as C++11, which has more moments.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <clopos_auth.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What depends on the system ---- */
#ifdef _WIN32
#include <winsock2.h>
#include <windows.h>

static void nap(void) { Sleep(2); }
static void set_deadline(void) {}
static void end_at_once(int status) { TerminateProcess(GetCurrentProcess(), (UINT)status); }
#define LOAD(path) ((void *)LoadLibraryA(path))
#define LOADED(path) ((void *)GetModuleHandleA(path))
#define LOOK_UP(library, name) ((void *)(uintptr_t)GetProcAddress((HMODULE)(library), (name)))
#define UNLOAD(library) FreeLibrary((HMODULE)(library))
#define LOADER_ENDS_THREAD_LOCALS true
#define THIS_THREAD ((uintptr_t)GetCurrentThreadId())
#else
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void nap(void)
{
    static const struct timespec two_ms = {0, 2000000};
    nanosleep(&two_ms, NULL);
}
static void set_deadline(void) { alarm(60); }
static void end_at_once(int status) { _exit(status); }
#define LOAD(path) dlopen((path), RTLD_NOW | RTLD_LOCAL)
#define LOADED(path) dlopen((path), RTLD_NOW | RTLD_NOLOAD)
#define LOOK_UP(library, name) dlsym((library), (name))
#define UNLOAD(library) dlclose(library)
#define LOADER_ENDS_THREAD_LOCALS false
#define THIS_THREAD ((uintptr_t)pthread_self())
#endif

/* ---- Checks ---- */
static void fail(const char *moment, const char *what, const char *result)
{
    printf("not ok - %s: %s: %s\n", moment, what, result);
    fflush(stdout);
    end_at_once(1);
}

#define REQUIRE(moment, condition) ((condition) ? (void)0 : fail((moment), #condition, "is false"))

/* ---- The library ---- */
#define FUNCTIONS(X)                                                                                 \
    X(token_free) X(error_free) X(config_new) X(config_free) X(config_set_base_url) X(config_set_auth_path) \
    X(config_set_timeout_ms) X(config_set_attempt_timeout_ms) X(config_set_max_attempts)             \
    X(config_set_requests_per_minute) X(config_set_roots) X(config_add_ca_pem) X(config_set_proxy)   \
    X(config_set_user_agent) X(config_set_allow_plain_http) X(config_set_log)                        \
    X(config_set_on_change) X(client_new) X(client_free) X(authenticate) X(get_token) X(copy_token)  \
    X(current) X(get_state) X(state_free) X(invalidate) X(cancel) X(status_name) X(version)          \
    X(version_number)

#define FIELD(name) __typeof__(&clopos_auth_##name) name;
static struct functions { FUNCTIONS(FIELD) } api;

#ifdef LIFECYCLE_LOAD
#define FIND(name)                                               \
    {                                                            \
        void *found = LOOK_UP(library, "clopos_auth_" #name);    \
        REQUIRE("loading", found != NULL);                       \
        memcpy(&api.name, &found, sizeof found);                 \
    }
static void *load_and_use(void *path)
{
    void *library = LOAD((const char *)path);

    REQUIRE("loading", library != NULL);
    FIND(config_new)
    FIND(config_free)
    api.config_free(api.config_new());
    return library;
}

/* On a thread that ends: glibc may keep a library loaded while a thread that has used it runs. */
static void find_functions(void)
{
    char *path = getenv("CLOPOS_LIBRARY");
    pthread_t thread;
    void *library = NULL;

    REQUIRE("loading", pthread_create(&thread, NULL, load_and_use, path) == 0);
    REQUIRE("loading", pthread_join(thread, &library) == 0);
    UNLOAD(library);
    library = LOADED(path);
    REQUIRE("loading, it stays loaded", library != NULL);
    FUNCTIONS(FIND)
}
#else
#define TAKE(name) api.name = clopos_auth_##name;
static void find_functions(void) { FUNCTIONS(TAKE) }
#endif

/* ---- Settings and state of this program ---- */
static bool has_request, has_log, exits_inside_log;
/* The client whose log function uses the library, and the thread that it runs on. */
static clopos_auth_client *logging_client;
static uintptr_t logging_thread;
/* A DLL is attached and detached under the loader's lock. Then a call that waits for a request ends with
 * TIMEOUT. */
#ifdef LIFECYCLE_DLL
static bool is_in_loader = true;
#else
static bool is_in_loader = false;
#endif
/* glibc puts a program's thread-locals into the stack of every thread, also of the library's: they must have
 * room for these. (MinGW frees a program's thread-locals before the last moment.) */
#ifndef _WIN32
static __thread char ballast[240 * 1024];
#else
static char ballast[1];
#endif

/* Clients that main() has made for later moments. */
static clopos_auth_client *prepared[8];
static size_t prepared_count;

static bool is_inside_log_of(const clopos_auth_client *client)
{
    return client == logging_client && logging_thread == THIS_THREAD;
}

static void check_line(int32_t level, const char *line, void *user)
{
    (void)level;
    (void)user;
    REQUIRE("a log line", *line != '\0');
}

static void check_change(int32_t status, void *user)
{
    (void)user;
    REQUIRE("a change", status != CLOPOS_AUTH_CANCELLED);
}

/* The URL of a server that accepts connections and never responds, until the process ends. */
static const char *silent_url(void)
{
    static char url[64];
    struct sockaddr_in address;
#ifdef _WIN32
    int length = sizeof address;
    WSADATA data;
#else
    socklen_t length = sizeof address;
#endif

    if (*url != '\0')
        return url;
#ifdef _WIN32
    REQUIRE("listening", WSAStartup(MAKEWORD(2, 2), &data) == 0);
#endif
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    {
        const int listener = (int)socket(AF_INET, SOCK_STREAM, 0);
        REQUIRE("listening", bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
        REQUIRE("listening", listen(listener, 64) == 0);
        REQUIRE("listening", getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return url;
}

/* The status is one of the two, and there is an error exactly if it is not OK. Under the loader's lock no
 * thread can be started: then INTERNAL and TIMEOUT are allowed as well. */
static void expect_either(const char *moment, const char *call, int32_t status, clopos_auth_error **error,
                          int32_t promised, int32_t or_promised)
{
    char result[256];

    snprintf(result, sizeof result, "%s instead of %s: %.150s", api.status_name(status),
             api.status_name(promised), error != NULL && *error != NULL ? (*error)->message : "");
    if (is_in_loader && promised != CLOPOS_AUTH_OK && promised != CLOPOS_AUTH_INVALID_HANDLE &&
        (status == CLOPOS_AUTH_TIMEOUT || status == CLOPOS_AUTH_INTERNAL))
        or_promised = status;
    if (status != promised && status != or_promised)
        fail(moment, call, result);
    if (error != NULL && (*error != NULL) != (status != CLOPOS_AUTH_OK))
        fail(moment, call, "the error does not match the status");
    if (error != NULL)
        api.error_free(*error);
}

static void expect(const char *moment, const char *call, int32_t status, clopos_auth_error **error,
                   int32_t promised)
{
    expect_either(moment, call, status, error, promised, promised);
}

#define OK(call) expect(moment, #call, api.call, &error, CLOPOS_AUTH_OK)

static clopos_auth_client *new_client(const char *moment, clopos_auth_log_fn log, void *user)
{
    static char pem[64 * 1024];
    clopos_auth_config *config = api.config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;
    const char *path = getenv("CLOPOS_CA_FILE");
    FILE *file = path != NULL ? fopen(path, "rb") : NULL;
    const size_t length = file != NULL ? fread(pem, 1, sizeof pem, file) : 0;

    if (file != NULL)
        fclose(file);
    REQUIRE(moment, config != NULL);
    OK(config_set_base_url(config, has_request ? silent_url() : getenv("CLOPOS_BASE_URL"), &error));
    OK(config_set_auth_path(config, "/open-api/v2/auth", &error));
    OK(config_set_timeout_ms(config, 20000, &error));
    OK(config_set_attempt_timeout_ms(config, 20000, &error));
    OK(config_set_max_attempts(config, 2, &error));
    OK(config_set_requests_per_minute(config, 60, &error));
    OK(config_set_proxy(config, "none", &error));
    OK(config_set_user_agent(config, "lifecycle/1", &error));
    OK(config_set_allow_plain_http(config, 0, &error));
    if (length > 0) {
        OK(config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, &error));
        OK(config_add_ca_pem(config, pem, length, &error));
    }
    OK(config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, has_log ? log : NULL, user, &error));
    OK(config_set_on_change(config, check_change, NULL, &error));
    OK(client_new(getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"), getenv("CLOPOS_BRAND"),
                  getenv("CLOPOS_INTEGRATOR_ID"), config, &client, &error));
    api.config_free(config);
    api.config_free(config);
    return client;
}

static void get_tokens(const char *moment, clopos_auth_client *client, uint32_t timeout_ms, int32_t promised,
                       int32_t or_promised)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    char buf[2048];

    expect_either(moment, "get_token", api.get_token(client, timeout_ms, &token, &error), &error, promised,
                  or_promised);
    api.token_free(token);
    expect_either(moment, "copy_token",
                  api.copy_token(client, timeout_ms, buf, sizeof buf, NULL, NULL, &error), &error,
                  promised, or_promised);
    token = NULL;
    expect_either(moment, "authenticate", api.authenticate(client, timeout_ms, &token, &error), &error,
                  promised, or_promised);
    api.token_free(token);
}

/* Afterwards the client has a token, or a request that is running. */
static void get_tokens_in_time(const char *moment, clopos_auth_client *client)
{
    const int32_t timeout = CLOPOS_AUTH_TIMEOUT;

    if (is_inside_log_of(client))
        get_tokens(moment, client, 20000, CLOPOS_AUTH_WOULD_WAIT, CLOPOS_AUTH_WOULD_WAIT);
    else if (has_request)
        get_tokens(moment, client, 10, timeout, timeout);
    else if (is_in_loader)
        get_tokens(moment, client, 100, CLOPOS_AUTH_OK, timeout);
    else
        get_tokens(moment, client, 20000, CLOPOS_AUTH_OK, CLOPOS_AUTH_OK);
}

/* Calls every function that takes a client, and frees it. */
static void use(const char *moment, clopos_auth_client *client)
{
    const int32_t invalid = CLOPOS_AUTH_INVALID_HANDLE;
    clopos_auth_state *state = NULL;
    clopos_auth_error *error = NULL;
    int64_t left = -1;

    get_tokens_in_time(moment, client);
    OK(get_state(client, &state, &error));
    REQUIRE(moment, (api.current(client, &left) != 0) == (state->is_fresh != 0) && left >= 0);
    api.state_free(state);
    get_tokens(moment, client, 0, CLOPOS_AUTH_WOULD_WAIT,
        has_request || is_inside_log_of(client) ? CLOPOS_AUTH_WOULD_WAIT : CLOPOS_AUTH_OK);
    expect(moment, "invalidate", api.invalidate(client, "another"), NULL, CLOPOS_AUTH_OK);
    expect(moment, "invalidate", api.invalidate(client, NULL), NULL, CLOPOS_AUTH_OK);
    expect(moment, "cancel", api.cancel(client), NULL, CLOPOS_AUTH_OK);
    api.client_free(client);
    get_tokens(moment, client, 20000, invalid, invalid);
    expect(moment, "get_state", api.get_state(client, &state, &error), &error, invalid);
    REQUIRE(moment, state == NULL && api.current(client, NULL) == 0);
    expect(moment, "invalidate", api.invalidate(client, NULL), NULL, invalid);
    expect(moment, "cancel", api.cancel(client), NULL, invalid);
    api.client_free(client);
    api.client_free(NULL);
}

/* Calls every function, with a client that main() has prepared, if one is left, and with a new one. */
static void at_moment(const char *moment)
{
    if (api.version == NULL) {
        const char *words = getenv("CLOPOS_LIFECYCLE");

        REQUIRE("the environment", words != NULL);
        set_deadline();
        has_request = strstr(words, "request") != NULL;
        exits_inside_log = strstr(words, "exit") != NULL;
        has_log = exits_inside_log || strstr(words, "log") != NULL;
        find_functions();
    }
    REQUIRE(moment, api.version_number() == CLOPOS_AUTH_VERSION_NUMBER);
    REQUIRE(moment, strcmp(api.version(), CLOPOS_AUTH_VERSION) == 0);
    api.token_free(NULL);
    api.error_free(NULL);
    if (prepared_count > 0)
        use(moment, prepared[--prepared_count]);
    use(moment, new_client(moment, check_line, NULL));
    printf("ok - %s\n", moment);
    fflush(stdout);
}

/* ---- The moments ---- */
static void registered_early(void) { at_moment("atexit, registered before the first use"); }
static void registered_late(void) { at_moment("atexit, registered after the first use"); }
static pthread_key_t key;
static void key_destructor(void *moment) { at_moment((const char *)moment); }

#ifdef __cplusplus
struct static_object {
    static_object()
    {
        atexit(registered_early);
        at_moment("the constructor of a static object");
    }
    ~static_object() { at_moment("the destructor of a static object"); }
};
static static_object object;

struct thread_object {
    void touch() {}
    ~thread_object()
    {
        const bool before = is_in_loader;

        is_in_loader = before || LOADER_ENDS_THREAD_LOCALS;
        at_moment("the destructor of a thread_local object");
        is_in_loader = before;
    }
};
static thread_local thread_object local;

static void touch_thread_local(void) { local.touch(); }
#else
static void touch_thread_local(void) {}
__attribute__((constructor)) static void constructor(void)
{
    atexit(registered_early);
    at_moment("a constructor");
}
#endif
__attribute__((destructor)) static void destructor(void) { at_moment("a destructor"); }

#ifdef LIFECYCLE_DLL
BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, LPVOID reserved)
{
    (void)module;
    (void)reserved;
    if (reason == DLL_PROCESS_DETACH)
        at_moment("the detachment of the process");
    return TRUE;
}
#define main __declspec(dllexport) lifecycle
#endif

static void *thread_that_ends(void *uses_before)
{
    touch_thread_local();
    REQUIRE("a thread", pthread_setspecific(key, uses_before != NULL
                                                     ? "a key destructor, after a use"
                                                     : "a key destructor, the thread's first use") == 0);
    if (uses_before != NULL)
        at_moment("another thread");
    return NULL;
}

static void run_thread(void *uses_before)
{
    pthread_t thread;

    REQUIRE("a thread", pthread_create(&thread, NULL, thread_that_ends, uses_before) == 0);
    REQUIRE("a thread", pthread_join(thread, NULL) == 0);
}

#ifdef _WIN32
static void fork_and_end(void (*end)(int), const char *moment) { (void)end, (void)moment; }
#else
static void fork_and_end(void (*end)(int), const char *moment)
{
    int status;
    pid_t child;

    fflush(stdout);
    child = fork();
    REQUIRE(moment, child >= 0);
    if (child == 0) {
        set_deadline();
        at_moment(moment);
        end(0);
    }
    REQUIRE(moment, waitpid(child, &status, 0) == child);
    REQUIRE(moment, WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

typedef struct logging {
    pthread_mutex_t lock;
    clopos_auth_client *client;
    bool is_done;
} logging;

/* Uses the library inside the log function, once its request is running. */
static void use_inside(int32_t level, const char *line, void *user)
{
    logging *l = (logging *)user;
    clopos_auth_client *client;

    (void)level;
    pthread_mutex_lock(&l->lock);
    client = l->is_done ? NULL : l->client;
    pthread_mutex_unlock(&l->lock);
    if (client == NULL || strstr(line, "sending request to ") == NULL)
        return;
    logging_thread = THIS_THREAD;
    logging_client = client;
    if (exits_inside_log) {
        prepared[prepared_count++] = client;
        exit(0);
    }
    use("the log function, its own client", client);
    at_moment("the log function");
    logging_client = NULL;
    pthread_mutex_lock(&l->lock);
    l->is_done = true;
    pthread_mutex_unlock(&l->lock);
}

static void run_inside_log(void)
{
    static logging l = {PTHREAD_MUTEX_INITIALIZER, NULL, false};
    clopos_auth_token *token = NULL;
    bool is_done = false;

    pthread_mutex_lock(&l.lock);
    l.client = new_client("main", use_inside, &l);
    pthread_mutex_unlock(&l.lock);
    api.get_token(l.client, exits_inside_log ? 20000 : 0, &token, NULL);
    while (!is_done) {
        pthread_mutex_lock(&l.lock);
        is_done = l.is_done;
        pthread_mutex_unlock(&l.lock);
        nap();
    }
}

int main(void)
{
    const bool is_dll = is_in_loader;

    is_in_loader = false;
    ballast[0] = 1;
    touch_thread_local();
    at_moment("main");
    REQUIRE("main", pthread_key_create(&key, key_destructor) == 0);
    atexit(registered_late);
    while (prepared_count < sizeof prepared / sizeof *prepared - 1)
        get_tokens_in_time("main", prepared[prepared_count++] = new_client("main", check_line, NULL));
    run_thread(NULL);
    run_thread(&key);
    fork_and_end(end_at_once, "a forked child that ends with _exit");
    fork_and_end(exit, "a forked child that ends with exit");
    if (has_log)
        run_inside_log();
    is_in_loader = is_dll;
    return 0;
}
