/* clopos-doctor: finds out why this device cannot sign in. It checks each step of a sign-in with the till's
 * settings, prints its result and time, and ends with one sentence: what to fix. For technicians in a store.
 *
 *     cc -std=c99 doctor.c libclopos_auth.a -Wl,-z,now -lpthread -ldl -lm -o clopos-doctor
 *
 * On Windows, MinGW links libclopos_auth.a -lws2_32 -lntdll -luserenv -ladvapi32 -lcrypt32 -lbcrypt -lshell32
 * instead.
 *
 * It is written in C so that one call of a platform's C compiler builds it with the static library that exists
 * already; in Rust the crate would be built a second time for each platform. It uses the public C interface,
 * like a till, and of the system only sockets, the environment and the clock.
 *
 * `clopos-doctor --help` lists the settings and the exit statuses. No output contains a secret.
 */

#ifdef _WIN32
#define _WIN32_WINNT 0x0601
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>
#include <shellapi.h>
#else
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#include <clopos_auth.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_BASE_URL "https://integrations.clopos.com"

enum {
    /* How long one address may take to accept a connection. */
    CONNECT_LIMIT_MS = 2000,
    /* By how much the device's clock may differ from the server's. */
    CLOCK_LIMIT_S = 60,
    MAX_FILE_BYTES = 1 << 20,
    MAX_URL_BYTES = 2048,
    MAX_ADDRESS_BYTES = 64,
    LINE_BYTES = 8192
};

/* ---- text ---- */

/* Like snprintf(), but cuts off a text that does not fit between two UTF-8 characters. */
static void say(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    if (length < 0) {
        *out = '\0';
    } else if ((size_t)length >= size) {
        size_t end = size - 1;
        while (end > 0 && ((unsigned char)out[end - 1] & 0xC0) == 0x80)
            end--;
        if (end > 0 && (unsigned char)out[end - 1] >= 0xC0)
            end--;
        out[end] = '\0';
    }
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b))
        a++, b++;
    return lower(*a) == lower(*b);
}

static bool begins_with(const char *text, const char *begin)
{
    while (*begin != '\0' && lower(*text) == lower(*begin))
        text++, begin++;
    return *begin == '\0';
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length >= end_length && same(text + length - end_length, end);
}

static char *copy(const char *text)
{
    char *result = malloc(strlen(text) + 1);

    if (result == NULL)
        exit(CLOPOS_AUTH_INTERNAL);
    return strcpy(result, text);
}

/* ---- the system ---- */

#ifdef _WIN32

typedef SOCKET socket_handle;

#define NO_SOCKET INVALID_SOCKET
#define close_socket closesocket
#define REFUSED_ERROR WSAECONNREFUSED
#define SILENT_ERROR WSAETIMEDOUT
#define NO_HOST_ERROR WSAEHOSTUNREACH
#define NO_NETWORK_ERROR WSAENETUNREACH
#define FORBIDDEN_ERROR WSAEACCES

static int last_error(void)
{
    return WSAGetLastError();
}

static int64_t now_ms(void)
{
    return (int64_t)GetTickCount64();
}

static char *utf8(const wchar_t *wide)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = malloc(size > 0 ? (size_t)size : 1);

    if (text == NULL)
        exit(CLOPOS_AUTH_INTERNAL);
    *text = '\0';
    WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

/* Returns a copy, to be freed; NULL if there is no memory. */
static wchar_t *wide(const char *text)
{
    int size = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *result = malloc((size > 0 ? (size_t)size : 1) * sizeof *result);

    if (result != NULL) {
        *result = L'\0';
        MultiByteToWideChar(CP_UTF8, 0, text, -1, result, size);
    }
    return result;
}

/* The value of an environment variable; NULL if it is not set, or to nothing. */
static const char *environment(const char *name)
{
    wchar_t *wide_name = wide(name);
    const wchar_t *value = wide_name != NULL ? _wgetenv(wide_name) : NULL;

    free(wide_name);
    return value != NULL && *value != L'\0' ? utf8(value) : NULL;
}

static FILE *open_file(const char *path)
{
    wchar_t *wide_path = wide(path);
    FILE *file = wide_path != NULL ? _wfopen(wide_path, L"rb") : NULL;

    free(wide_path);
    return file;
}

/* Converts the arguments to UTF-8, and lets the console print that. */
static void set_up(int *argc, char ***argv)
{
    WSADATA data;
    int i, count = 0;
    wchar_t **arguments = CommandLineToArgvW(GetCommandLineW(), &count);
    char **texts = arguments != NULL ? malloc(((size_t)count + 1) * sizeof *texts) : NULL;

    if (texts != NULL) {
        for (i = 0; i < count; i++)
            texts[i] = utf8(arguments[i]);
        texts[count] = NULL;
        *argc = count;
        *argv = texts;
    }
    SetConsoleOutputCP(CP_UTF8);
    WSAStartup(MAKEWORD(2, 2), &data);
}

static bool start_connecting(socket_handle handle, const struct addrinfo *address, int *error)
{
    u_long on = 1;

    ioctlsocket(handle, FIONBIO, &on);
    *error = 0;
    if (connect(handle, address->ai_addr, (int)address->ai_addrlen) != 0)
        *error = WSAGetLastError();
    return *error == WSAEWOULDBLOCK;
}

/* WSAPoll() does not report a failed connection before Windows 10 2004. */
static bool times_out(socket_handle handle, int64_t limit_ms)
{
    struct timeval limit;
    fd_set connected, failed;

    limit.tv_sec = (long)(limit_ms / 1000);
    limit.tv_usec = (long)(limit_ms % 1000 * 1000);
    FD_ZERO(&connected);
    FD_SET(handle, &connected);
    failed = connected;
    return select(0, NULL, &connected, &failed, &limit) == 0;
}

#else

typedef int socket_handle;

#define NO_SOCKET (-1)
#define close_socket close
#define REFUSED_ERROR ECONNREFUSED
#define SILENT_ERROR ETIMEDOUT
#define NO_HOST_ERROR EHOSTUNREACH
#define NO_NETWORK_ERROR ENETUNREACH
#define FORBIDDEN_ERROR EACCES

static int last_error(void)
{
    return errno;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The value of an environment variable; NULL if it is not set, or to nothing. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

static FILE *open_file(const char *path)
{
    return fopen(path, "rb");
}

/* If the output is closed (| head), the program continues, for its exit status. */
static void set_up(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
}

static bool start_connecting(socket_handle handle, const struct addrinfo *address, int *error)
{
    fcntl(handle, F_SETFL, O_NONBLOCK);
    *error = connect(handle, address->ai_addr, address->ai_addrlen) != 0 ? errno : 0;
    return *error == EINPROGRESS;
}

static bool times_out(socket_handle handle, int64_t limit_ms)
{
    struct pollfd waiting = {-1, POLLOUT, 0};

    waiting.fd = handle;
    return poll(&waiting, 1, (int)limit_ms) == 0;
}

#endif

/* Returns 0 if an address accepts a connection, otherwise the system's error. */
static int connect_to(const struct addrinfo *address)
{
    int error = 0;
    socket_handle handle = socket(address->ai_family, SOCK_STREAM, 0);

    if (handle == NO_SOCKET)
        return last_error();
    if (start_connecting(handle, address, &error)) {
        socklen_t size = sizeof error;
        if (times_out(handle, CONNECT_LIMIT_MS))
            error = SILENT_ERROR;
        else
            getsockopt(handle, SOL_SOCKET, SO_ERROR, (void *)&error, &size);
    }
    close_socket(handle);
    return error;
}

/* In English, whatever the device's language is. */
static void connect_message(char *out, size_t size, int error)
{
    if (error == REFUSED_ERROR)
        say(out, size, "connection refused");
    else if (error == SILENT_ERROR)
        say(out, size, "no answer");
    else if (error == NO_HOST_ERROR)
        say(out, size, "host unreachable");
    else if (error == NO_NETWORK_ERROR)
        say(out, size, "network unreachable");
    else if (error == FORBIDDEN_ERROR)
        say(out, size, "forbidden by a firewall on this device");
    else
        say(out, size, "error %d", error);
}

/* Returns the content of a file with a NUL after it, to be freed; NULL, with errno, if it cannot be read. */
static char *read_file(const char *path, size_t *length)
{
    char *content = NULL;
    FILE *file = open_file(path);

    if (file == NULL)
        return NULL;
    content = malloc(MAX_FILE_BYTES + 1);
    if (content != NULL) {
        *length = fread(content, 1, MAX_FILE_BYTES, file);
        content[*length] = '\0';
        if (ferror(file)) {
            free(content);
            content = NULL;
        }
    }
    fclose(file);
    return content;
}

/* ---- the report ---- */

static struct {
    bool json;
    int steps;
} report;

/* Prints a JSON string. Bytes that are not UTF-8 become '?'. */
static void put_json(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    putchar('"');
    while (*at != '\0') {
        int more = *at < 0x80 ? 0 : *at >= 0xC2 && *at < 0xE0 ? 1 : *at >= 0xE0 && *at < 0xF0 ? 2
                 : *at >= 0xF0 && *at < 0xF5 ? 3 : -1;
        int i = 1;
        while (i <= more && (at[i] & 0xC0) == 0x80)
            i++;
        /* Cut off, overlong, a surrogate, or above U+10FFFF. */
        if (more < 0 || i <= more || (*at == 0xE0 && at[1] < 0xA0) || (*at == 0xED && at[1] > 0x9F)
            || (*at == 0xF0 && at[1] < 0x90) || (*at == 0xF4 && at[1] > 0x8F)) {
            putchar('?');
            at++;
            continue;
        }
        if (*at < 0x20 || *at == '"' || *at == '\\')
            printf("\\u%04x", *at);
        else
            fwrite(at, 1, (size_t)more + 1, stdout);
        at += more + 1;
    }
    putchar('"');
}

static void put_field(const char *name, const char *value)
{
    printf("\"%s\":", name);
    put_json(value);
}

static void report_begins(void)
{
    char host[256] = "", date[32] = "";
    time_t now = time(NULL);
    const struct tm *utc = gmtime(&now);

    if (gethostname(host, sizeof host - 1) != 0)
        strcpy(host, "?");
    if (utc != NULL)
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", utc);
    if (report.json) {
        printf("{");
        put_field("doctor", CLOPOS_AUTH_VERSION);
        printf(",");
        put_field("library", clopos_auth_version());
        printf(",");
        put_field("date", date);
        printf(",");
        put_field("host", host);
        printf(",\"steps\":[");
    } else {
        printf("clopos-doctor %s, library %s, on %s, %s\n", CLOPOS_AUTH_VERSION, clopos_auth_version(),
               host, date);
    }
    fflush(stdout);
}

static void step(const char *name, const char *result, int64_t start_ms, const char *format, ...)
{
    char found[LINE_BYTES];
    int64_t ms = now_ms() - start_ms;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(found, sizeof found, format, arguments);
    va_end(arguments);
    if (report.json) {
        printf("%s{", report.steps++ > 0 ? "," : "");
        put_field("step", name);
        printf(",");
        put_field("result", result);
        printf(",\"ms\":%" PRId64 ",", ms);
        put_field("found", found);
        printf("}");
    } else {
        printf("%-9s %-7s %6" PRId64 " ms  %s\n", name, result, ms, found);
    }
    fflush(stdout);
}

static void not_checked(const char *name)
{
    step(name, "-", now_ms(), "not checked");
}

static void report_ends(clopos_auth_status status, const clopos_auth_error *error, const char *service,
                        const char *sentence, int exit_status)
{
    if (report.json) {
        printf("],");
        put_field("service", service);
        printf(",\"status\":%" PRId32 ",", (int32_t)status);
        put_field("status_name", clopos_auth_status_name(status));
        printf(",\"http_status\":%" PRId32 ",\"reason\":%" PRId32 ",",
               error != NULL ? error->http_status : 0, error != NULL ? error->reason : 0);
        put_field("message", error != NULL ? error->message : "");
        printf(",");
        put_field("sentence", sentence);
        printf(",\"exit_status\":%d}\n", exit_status);
    } else {
        printf("%s\n", sentence);
    }
    fflush(stdout);
}

/* ---- settings ---- */

enum {
    CLIENT_ID, CLIENT_SECRET, BRAND, INTEGRATOR_ID, CREDENTIALS,
    BASE_URL = CREDENTIALS, AUTH_PATH, PROXY, ROOTS, CA_FILE, TIMEOUT_MS, ATTEMPT_TIMEOUT_MS, MAX_ATTEMPTS,
    REQUESTS_PER_MINUTE, USER_AGENT, ALLOW_PLAIN_HTTP, LOG_LEVEL, SETTINGS
};

/* Each setting is an option and a variable: "ca-file" is --ca-file and CLOPOS_CA_FILE. */
static struct setting {
    const char *name;
    /* The option's argument; NULL if it has none. */
    const char *argument;
    const char *help;
    const char *value;
} settings[SETTINGS] = {
    {"client-id", NULL, NULL, NULL},
    {"client-secret", NULL, NULL, NULL},
    {"brand", NULL, NULL, NULL},
    {"integrator-id", NULL, NULL, NULL},
    {"base-url", "URL", "where the service is (" DEFAULT_BASE_URL ")", NULL},
    {"auth-path", "PATH", "the path of the sign-in (/open-api/v2/auth)", NULL},
    {"proxy", "PROXY", "environment (the default), none or http://HOST:PORT", NULL},
    {"roots", "ROOTS", "bundled (the default), system or none", NULL},
    {"ca-file", "FILE", "a PEM file with certificates to trust in addition to the roots", NULL},
    {"timeout-ms", "N", "for the whole sign-in (30000)", NULL},
    {"attempt-timeout-ms", "N", "for one attempt (10000)", NULL},
    {"max-attempts", "N", "attempts (1; of the library: 3)", NULL},
    {"requests-per-minute", "N", "the maximum number of requests in a minute (12)", NULL},
    {"user-agent", "TEXT", "the name of the till's program", NULL},
    {"allow-plain-http", NULL, "send the secret unencrypted to an http:// URL", NULL},
    {"log-level", "LEVEL", "error, warn, info or debug: print the library's log to stderr", NULL},
};

static const char *variable_of(const struct setting *setting)
{
    static char variable[64];
    char *at;

    say(variable, sizeof variable, "CLOPOS_%s", setting->name);
    for (at = variable; *at != '\0'; at++) {
        if (*at == '-')
            *at = '_';
        else if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
    }
    return variable;
}

static void help(void)
{
    int i;

    puts("clopos-doctor: finds out why this device cannot sign in to Clopos, and what to fix.\n"
         "\n"
         "    clopos-doctor [OPTION]...\n"
         "\n"
         "It resolves the service's name, connects to it, and signs in once. Its last line is one sentence.\n"
         "The output contains no secret.\n"
         "\n"
         "The credentials come from the variables CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and\n"
         "CLOPOS_INTEGRATOR_ID, or from a file. They and a proxy's password are not accepted as options: other\n"
         "users of the device can see a command line.\n");
    for (i = CREDENTIALS; i < SETTINGS; i++) {
        char option[64];
        say(option, sizeof option, "--%s%s%s", settings[i].name,
            settings[i].argument != NULL ? " " : "",
            settings[i].argument != NULL ? settings[i].argument : "");
        printf("    %-26s %s\n", option, settings[i].help);
    }
    puts("    --env-file FILE            read variables from FILE: lines NAME=VALUE, without quotes\n"
         "    --json                     print one JSON object\n"
         "    --version                  print the versions of this program and of the library\n"
         "    --help                     print this text\n"
         "\n"
         "Each of the first group is also a variable: --ca-file is CLOPOS_CA_FILE. Options take precedence over\n"
         "the file, the file over the environment. A proxy with a password is set by CLOPOS_PROXY or HTTPS_PROXY.\n"
         "\n"
         "The exit status is 0 if the sign-in worked and the clock is right, otherwise the number of the library's\n"
         "status (clopos_auth.h):");
    for (i = 1; strcmp(clopos_auth_status_name(i), "UNKNOWN") != 0; i++)
        printf("%s%d %s", i == 1 ? "    " : i % 5 == 1 ? ",\n    " : ", ", i, clopos_auth_status_name(i));
    puts("\nIt is 11 also if the sign-in worked although the clock is wrong, and 1 also if an option is wrong.");
}

/* Ends the program: an option is wrong. */
static void usage_error(const char *problem, const char *what)
{
    fprintf(stderr, "clopos-doctor: %s%s; see clopos-doctor --help\n", problem, what);
    exit(CLOPOS_AUTH_INVALID_ARGUMENT);
}

static struct setting *setting_of_option(const char *name)
{
    int i;

    for (i = 0; i < SETTINGS; i++)
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

/* Reads the options. Returns the file of --env-file, or NULL. No message contains a value, which may be a
 * secret. */
static const char *parse_options(int argc, char **argv)
{
    const char *env_file = NULL;
    int i;

    for (i = 1; i < argc; i++) {
        char name[64];
        struct setting *setting;
        const char *equals = strchr(argv[i], '=');
        size_t length = equals != NULL ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        bool takes_value;

        if (strncmp(argv[i], "--", 2) != 0 || length >= sizeof name) {
            say(name, sizeof name, "%d", i);
            usage_error("this is not an option: argument ", name);
        }
        say(name, sizeof name, "%.*s", (int)(length - 2), argv[i] + 2);
        setting = setting_of_option(name);
        if (setting != NULL && setting < settings + CREDENTIALS)
            usage_error("other users of this device can see a command line; set the variable ",
                    variable_of(setting));
        takes_value = setting != NULL ? setting->argument != NULL : strcmp(name, "env-file") == 0;
        if (takes_value && equals == NULL && ++i == argc)
            usage_error("a value is missing after --", name);
        if (!takes_value && equals != NULL)
            usage_error("this option has no value: --", name);
        if (setting == &settings[PROXY] && strchr(equals != NULL ? equals : argv[i], '@') != NULL)
            usage_error("other users of this device can see a command line; set the variable ",
                    variable_of(setting));
        if (setting != NULL)
            setting->value = !takes_value ? "1" : equals != NULL ? equals + 1 : argv[i];
        else if (takes_value)
            env_file = equals != NULL ? equals + 1 : argv[i];
        else if (strcmp(name, "json") == 0)
            report.json = true;
        else if (strcmp(name, "version") == 0) {
            printf("clopos-doctor %s, library %s\n", CLOPOS_AUTH_VERSION, clopos_auth_version());
            exit(0);
        } else if (strcmp(name, "help") == 0) {
            help();
            exit(0);
        } else
            usage_error("unknown option --", name);
    }
    return env_file;
}

/* Reads lines NAME=VALUE, as docker's --env-file does: of two lines with one name, the last one counts. Returns
 * false, with a message in `problem`, if the file cannot be read. */
static bool read_env_file(const char *path, char *problem, size_t size)
{
    size_t length = 0;
    int number = 0;
    char *content = read_file(path, &length), *line, *next;
    const char *found[SETTINGS] = {NULL};
    int i;

    if (content == NULL) {
        say(problem, size, "%s: %s", path, strerror(errno));
        return false;
    }
    line = strncmp(content, "\xEF\xBB\xBF", 3) == 0 ? content + 3 : content;
    for (; line != NULL; line = next) {
        char *end = line + strcspn(line, "\n"), *equals;
        next = *end != '\0' ? end + 1 : NULL;
        number++;
        if (end > line && end[-1] == '\r')
            end--;
        *end = '\0';
        if (*line == '\0' || *line == '#')
            continue;
        equals = strchr(line, '=');
        if (equals == NULL) {
            say(problem, size, "%s: line %d is not NAME=VALUE", path, number);
            free(content);
            return false;
        }
        *equals = '\0';
        for (i = 0; i < SETTINGS; i++)
            if (strcmp(line, variable_of(&settings[i])) == 0)
                found[i] = equals + 1;
    }
    for (i = 0; i < SETTINGS; i++)
        if (settings[i].value == NULL && found[i] != NULL && *found[i] != '\0')
            settings[i].value = copy(found[i]);
    memset(content, 0, length);
    free(content);
    return true;
}

/* The library's log. */
static struct {
    int32_t shown_level;
    bool client_is_made;
    /* The warnings about the settings: those that are logged while the client is made. */
    char warnings[CREDENTIALS][256];
    int warning_count;
} library_log;

static void CLOPOS_AUTH_CALL log_line(int32_t level, const char *line, void *user)
{
    (void)user;
    if (!library_log.client_is_made && level <= CLOPOS_AUTH_LOG_WARN && library_log.warning_count < CREDENTIALS)
        say(library_log.warnings[library_log.warning_count++], sizeof library_log.warnings[0], "%s", line);
    if (level <= library_log.shown_level)
        fprintf(stderr, "clopos[%" PRId32 "] %s\n", level, line);
}

/* Returns the number of a word in a list that is separated by blanks; -1 if it is not there. */
static int32_t word_number(const char *list, const char *word)
{
    int32_t number;

    for (number = 0; *list != '\0'; number++) {
        size_t length = strcspn(list, " ");
        if (strlen(word) == length && strncmp(list, word, length) == 0)
            return number;
        list += length + strspn(list + length, " ");
    }
    return -1;
}

static clopos_auth_status set_ca_file(clopos_auth_config *config, const char *path, char *problem,
                                      size_t size, clopos_auth_error **error)
{
    clopos_auth_status status;
    size_t length = 0;
    char *pem = read_file(path, &length);

    if (pem == NULL) {
        say(problem, size, "%s: %s", path, strerror(errno));
        return CLOPOS_AUTH_INVALID_ARGUMENT;
    }
    status = clopos_auth_config_add_ca_pem(config, pem, length, error);
    free(pem);
    return status;
}

/* Applies one setting. On failure the message is in `problem` or `*error`. */
static clopos_auth_status apply(clopos_auth_config *config, int which, const char *value, char *problem,
                                size_t size, clopos_auth_error **error)
{
    char *end;
    unsigned long number = 0;

    switch (which) {
    case TIMEOUT_MS:
    case ATTEMPT_TIMEOUT_MS:
    case MAX_ATTEMPTS:
    case REQUESTS_PER_MINUTE:
    case ALLOW_PLAIN_HTTP:
        errno = 0;
        number = strtoul(value, &end, 10);
        if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || number > INT32_MAX) {
            say(problem, size, "%s is not a number", variable_of(&settings[which]));
            return CLOPOS_AUTH_INVALID_ARGUMENT;
        }
    }
    switch (which) {
    case BASE_URL:
        return clopos_auth_config_set_base_url(config, value, error);
    case AUTH_PATH:
        return clopos_auth_config_set_auth_path(config, value, error);
    case PROXY:
        return clopos_auth_config_set_proxy(config, value, error);
    case ROOTS: {
        int32_t roots = word_number("bundled system none", value);
        if (roots >= 0)
            return clopos_auth_config_set_roots(config, roots, error);
        say(problem, size, "the roots are neither bundled nor system nor none");
        return CLOPOS_AUTH_INVALID_ARGUMENT;
    }
    case CA_FILE:
        return set_ca_file(config, value, problem, size, error);
    case TIMEOUT_MS:
        return clopos_auth_config_set_timeout_ms(config, (uint32_t)number, error);
    case ATTEMPT_TIMEOUT_MS:
        return clopos_auth_config_set_attempt_timeout_ms(config, (uint32_t)number, error);
    case MAX_ATTEMPTS:
        return clopos_auth_config_set_max_attempts(config, (uint32_t)number, error);
    case REQUESTS_PER_MINUTE:
        return clopos_auth_config_set_requests_per_minute(config, (uint32_t)number, error);
    case USER_AGENT:
        return clopos_auth_config_set_user_agent(config, value, error);
    case ALLOW_PLAIN_HTTP:
        return clopos_auth_config_set_allow_plain_http(config, (int32_t)number, error);
    case LOG_LEVEL:
        library_log.shown_level = word_number("off error warn info debug", value);
        if (library_log.shown_level >= 0)
            return clopos_auth_config_set_log(config,
                                              library_log.shown_level > CLOPOS_AUTH_LOG_WARN
                                                  ? library_log.shown_level
                                                  : CLOPOS_AUTH_LOG_WARN,
                                              log_line, NULL, error);
        say(problem, size, "the log level is neither error nor warn nor info nor debug");
        return CLOPOS_AUTH_INVALID_ARGUMENT;
    default:
        return CLOPOS_AUTH_OK;
    }
}

/* Returns a client with the settings of this device, to be freed, or NULL with a message in `problem`. */
static clopos_auth_client *new_client(const char *env_file, char *problem, size_t size,
                                      clopos_auth_status *status, clopos_auth_error **error)
{
    char missing[256] = "";
    clopos_auth_config *config;
    clopos_auth_client *client = NULL;
    int i;

    if (clopos_auth_version_number() < CLOPOS_AUTH_VERSION_NUMBER) {
        *status = CLOPOS_AUTH_INTERNAL;
        say(problem, size, "the library %s is older than this program", clopos_auth_version());
        return NULL;
    }
    *status = CLOPOS_AUTH_INVALID_ARGUMENT;
    if (env_file != NULL && !read_env_file(env_file, problem, size))
        return NULL;
    for (i = 0; i < SETTINGS; i++)
        if (settings[i].value == NULL)
            settings[i].value = environment(variable_of(&settings[i]));
    for (i = 0; i < CREDENTIALS; i++)
        if (settings[i].value == NULL) {
            size_t used = strlen(missing);
            say(missing + used, sizeof missing - used, "%s%s", used > 0 ? ", " : "",
                variable_of(&settings[i]));
        }
    if (*missing != '\0') {
        say(problem, size, "not set: %s", missing);
        return NULL;
    }
    /* One attempt only: the first failure is the diagnosis. */
    if (settings[MAX_ATTEMPTS].value == NULL)
        settings[MAX_ATTEMPTS].value = "1";
    if (settings[LOG_LEVEL].value == NULL)
        settings[LOG_LEVEL].value = "off";
    config = clopos_auth_config_new();
    *status = config != NULL ? CLOPOS_AUTH_OK : CLOPOS_AUTH_INTERNAL;
    for (i = CREDENTIALS; i < SETTINGS && *status == CLOPOS_AUTH_OK; i++)
        if (settings[i].value != NULL)
            *status = apply(config, i, settings[i].value, problem, size, error);
    if (*status == CLOPOS_AUTH_OK)
        *status = clopos_auth_client_new(settings[CLIENT_ID].value, settings[CLIENT_SECRET].value,
                                         settings[BRAND].value, settings[INTEGRATOR_ID].value, config,
                                         &client, error);
    library_log.client_is_made = true;
    clopos_auth_config_free(config);
    if (*status != CLOPOS_AUTH_OK && *problem == '\0')
        say(problem, size, "%s", *error != NULL ? (*error)->message : "out of memory");
    return client;
}

/* ---- endpoints ---- */

/* Something to connect to. */
typedef struct endpoint {
    char host[MAX_URL_BYTES + 1];
    char port[8];
    bool secure;
} endpoint;

/* The endpoint of a URL that the library has accepted, without user name and password. */
static endpoint endpoint_of_url(const char *url)
{
    endpoint result = {"", "80", false};
    const char *begin = strstr(url, "://");
    const char *end, *at, *colon;

    result.secure = begin != NULL && begin - url == 5 && lower(url[4]) == 's';
    if (result.secure)
        strcpy(result.port, "443");
    begin = begin != NULL ? begin + 3 : url + strspn(url, " \t");
    at = strrchr(begin, '@');
    if (at != NULL)
        begin = at + 1;
    end = begin + strcspn(begin, "/?# \t");
    for (colon = end; colon > begin && colon[-1] != ':' && colon[-1] != ']'; colon--)
        ;
    if (colon > begin && colon[-1] == ':') {
        if (end > colon)
            say(result.port, sizeof result.port, "%.*s", (int)(end - colon), colon);
        end = colon - 1;
    }
    if (end - begin > 1 && *begin == '[') {
        begin++;
        end--;
    }
    say(result.host, sizeof result.host, "%.*s", (int)(end - begin), begin);
    return result;
}

/* Whether an address is one of this device or of a private network (RFC 1918, 6598, 3927, 2544, 4193). */
static bool is_inside_v4(uint32_t address)
{
    static const struct {
        uint32_t network;
        int bits;
    } inside[] = {{0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},
                  {0xA9FE0000, 16}, {0xAC100000, 12}, {0xC0A80000, 16}, {0xC6120000, 15}};
    size_t i;

    for (i = 0; i < sizeof inside / sizeof *inside; i++)
        if (((address ^ inside[i].network) >> (32 - inside[i].bits)) == 0)
            return true;
    return false;
}

static bool is_inside(const struct addrinfo *address)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    static const unsigned char loopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    static const unsigned char none[16] = {0};
    unsigned char bytes[16];
    uint32_t v4;

    if (address->ai_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address->ai_addr, sizeof in);
        return is_inside_v4(ntohl(in.sin_addr.s_addr));
    }
    if (address->ai_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address->ai_addr, sizeof in);
        memcpy(bytes, &in.sin6_addr, sizeof bytes);
        memcpy(&v4, bytes + 12, sizeof v4);
        if (memcmp(bytes, mapped, sizeof mapped) == 0)
            return is_inside_v4(ntohl(v4));
        return memcmp(bytes, loopback, 16) == 0 || memcmp(bytes, none, 16) == 0
            || (bytes[0] & 0xFE) == 0xFC || (bytes[0] == 0xFE && (bytes[1] & 0xC0) == 0x80);
    }
    return false;
}

/* Whether a host is a name in the public DNS: neither an address nor a name of a private network. */
static bool is_public_name(const char *host)
{
    static const char *const private_ends[] = {".localhost", ".local", ".internal", ".home.arpa", ".lan",
                                               ".home", ".corp", ".intranet", ".private", ".test"};
    size_t i;

    if (strchr(host, '.') == NULL || strchr(host, ':') != NULL
        || host[strspn(host, "0123456789.")] == '\0')
        return false;
    for (i = 0; i < sizeof private_ends / sizeof *private_ends; i++)
        if (ends_with(host, private_ends[i]))
            return false;
    return true;
}

/* The result of name resolution. */
typedef enum look_up { FOUND, NO_SUCH_NAME, NO_NAME_SERVER, NOT_FOUND } look_up;

/* What was found out about an endpoint. */
typedef struct probe {
    look_up look_up;
    int64_t look_up_ms;
    /* 0 if an address accepted a connection, otherwise the system's error of the first one. */
    int error;
    /* The first address that did not accept a connection. */
    char failed[MAX_ADDRESS_BYTES];
    /* The first address that did not respond until the limit. */
    char silent[MAX_ADDRESS_BYTES];
    /* The first address that is private, although the name is public. */
    char inside[MAX_ADDRESS_BYTES];
} probe;

static void numeric(const struct addrinfo *address, char *text, size_t size)
{
    if (getnameinfo(address->ai_addr, (socklen_t)address->ai_addrlen, text, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        say(text, size, "?");
}

/* Resolves the name of an endpoint. The list is to be freed with freeaddrinfo(). */
static struct addrinfo *resolve_endpoint(const endpoint *target, probe *found)
{
    char text[MAX_ADDRESS_BYTES], line[1024] = "";
    struct addrinfo hints, *list = NULL;
    const struct addrinfo *address;
    int64_t start = now_ms();
    int failed;

    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    failed = getaddrinfo(target->host, target->port, &hints, &list);
    found->look_up_ms = now_ms() - start;
    if (failed != 0) {
        found->look_up = failed == EAI_AGAIN ? NO_NAME_SERVER : NOT_FOUND;
#ifndef _WIN32 /* which returns the same error without a network */
        if (failed == EAI_NONAME)
            found->look_up = NO_SUCH_NAME;
#endif
        if (failed == EAI_AGAIN)
            step("dns", "failed", start, "%s: no name server gave an answer", target->host);
        else if (failed == EAI_NONAME)
            step("dns", "failed", start, "%s: no such name", target->host);
        else
            step("dns", "failed", start, "%s: error %d of the look-up", target->host, failed);
        return NULL;
    }
    for (address = list; address != NULL; address = address->ai_next) {
        size_t used = strlen(line);
        numeric(address, text, sizeof text);
        if (is_inside(address) && is_public_name(target->host) && *found->inside == '\0')
            strcpy(found->inside, text);
        say(line + used, sizeof line - used, "%s%s", text, address->ai_next != NULL ? ", " : "");
    }
    step("dns", *found->inside != '\0' ? "wrong" : "ok", start, "%s is %s%s", target->host, line,
         *found->inside != '\0' ? ": an address inside a network, for a public name" : "");
    return list;
}

/* Resolves the name of an endpoint and connects to each of its addresses. */
static probe check_endpoint(const endpoint *target)
{
    char text[MAX_ADDRESS_BYTES], why[64];
    probe found;
    struct addrinfo *list;
    const struct addrinfo *address;
    bool reached = false;

    memset(&found, 0, sizeof found);
    list = resolve_endpoint(target, &found);
    if (list == NULL)
        not_checked("connect");
    for (address = list; address != NULL; address = address->ai_next) {
        int64_t start = now_ms();
        int error = connect_to(address);
        numeric(address, text, sizeof text);
        if (error == 0) {
            reached = true;
            step("connect", "ok", start, "%s port %s", text, target->port);
        } else {
            connect_message(why, sizeof why, error);
            step("connect", "failed", start, "%s port %s: %s", text, target->port, why);
            if (*found.failed == '\0') {
                strcpy(found.failed, text);
                found.error = error;
            }
            if (error == SILENT_ERROR && *found.silent == '\0')
                strcpy(found.silent, text);
        }
    }
    if (reached)
        found.error = 0;
    if (list != NULL)
        freeaddrinfo(list);
    return found;
}

/* ---- the route ---- */

typedef struct route {
    /* EITHER: NO_PROXY is set, which only the library evaluates. */
    enum { DIRECT, PROXIED, EITHER } way;
    endpoint service, proxy;
    probe to_service, to_proxy;
    int64_t sign_in_ms;
} route;

static const char *first_set(const char *const *names, const char **name)
{
    for (; *names != NULL; names++) {
        const char *value = environment(*names);
        if (value != NULL && value[strspn(value, " \t")] != '\0') {
            *name = *names;
            return value;
        }
    }
    return NULL;
}

/* Finds out which proxy the library uses, if any, and whether that and the service can be reached. */
static void check_route(route *found)
{
    static const char *const secure_names[] = {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy",
                                               NULL};
    static const char *const plain_names[] = {"http_proxy", "ALL_PROXY", "all_proxy", NULL};
    static const char *const exceptions[] = {"NO_PROXY", "no_proxy", NULL};
    const char *setting = settings[PROXY].value != NULL ? settings[PROXY].value : "environment";
    const char *source = "the setting", *except = NULL, *url = NULL;
    const char *host = found->service.host;
    bool is_this_device = same(host, "localhost") || strcmp(host, "::1") == 0
        || (strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.")] == '\0');

    found->way = DIRECT;
    if (strcmp(setting, "environment") == 0) {
        url = first_set(found->service.secure ? secure_names : plain_names, &source);
        first_set(exceptions, &except);
    } else if (strcmp(setting, "none") != 0) {
        url = setting;
    }
    if (url == NULL) {
        step("proxy", "ok", now_ms(), "none is set");
    } else if (is_this_device && url != setting) {
        step("proxy", "ok", now_ms(), "not used: the service is on this device");
    } else if (strstr(url, "://") != NULL && !begins_with(url + strspn(url, " \t"), "http://")) {
        found->way = except != NULL ? EITHER : PROXIED;
        step("proxy", "wrong", now_ms(), "%s does not name an http:// proxy", source);
    } else {
        found->way = except != NULL ? EITHER : PROXIED;
        found->proxy = endpoint_of_url(url);
        step("proxy", "ok", now_ms(), "%s names %s port %s%s%s", source, found->proxy.host,
             found->proxy.port, except != NULL ? "; hosts may be excepted by " : "",
             except != NULL ? except : "");
    }
    if (*found->proxy.host != '\0')
        found->to_proxy = check_endpoint(&found->proxy);
    if (found->way != PROXIED)
        found->to_service = check_endpoint(&found->service);
}

/* ---- the sign-in ---- */

/* After a response, which proves that TLS works. */
static void tls(int64_t start, const endpoint *service)
{
    static const char *const names[] = {"the bundled roots", "the system's roots", "no roots"};
    const char *roots = settings[ROOTS].value != NULL ? settings[ROOTS].value : "bundled";
    const char *file = settings[CA_FILE].value;

    if (service->secure)
        step("tls", "ok", start, "the certificate of %s is verified against %s%s%s", service->host,
             names[word_number("bundled system none", roots)], file != NULL ? " and " : "",
             file != NULL ? file : "");
    else
        step("tls", "-", start, "not used: the URL is http://");
}

/* Prints the steps of a sign-in that worked. Returns the exit status, and the sentence in `sentence`. */
static int signed_in(int64_t start, const route *way, const clopos_auth_token *token, char *sentence,
                     size_t size)
{
    int64_t lead = (int64_t)time(NULL) - (token->expires_at - token->expires_in);
    bool clock_is_off = lead > CLOCK_LIMIT_S || lead < -CLOCK_LIMIT_S;
    const probe *reached = way->way == PROXIED ? &way->to_proxy : &way->to_service;
    const char *side = lead < 0 ? "behind" : "ahead of";

    lead = lead < 0 ? -lead : lead;
    tls(start, &way->service);
    if (clock_is_off)
        step("clock", "wrong", now_ms(), "%" PRId64 " s %s the server's", lead, side);
    else
        step("clock", "ok", now_ms(), "agrees with the server's");
    step("sign-in", "ok", start, "a token for %" PRId64 " s", token->expires_in);
    if (clock_is_off) {
        say(sentence, size,
            "Signing in works, but set this device's date and time: they are %" PRId64
            " min %s the server's.", (lead + 30) / 60, side);
        return CLOPOS_AUTH_CLOCK;
    }
    if (*way->to_service.inside != '\0' && way->way == DIRECT)
        say(sentence, size,
            "Signing in works, but %s is %s on this network, an address that the service does not have: "
            "check that this is intended (a hosts file, DNS rewriting).",
            way->service.host, way->to_service.inside);
    else if (*reached->silent != '\0' && way->way != EITHER)
        say(sentence, size,
            "Signing in works, but %s does not answer, which costs time: repair that route.",
            reached->silent);
    else
        say(sentence, size, "This device can sign in.");
    return CLOPOS_AUTH_OK;
}

/* Prints the steps of a sign-in that failed. */
static void not_signed_in(int64_t start, const endpoint *service, clopos_auth_status status,
                          const clopos_auth_error *error)
{
    const char *name = clopos_auth_status_name(status);
    const char *message = error != NULL ? error->message : "out of memory";
    bool responded = error != NULL && error->http_status != 0 && status != CLOPOS_AUTH_PROXY;

    if (status == CLOPOS_AUTH_TLS) {
        step("tls", "failed", start, "%s: %s", name, message);
        not_checked("clock");
        not_checked("sign-in");
    } else if (status == CLOPOS_AUTH_CLOCK) {
        step("tls", "-", start, "not verified: the certificate is not valid at this device's date");
        step("clock", "failed", now_ms(), "%s: %s", name, message);
        not_checked("sign-in");
    } else if (responded) {
        tls(start, service);
        if (service->secure)
            step("clock", "ok", now_ms(), "the certificate is valid at this device's date");
        else
            step("clock", "-", now_ms(), "not checked: the URL is http://");
        step("sign-in", "failed", start, "%s: %s", name, message);
    } else {
        not_checked("tls");
        not_checked("clock");
        step("sign-in", "failed", start, "%s: %s", name, message);
    }
}

/* Prints the state of the client after the sign-in. */
static void state_after(const clopos_auth_client *client)
{
    clopos_auth_state *state = NULL;
    char token[128] = "no token", next[64] = "the next one may be sent now";
    int64_t start = now_ms();

    if (clopos_auth_get_state(client, &state, NULL) != CLOPOS_AUTH_OK) {
        step("state", "failed", start, "out of memory");
        return;
    }
    if (state->has_token)
        say(token, sizeof token, "a token for %" PRId64 " s, to be replaced in %" PRId64 " s",
            state->expires_in_ms / 1000, state->refresh_in_ms / 1000);
    if (state->next_request_in_ms > 0)
        say(next, sizeof next, "the next one may be sent in %" PRId64 " s",
            state->next_request_in_ms / 1000 + 1);
    step("state", state->is_fresh ? "ok" : "-", start,
         "%s; requests sent: %" PRIu64 ", failed: %" PRIu64 "; %s", token, state->requests,
         state->failures, next);
    clopos_auth_state_free(state);
}

/* ---- the sentence ---- */

static void why_no_name(char *out, size_t size, const endpoint *service, const probe *found)
{
    switch (found->look_up) {
    case NO_NAME_SERVER:
        say(out, size, "connect this device to its network, or correct the name server in its settings: none "
            "answered for %s", service->host);
        break;
    case NO_SUCH_NAME:
        say(out, size, "correct the host name in the base URL, or the name server of this network: it says "
            "that there is no %s", service->host);
        break;
    case FOUND:
        say(out, size, "repair the name server of this network: it answers for %s too late, or only at times",
            service->host);
        break;
    default:
        say(out, size, "make %s resolvable (is the network cable in, the Wi-Fi on, the name server right, the "
            "name spelt right?)", service->host);
    }
}

static void why_no_connection(char *out, size_t size, const endpoint *service, const probe *found)
{
    if (found->error == REFUSED_ERROR)
        say(out, size, "check the port in the base URL, and the firewall: %s refuses connections to port %s",
            found->failed, service->port);
    else if (found->error == SILENT_ERROR)
        say(out, size, "check the firewall and the line: %s port %s does not answer", service->host,
            service->port);
    else if (found->error == NO_HOST_ERROR || found->error == NO_NETWORK_ERROR)
        say(out, size, "give this device a route to the internet: %s cannot be reached from its network",
            found->failed);
    else
        say(out, size, "check the firewall and the line: connections to %s port %s are ended, by the server or "
            "on the way", service->host, service->port);
}

static void why_no_proxy(char *out, size_t size, const route *way, int32_t http_status, const char *message)
{
    switch (http_status) {
    case 401:
    case 407:
        if (strstr(message, "only Basic") != NULL)
            say(out, size, "ask the proxy's administrator to let this device pass without a login, or "
                "with the scheme Basic (%s)", message);
        else
            say(out, size, "put the proxy's right user name and password into its URL (%s)", message);
        break;
    case 403:
        say(out, size, "ask the proxy's administrator to allow CONNECT to %s port %s (%s)", way->service.host,
            way->service.port, message);
        break;
    case 429:
        say(out, size, "wait, and ask the proxy's administrator to allow more requests (%s)", message);
        break;
    case 0:
        say(out, size, "correct the proxy's URL, or check that the proxy runs (%s)", message);
        break;
    default:
        say(out, size, "check that the proxy reaches the internet (%s)", message);
    }
}

static void why_refused(char *out, size_t size, int32_t reason)
{
    switch (reason) {
    case CLOPOS_AUTH_REASON_INTEGRATOR:
        say(out, size, "correct the integrator id, or ask Clopos to switch it on: with this one every store "
            "fails, whatever its client id and secret are");
        break;
    case CLOPOS_AUTH_REASON_ENVIRONMENT:
        say(out, size, "use the integrator id and the brand of one environment: one of them is for tests, the "
            "other for production");
        break;
    case CLOPOS_AUTH_REASON_DISABLED:
        say(out, size, "switch Open API on in the store's back office (Add-ons, Open API): there it is "
            "disabled for this client");
        break;
    case CLOPOS_AUTH_REASON_MISSING_FIELD:
        say(out, size, "correct the credentials: the service says that one of the four is blank or missing");
        break;
    default:
        say(out, size, "correct the client id, the client secret or the brand before trying again (the "
            "store's back office shows the first two): many wrong tries may lock the store out");
    }
}

static void why_unexpected_response(char *out, size_t size, const endpoint *service, int32_t http_status,
                                    const char *message)
{
    if (http_status == 511)
        say(out, size, "sign in to this network first: open any web site and follow its login page (%s)",
            message);
    else if (http_status >= 300 && http_status < 400)
        say(out, size, "correct the base URL, or sign in to this network's login page: %s leads elsewhere "
            "(%s)", service->host, message);
    else if (http_status == 404 || http_status == 405 || http_status == 410)
        say(out, size, "correct the base URL or the path of the sign-in: there is no such service at %s (%s)",
            service->host, message);
    else
        say(out, size, "find out what answers in the place of %s: a login page of this network (open any web "
            "site and look), a gateway or a firewall (%s)", service->host, message);
}

static void why_no_time(char *out, size_t size, const route *way)
{
    const probe *found = way->way == PROXIED ? &way->to_proxy : &way->to_service;

    if (found->look_up != FOUND || found->look_up_ms > way->sign_in_ms / 2)
        why_no_name(out, size, way->way == PROXIED ? &way->proxy : &way->service, found);
    else if (found->error != 0)
        why_no_connection(out, size, way->way == PROXIED ? &way->proxy : &way->service, found);
    else if (way->way != DIRECT)
        say(out, size, "check the proxy and the line behind it: no answer comes back");
    else
        say(out, size, "check the firewall and the line: %s port %s accepts connections but does not answer "
            "in time (if others reach it, the service is slow)", way->service.host, way->service.port);
}

/* Writes what to fix. */
static void what_to_fix(char *out, size_t size, const route *way, clopos_auth_status status,
                   const clopos_auth_error *error)
{
    const char *host = way->service.host;
    const char *message = error != NULL ? error->message : "out of memory";
    int32_t http_status = error != NULL ? error->http_status : 0;
    int32_t reason = error != NULL ? error->reason : CLOPOS_AUTH_REASON_UNKNOWN;
    int64_t wait_ms = error != NULL && error->retry_after_ms > 0 ? error->retry_after_ms : 0;
    bool nothing_verified = status == CLOPOS_AUTH_TLS || status == CLOPOS_AUTH_CONNECT
        || status == CLOPOS_AUTH_TIMEOUT || (status == CLOPOS_AUTH_PROTOCOL && !way->service.secure);

    if (*way->to_service.inside != '\0' && way->way == DIRECT && nothing_verified) {
        say(out, size, "find out why %s is %s on this network: no service on the internet has such an address "
            "(a login page of this network, a line in the hosts file, or DNS rewriting)", host,
            way->to_service.inside);
        return;
    }
    switch (status) {
    case CLOPOS_AUTH_DNS:
        why_no_name(out, size, &way->service, &way->to_service);
        break;
    case CLOPOS_AUTH_CONNECT:
        why_no_connection(out, size, &way->service, &way->to_service);
        break;
    case CLOPOS_AUTH_TLS:
        say(out, size, "connect to %s directly, or add the CA certificate of the proxy in between: the server "
            "could not be verified (%s)", host, message);
        break;
    case CLOPOS_AUTH_CLOCK:
        say(out, size, "set this device's date and time; if they are right, have the certificate of %s renewed "
            "(%s)", host, message);
        break;
    case CLOPOS_AUTH_PROXY:
        why_no_proxy(out, size, way, http_status, message);
        break;
    case CLOPOS_AUTH_REJECTED:
        if (library_log.warning_count > 0 && reason != CLOPOS_AUTH_REASON_ENVIRONMENT
            && reason != CLOPOS_AUTH_REASON_DISABLED)
            say(out, size, "correct the credentials (%s)", library_log.warnings[0]);
        else
            why_refused(out, size, reason);
        break;
    case CLOPOS_AUTH_RATE_LIMITED:
        say(out, size, "wait %" PRId64 " s: too many sign-ins came from this store's public address",
            wait_ms / 1000 + 1);
        break;
    case CLOPOS_AUTH_SERVER:
        say(out, size, "nothing on this device: the service itself %s (HTTP %" PRId32 "). Try again later; "
            "if it lasts, tell Clopos the integrator id and the time above",
            http_status == 504 ? "did not answer its own gateway in time" : "fails", http_status);
        break;
    case CLOPOS_AUTH_PROTOCOL:
        why_unexpected_response(out, size, &way->service, http_status, message);
        break;
    case CLOPOS_AUTH_TIMEOUT:
        why_no_time(out, size, way);
        break;
    default:
        say(out, size, "report this (%s: %s)", clopos_auth_status_name(status), message);
    }
}

int main(int argc, char **argv)
{
    static route way;
    static char line[LINE_BYTES], problem[LINE_BYTES / 2];
    char service[MAX_URL_BYTES + 1] = "";
    const char *env_file;
    clopos_auth_client *client;
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status;
    int64_t start = now_ms();
    int i, exit_status;

    set_up(&argc, &argv);
    env_file = parse_options(argc, argv);
    report_begins();
    client = new_client(env_file, problem, sizeof problem, &status, &error);
    if (client == NULL) {
        step("settings", "failed", start, "%s", problem);
        say(line, sizeof line, "To fix: correct the settings of this device (%s).", problem);
        exit_status = (int)status;
    } else {
        say(service, sizeof service, "%s",
            settings[BASE_URL].value != NULL ? settings[BASE_URL].value : DEFAULT_BASE_URL);
        step("settings", library_log.warning_count > 0 ? "wrong" : "ok", start, "the service is %s%s%s", service,
             library_log.warning_count > 0 ? "; " : "", library_log.warnings[0]);
        for (i = 1; i < library_log.warning_count; i++)
            step("settings", "wrong", start, "%s", library_log.warnings[i]);
        way.service = endpoint_of_url(service);
        check_route(&way);
        start = now_ms();
        status = clopos_auth_authenticate(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, &error);
        way.sign_in_ms = now_ms() - start;
        if (status == CLOPOS_AUTH_OK) {
            exit_status = signed_in(start, &way, token, line, sizeof line);
        } else {
            not_signed_in(start, &way.service, status, error);
            what_to_fix(problem, sizeof problem, &way, status, error);
            say(line, sizeof line, "To fix: %s.", problem);
            exit_status = (int)status;
        }
        state_after(client);
    }
    report_ends(status, error, service, line, exit_status);
    clopos_auth_token_free(token);
    clopos_auth_error_free(error);
    clopos_auth_client_free(client);
    return exit_status;
}
