/* libclopos_auth: sign in to the Clopos Open API v2 from C and everything that speaks C.
 *
 * Generated from src/ffi by cbindgen; edit the comments there.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * IN TEN LINES
 *
 *     clopos_auth_client *client = NULL;
 *     clopos_auth_token *token = NULL;
 *     clopos_auth_error *error = NULL;
 *     if (clopos_auth_client_new(id, secret, brand, integrator, NULL, &client, &error) == CLOPOS_AUTH_OK
 *         && clopos_auth_get_token(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, &error) == CLOPOS_AUTH_OK)
 *         send_request_with_header("x-token", token->value);
 *     else
 *         fprintf(stderr, "%s\n", error ? error->message : "out of memory");
 *     clopos_auth_token_free(token);      // after each use; get_token() is cheap, call it each time
 *     clopos_auth_error_free(error);
 *     clopos_auth_client_free(client);    // once, at the end of the program
 *
 * OWNERSHIP
 *
 *   Every output is the caller's and is freed with the function of its type: clopos_auth_token_free,
 *   clopos_auth_error_free, clopos_auth_client_free, clopos_auth_config_free. Never with free(): the
 *   library has its own allocator. Freeing NULL does nothing. Outputs are set to NULL (or 0) first; on
 *   failure nothing else is written. `err` may always be NULL. An error is handed out only together
 *   with a status other than OK (and may be NULL even then, if memory ran out).
 *
 *   Where there is no memory for the token that get_token() hands out while one is cached, the status
 *   is INTERNAL; for an error object, the error is NULL. copy_token() of a cached token takes none, and
 *   invalidate() none without a log function, after the thread's first call: that one takes about 300
 *   bytes, which the next new thread uses again (unless the first call came from a destructor of
 *   pthread_key_create()). Memory that runs out anywhere else (making a client, a request, the text
 *   of an error) ends the process with abort(), as in every Rust program: nothing is left half done.
 *
 *   clopos_auth_client and clopos_auth_config are not addresses but keys into a table of the library:
 *   freed twice, used after they were freed, made up or mixed up, they give INVALID_HANDLE and never
 *   touch memory. clopos_auth_token and clopos_auth_error are addresses, so that you can read them: free
 *   each exactly once.
 *
 * ENCODING
 *
 *   Texts are NUL-terminated UTF-8 in both directions. Inputs are copied before a call returns. NULL,
 *   the empty text, text that is not UTF-8, control characters and absurd lengths are
 *   INVALID_ARGUMENT, and the message names the argument.
 *
 * THREADS
 *
 *   A client may be used by any number of threads at any time, also freed while others are inside its
 *   calls: they return CANCELLED at once. A config belongs to one thread at a time. Tokens and errors
 *   never change: any thread may read them. There is no error state per thread or per client; each
 *   failure is in its own object. Requests run on a thread of the library's own, which exists only while
 *   a request is under way. A name is looked up on one more thread, since the system's resolver cannot be
 *   interrupted: if no name server answers, that thread ends when the resolver gives up (10 to 30 s with the
 *   usual settings), also after the client was freed; a client has at most four of them. It holds no
 *   secret. No function is safe in a signal handler.
 *
 *   Apart from that, every function may be called at any moment of a process: from constructors of
 *   static objects, from atexit() handlers and destructors of static and thread-local objects, while
 *   other threads run, in a forked child, inside the log function. Two limits: the loader of the system
 *   holds a lock while it loads or unloads a library (dlopen(), dlclose(), DllMain). In a constructor or
 *   destructor that it calls then, a call that waits for a request ends with TIMEOUT. On other threads
 *   clopos_auth_config_new(), clopos_auth_client_new(), the thread's first call and its first one that
 *   starts a request wait until it has returned, whatever their `timeout_ms` is. And a thread must not be
 *   ended inside a call (pthread_cancel(), TerminateThread()): if it is sending the request itself,
 *   because no other could be started, pthread_cancel() ends the process with abort().
 *
 *   On the library's thread every signal is blocked that is blocked on the thread whose call started it,
 *   and all others too, except for the thread's own faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
 *   SIGSYS) and those that runtimes stop threads with (on Linux SIGPWR, SIGXCPU and the real-time signals).
 *   So block what you read with sigwait() or signalfd() on every thread that calls.
 *
 *   A thread that calls needs 64 KiB of stack; a log function of yours comes on top. If the
 *   library can start no thread of its own, the request runs on the stack of the call that needs it, which
 *   then takes 256 KiB. clopos_auth_cancel() does not end that call; its timeout does, except during name
 *   resolution, and so does clopos_auth_client_free().
 *
 *   After fork() the child's first call starts clean, with its own request and its own connection.
 *   The library stays loaded: dlclose() and FreeLibrary() do not unload it, nor, once it has made a config or
 *   a client, a library of yours that contains it as a static library. On Windows, when the process
 *   ends and its DLLs are detached, the other threads are gone: the first call then starts clean, too, and
 *   a request runs on the thread of the call.
 *
 * TIME
 *
 *   `timeout_ms` bounds a whole call: DNS, connecting, TLS, retries, waiting for another thread. 0
 *   never waits, CLOPOS_AUTH_TIMEOUT_DEFAULT is the configured time (30 s unless set). Tokens live on a
 *   clock that counts sleep and ignores the device's date, from when the request was sent.
 *
 * ERRORS
 *
 *   Every function that can fail returns a clopos_auth_status, 0 for success. Numbers are never reused
 *   and new ones may come: treat an unknown number as a failure. For a decision in a program use
 *   `status`, `retryable` and `retry_after_ms`; `message` is for logs and people.
 *
 * SECRETS
 *
 *   No log line, error or message of this library holds the client secret or a token. Its own copies
 *   are wiped when they are dropped. What you copy, you wipe.
 *
 *   On Linux, link your program with `-z now` (gcc: -Wl,-z,now) or run it with LD_BIND_NOW=1. Otherwise
 *   the loader looks a function up at its first call and meanwhile saves the processor's vector
 *   registers on the caller's stack, and after a copy these can hold up to 64 bytes of a token or a secret.
 */

#ifndef CLOPOS_AUTH_H
#define CLOPOS_AUTH_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header; clopos_auth_version() tells the library's. */
#define CLOPOS_AUTH_VERSION "1.1.0"
#define CLOPOS_AUTH_VERSION_NUMBER 0x010100

/* How the functions of this library are called, and yours that it calls, whatever the compiler's default
 * is (/Gz and /Gr of Visual Studio change it). Put it before the name of a function that you hand over:
 *
 *     static void CLOPOS_AUTH_CALL log_line(int32_t level, const char *line, void *user)
 *
 * Since 1.1. */
#if defined(_WIN32)
#define CLOPOS_AUTH_CALL __cdecl
#else
#define CLOPOS_AUTH_CALL
#endif


/**
 * As `timeout_ms`: the time that `clopos_auth_config_set_timeout_ms()` set, by default 30 000 ms.
 */
#define CLOPOS_AUTH_TIMEOUT_DEFAULT UINT32_MAX

/**
 * No token is longer, in bytes without the NUL: a buffer of this plus 1 always fits.
 */
#define CLOPOS_AUTH_TOKEN_MAX 8192

/**
 * The result of a call. `CLOPOS_AUTH_OK` is 0, every other number is a failure.
 *
 * Always 32 bits wide. A newer library may return a number that this header does not know: treat it
 * as a failure, and print it with `clopos_auth_status_name()`.
 */
enum clopos_auth_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The call succeeded.
     */
    CLOPOS_AUTH_OK = 0,
    /**
     * An argument is NULL, empty, too long, out of range, not UTF-8, or contains a control
     * character. The message names the argument. Nothing was done.
     */
    CLOPOS_AUTH_INVALID_ARGUMENT = 1,
    /**
     * The handle was never created by this library, was already freed, or is of the wrong type.
     */
    CLOPOS_AUTH_INVALID_HANDLE = 2,
    /**
     * The buffer cannot hold the token and its NUL; `*needed` is the required size in bytes. The
     * token stays cached: call again with a larger buffer.
     */
    CLOPOS_AUTH_BUFFER_TOO_SMALL = 3,
    /**
     * Out of memory, threads, handles or random numbers, or a bug in this library (please report
     * it); the message says which. The client stays usable.
     */
    CLOPOS_AUTH_INTERNAL = 4,
    /**
     * The timeout was 0 and there is no token yet. A request is in progress: call again.
     */
    CLOPOS_AUTH_WOULD_WAIT = 5,
    /**
     * `clopos_auth_cancel()` was called, or the client was freed, while this call was waiting.
     */
    CLOPOS_AUTH_CANCELLED = 6,
    /**
     * The call's timeout expired, or the service did not respond within the attempt timeout, or
     * it answered HTTP 408.
     */
    CLOPOS_AUTH_TIMEOUT = 7,
    /**
     * The host name of the service could not be resolved: DNS or the network is down, or the name
     * is wrong. (A proxy's name that cannot be resolved is PROXY.)
     */
    CLOPOS_AUTH_DNS = 8,
    /**
     * No connection could be made, or it broke before the response was complete.
     */
    CLOPOS_AUTH_CONNECT = 9,
    /**
     * The server's certificate is not trusted (unknown issuer: add the CA of a TLS-inspecting
     * proxy; or wrong host name), or the server does not support TLS 1.2 or newer.
     */
    CLOPOS_AUTH_TLS = 10,
    /**
     * The server's certificate is not valid *at this device's date*. Usually the device's clock
     * is wrong; the message has both dates.
     */
    CLOPOS_AUTH_CLOCK = 11,
    /**
     * The HTTP proxy is unreachable, or it refused (`http_status` is its response).
     */
    CLOPOS_AUTH_PROXY = 12,
    /**
     * The service refused the sign-in. Signing in again fails until the client id, secret, brand
     * or integrator id is corrected (the error's `reason` and message say which); many attempts
     * may lock the whole store out. Since 1.1 also if the service refuses the tokens that it
     * issues: see `clopos_auth_invalidate()`.
     */
    CLOPOS_AUTH_REJECTED = 13,
    /**
     * Too many requests: the service answered 429, or this client reached its
     * `requests_per_minute` (then `http_status` is 0). `retry_after_ms` is the time to wait.
     */
    CLOPOS_AUTH_RATE_LIMITED = 14,
    /**
     * The service failed (HTTP 5xx). It usually recovers without any change here.
     */
    CLOPOS_AUTH_SERVER = 15,
    /**
     * The response is not one of the service: for example a captive portal's page (also with HTTP
     * 400 to 403 or 511), a truncated or oversized body, a token that is not allowed in a header;
     * or the sign-in has moved (HTTP 404, 410 or a redirect).
     */
    CLOPOS_AUTH_PROTOCOL = 16,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_status clopos_auth_status;
#else
typedef int32_t clopos_auth_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Why the service refused a sign-in, as far as its answer says. Since 1.1.
 *
 * For messages to people and for reports only: it is derived from the service's texts, which may
 * change at any time. Decide by `status` and `retryable`.
 *
 * Always 32 bits wide. Later versions may add numbers: treat an unknown one as
 * `CLOPOS_AUTH_REASON_UNKNOWN`.
 */
enum clopos_auth_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The answer does not say, or the status is not REJECTED.
     */
    CLOPOS_AUTH_REASON_UNKNOWN = 0,
    /**
     * Client id, client secret or brand is wrong. They belong to the store, whose back office shows
     * the first two (Add-ons, Open API).
     */
    CLOPOS_AUTH_REASON_CREDENTIALS = 1,
    /**
     * The integrator id is unknown or disabled: every store of this integration fails, not one. It
     * belongs to the integrator, who got it from Clopos.
     */
    CLOPOS_AUTH_REASON_INTEGRATOR = 2,
    /**
     * A test integrator id with a production brand, or the other way round.
     */
    CLOPOS_AUTH_REASON_ENVIRONMENT = 3,
    /**
     * The store has switched off its Open API access in its back office (Add-ons, Open API).
     */
    CLOPOS_AUTH_REASON_DISABLED = 4,
    /**
     * The service found a field of the request missing or empty.
     */
    CLOPOS_AUTH_REASON_MISSING_FIELD = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_reason clopos_auth_reason;
#else
typedef int32_t clopos_auth_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which root certificates are trusted, in addition to those that are added.
 */
enum clopos_auth_roots
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Mozilla's, compiled in. The default.
     */
    CLOPOS_AUTH_ROOTS_BUNDLED = 0,
    /**
     * The system's certificate store, read when the first request is made.
     */
    CLOPOS_AUTH_ROOTS_SYSTEM = 1,
    /**
     * Only added certificates. With a private CA this is pinning.
     */
    CLOPOS_AUTH_ROOTS_NONE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_roots clopos_auth_roots;
#else
typedef int32_t clopos_auth_roots;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The severity of a log line; a lower number is more severe.
 */
enum clopos_auth_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * An attempt failed and is not retried: rejected credentials, untrusted certificate, wrong
     * clock, unexpected response, a proxy's 4xx.
     */
    CLOPOS_AUTH_LOG_ERROR = 1,
    /**
     * An attempt failed with a transient error, a refresh failed, or a credential begins or ends
     * with a space or a quote.
     */
    CLOPOS_AUTH_LOG_WARN = 2,
    /**
     * A token was obtained, or invalidated by the caller.
     */
    CLOPOS_AUTH_LOG_INFO = 3,
    /**
     * Every attempt and every wait.
     */
    CLOPOS_AUTH_LOG_DEBUG = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_log_level clopos_auth_log_level;
#else
typedef int32_t clopos_auth_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Signs in to the service and keeps the token. Opaque: a key, not an address, so a stale or made-up
 * one gives INVALID_HANDLE, never a crash. (For bindings: keep it as an integer or as a pointer to an
 * incomplete type, since its value may look like an address in a collector's heap.) Any number of
 * threads may use one client at any time, and one may free it while others are inside its calls.
 */
typedef struct clopos_auth_client clopos_auth_client;

/**
 * The settings of a client, all at their defaults when made. Opaque. One thread at a time; free it
 * once the clients are made, they keep copies.
 */
typedef struct clopos_auth_config clopos_auth_config;

/**
 * A token. Made by the library, read-only, the caller's until `clopos_auth_token_free()`, which wipes
 * it. Independent of the client: it stays readable after the client is freed, and any thread may
 * read it. A later version may add fields at the end: never copy or allocate this struct by its size.
 */
typedef struct clopos_auth_token {
    /**
     * The JWT, NUL-terminated: 1 to 8192 visible ASCII characters, safe to put into a header. Send it
     * as it is in the header `x-token`.
     */
    const char *value;
    /**
     * The length of `value` in bytes, without the NUL.
     */
    size_t value_len;
    /**
     * "Bearer", as the service says; the header `x-token` does not want it.
     */
    const char *token_type;
    /**
     * When the token ends, in Unix seconds on the *server's* clock; this device's may differ. At most
     * 253402300799, the end of the year 9999.
     */
    int64_t expires_at;
    /**
     * Seconds that the token had left when it was handed out, whatever the device's date says.
     */
    int64_t expires_in;
    /**
     * The number of the token: the same each time that this token is handed out, never that of another
     * token in this process, never 0. See `clopos_auth_current()`. Since 1.1: read it only if
     * `clopos_auth_version_number()` is at least 0x010100.
     */
    uint64_t serial;
} clopos_auth_token;

/**
 * Why a call failed. Made by the library, read-only, the caller's until `clopos_auth_error_free()`.
 * Independent of the client; any thread may read it. A later version may add fields at the end: never
 * copy or allocate this struct by its size.
 */
typedef struct clopos_auth_error {
    /**
     * The number that the call returned.
     */
    clopos_auth_status status;
    /**
     * The HTTP status of the response (of the proxy's, if `status` is PROXY); 0 where no response was
     * received.
     */
    int32_t http_status;
    /**
     * 1: the same call may succeed later without anybody changing anything. 0: somebody has to act.
     */
    int32_t retryable;
    /**
     * Milliseconds until the next call can lead to a request; -1 where that is not known.
     */
    int64_t retry_after_ms;
    /**
     * What the service gave in the body's "error" field, an identifier or a sentence; NULL if nothing.
     * At most 512 bytes on one line, with secrets and tokens masked.
     */
    const char *server_code;
    /**
     * One line for a log: never NULL, never a secret. Its wording may change in any version.
     */
    const char *message;
    /**
     * Why the service refused the sign-in, if `status` is REJECTED: for people and reports. Since 1.1:
     * read it only if `clopos_auth_version_number()` is at least 0x010100.
     */
    clopos_auth_reason reason;
} clopos_auth_error;

/**
 * What was known of a client when `clopos_auth_get_state()` was called. Made by the library, read-only,
 * the caller's until `clopos_auth_state_free()`. Independent of the client; any thread may read it. A
 * later version may add fields at the end: never copy or allocate this struct by its size. Since 1.1.
 *
 * The counts are those of this process: in a child of `fork()` they start at 0.
 */
typedef struct clopos_auth_state {
    /**
     * 1: there is a token that has not expired. 0: there is none.
     */
    int32_t has_token;
    /**
     * 1: `clopos_auth_get_token()` gives the token without waiting. 0: it waits for a new one first.
     */
    int32_t is_fresh;
    /**
     * 1: a sign-in is running: a request is under way, or its next attempt is being waited for.
     */
    int32_t request_in_flight;
    /**
     * Milliseconds until the token expires; -1: there is none.
     */
    int64_t expires_in_ms;
    /**
     * Milliseconds until the token is due to be replaced, 0 if it is; -1: there is none. The first call that
     * needs a token after that starts the request.
     */
    int64_t refresh_in_ms;
    /**
     * Milliseconds until the next request may be sent, as after a failure; 0: at once.
     */
    int64_t next_request_in_ms;
    /**
     * How the last request that has finished ended, OK if it brought a token and if there was none.
     * REJECTED also where the service refused that token within a minute, see `clopos_auth_invalidate()`.
     */
    clopos_auth_status last_status;
    /**
     * The HTTP status of that request's response (of the proxy's, if `last_status` is PROXY); 0 where no
     * response was received.
     */
    int32_t last_http_status;
    /**
     * Milliseconds since then; -1: no request has finished yet.
     */
    int64_t last_result_age_ms;
    /**
     * How many requests were made, also such that did not reach the service.
     */
    uint64_t requests;
    /**
     * How many of them failed.
     */
    uint64_t failures;
    /**
     * The message that belongs to `last_status`: one line for a log, never a secret. NULL if that is OK.
     */
    const char *last_message;
} clopos_auth_state;

/**
 * Receives log lines: `level` is a CLOPOS_AUTH_LOG_* number, `line` one NUL-terminated UTF-8 line
 * without a line break, valid during the call, never holding a secret; `user` is what was passed with
 * the function.
 *
 * Called from any thread, several at once, never with a lock held: it may call this library, even
 * `clopos_auth_client_free()`. A request waits while its log function runs, so inside it a call with the
 * same client never waits, whatever its `timeout_ms` is: it gives WOULD_WAIT, the last error or a token
 * that is there. It must not throw, `longjmp` or unwind. It is not called after
 * `clopos_auth_client_free()` has returned; if it called that itself, it is still running then, and
 * `user` has to outlive it. In a runtime that is taken down before its process ends (an interpreter, a
 * managed runtime), free the client first.
 */
typedef void (CLOPOS_AUTH_CALL *clopos_auth_log_fn)(int32_t level, const char *line, void *user);

/**
 * Told that a call with a timeout of 0 gives something new: `status` is OK if there is a new token,
 * otherwise what the last request failed with (a CLOPOS_AUTH_* number); `user` is what was passed with
 * the function. Called once each time that a request of the client has ended, and when a sign-in finds
 * that it has to wait before it can send one. The token or the error is there already. Not called for
 * `clopos_auth_invalidate()` and `clopos_auth_cancel()`. Since 1.1.
 *
 * For event loops: call `clopos_auth_get_token()` with a timeout of 0. WOULD_WAIT says that a sign-in is
 * running: return to the loop, let this function post an event to it (write to an eventfd or a pipe,
 * PostMessage()), and call again at the event. After an error, call again at the next event or after the
 * error's `retry_after_ms`, whichever comes first: if the sign-in has further attempts, it goes on by
 * itself (`request_in_flight` of `clopos_auth_get_state()` is 1), else the next call starts another.
 *
 * Called from any thread with no lock held. The same rules as for `clopos_auth_log_fn`: it may call this
 * library, even `clopos_auth_client_free()`; a sign-in waits while it runs, so a call with the same client
 * never waits inside it; it must not throw, `longjmp` or unwind; it is not called after
 * `clopos_auth_client_free()` has returned; if it called that itself, it is still running then, and `user`
 * has to outlive it. Several calls may run at once if one takes longer than the next sign-in. Where the
 * library can start no thread, it runs inside a call of yours: hold no lock around calls that this
 * function takes as well.
 */
typedef void (CLOPOS_AUTH_CALL *clopos_auth_change_fn)(int32_t status, void *user);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Wipes and frees a token. NULL is allowed and does nothing. Pass each token exactly once, and
 * nothing that is not from this library: unlike a client, a token is a real address.
 */
void CLOPOS_AUTH_CALL
clopos_auth_token_free(struct clopos_auth_token *token);

/**
 * Frees an error. NULL is allowed and does nothing. Pass each error exactly once, and nothing that
 * is not from this library.
 */
void CLOPOS_AUTH_CALL
clopos_auth_error_free(struct clopos_auth_error *error);

/**
 * Frees a state. NULL is allowed and does nothing. Pass each state exactly once, and nothing that is
 * not from this library. Since 1.1.
 */
void CLOPOS_AUTH_CALL
clopos_auth_state_free(struct clopos_auth_state *state);

/**
 * Makes settings with all defaults. NULL only if memory or handles ran out: check it, since
 * `clopos_auth_client_new()` takes NULL for the defaults. Any thread. Free it with
 * `clopos_auth_config_free()`.
 */
struct clopos_auth_config *CLOPOS_AUTH_CALL
clopos_auth_config_new(void);

/**
 * Frees settings. NULL, and a handle that was already freed, do nothing. Clients that were made with
 * them are not affected.
 */
void CLOPOS_AUTH_CALL
clopos_auth_config_free(struct clopos_auth_config *config);

/**
 * Where the service is: "https://HOST[:PORT][/PREFIX]", at most 2048 bytes, without user name, query
 * or fragment; the path of the sign-in is added (see `clopos_auth_config_set_auth_path()`). Default: "https://integrations.clopos.com". Plain
 * "http://" is accepted for this device itself (localhost, 127.0.0.0/8, [::1]) and, with
 * `clopos_auth_config_set_allow_plain_http()`, for any host; that is decided in
 * `clopos_auth_client_new()`. Without that permission it connects to loopback addresses only,
 * whatever the name resolves to, and uses no proxy (since 1.1).
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_base_url(struct clopos_auth_config *config,
                                const char *base_url,
                                struct clopos_auth_error **err);

/**
 * The path of the sign-in, which is added to the base URL: 1 to 256 bytes, beginning with one "/", percent-encoded
 * as in a URL, without query or fragment. Default: "/open-api/v2/auth". Set it if the service has moved the
 * sign-in: PROTOCOL with `http_status` 404, 410 or 3xx says so, and its message names the path. It cannot
 * name another host; `clopos_auth_config_set_base_url()` does. Since 1.1.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_auth_path(struct clopos_auth_config *config,
                                 const char *auth_path,
                                 struct clopos_auth_error **err);

/**
 * How long a call may take in all when its `timeout_ms` is CLOPOS_AUTH_TIMEOUT_DEFAULT: 1 to
 * 3 600 000 ms. Default: 30 000.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_timeout_ms(struct clopos_auth_config *config,
                                  uint32_t timeout_ms,
                                  struct clopos_auth_error **err);

/**
 * How long one attempt may take, from name resolution to the last byte of the answer: 1 to
 * 600 000 ms. Default: 10 000 (the service itself gives up on its upstream after 8 000).
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_attempt_timeout_ms(struct clopos_auth_config *config,
                                          uint32_t attempt_timeout_ms,
                                          struct clopos_auth_error **err);

/**
 * How many attempts one exchange may take before its callers get an error: 1 to 10. Default: 3. Only
 * troubles that pass by themselves are tried again: no name, no connection, time-outs, HTTP 5xx, 429.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_max_attempts(struct clopos_auth_config *config,
                                    uint32_t max_attempts,
                                    struct clopos_auth_error **err);

/**
 * The most requests that this client sends in any minute, whatever its callers do: 1 to 60.
 * Default: 12. The service allows 60 a minute for all devices behind one public IP address together
 * (Clopos' page on rate limits), so five devices at their worst still fit.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_requests_per_minute(struct clopos_auth_config *config,
                                           uint32_t requests_per_minute,
                                           struct clopos_auth_error **err);

/**
 * Which root certificates are trusted, beside added ones: a CLOPOS_AUTH_ROOTS_* number. Default:
 * CLOPOS_AUTH_ROOTS_BUNDLED.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_roots(struct clopos_auth_config *config,
                             int32_t roots,
                             struct clopos_auth_error **err);

/**
 * Trusts more root certificates: `pem` is the *content* of a PEM file, `pem_len` its length in bytes
 * (no NUL needed, 1 MiB at most), with one or more BEGIN CERTIFICATE blocks. For a TLS-inspecting
 * proxy's CA, or, together with CLOPOS_AUTH_ROOTS_NONE, to trust a private CA only. May be called
 * several times; each adds. If it fails, nothing of `pem` was added.
 *
 * A server cannot use a CA's certificate (CA:TRUE) as its own, even if it is added here: "openssl req
 * -x509" makes such a one. Add the CA and let the server use a certificate that it has issued, or make
 * the self-signed certificate with CA:FALSE.
 *
 * Errors: INVALID_ARGUMENT (empty, binary DER, damaged, a private key, no certificate inside),
 * INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_add_ca_pem(struct clopos_auth_config *config,
                              const char *pem,
                              size_t pem_len,
                              struct clopos_auth_error **err);

/**
 * What connections go through: "environment" (the default: HTTPS_PROXY, ALL_PROXY and NO_PROXY, read
 * once, in `clopos_auth_client_new()`, not again in a forked child; localhost never goes through it),
 * "none", or "http://[USER[:PASSWORD]@]HOST[:PORT]" (percent-encoded, at most 2048 bytes, port 80 unless
 * given). A variable that cannot be used, such as a SOCKS proxy, makes `clopos_auth_client_new()` fail
 * with PROXY (not retryable) if the service would be reached through it.
 *
 * The first client of a process reads the proxy variables in any case, since the HTTP library does; later
 * ones read them only with "environment". No thread may call setenv() while a client is made.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_proxy(struct clopos_auth_config *config,
                             const char *proxy,
                             struct clopos_auth_error **err);

/**
 * Names the host program in the User-Agent header, before this library's own
 * "libclopos_auth/VERSION": 1 to 256 printable ASCII characters, such as "MyTill/4.2".
 * Default: only the library's own.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_user_agent(struct clopos_auth_config *config,
                                  const char *user_agent,
                                  struct clopos_auth_error **err);

/**
 * 1 permits "http://" to other hosts than this device: the secret then crosses the network readable
 * by anybody, so for test benches only. 0, the default, forbids it.
 *
 * Errors: INVALID_ARGUMENT (neither 0 nor 1), INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_allow_plain_http(struct clopos_auth_config *config,
                                        int32_t allow,
                                        struct clopos_auth_error **err);

/**
 * Sends log lines up to `level` (a CLOPOS_AUTH_LOG_* number: ERROR is least, DEBUG is most) to
 * `log`, with `user` passed along. `log` NULL switches logging off, the default; `level` and `user`
 * are then ignored. `user` must stay valid until every client that was made with these settings is
 * freed.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_log(struct clopos_auth_config *config,
                           int32_t level,
                           clopos_auth_log_fn log,
                           void *user,
                           struct clopos_auth_error **err);

/**
 * Calls `on_change` each time that a request of the client has ended, with `user` passed along: see
 * `clopos_auth_change_fn`. NULL switches that off, the default; `user` is then ignored. `user` must stay
 * valid until every client that was made with these settings is freed. Since 1.1.
 *
 * Errors: INVALID_HANDLE.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_on_change(struct clopos_auth_config *config,
                                 clopos_auth_change_fn on_change,
                                 void *user,
                                 struct clopos_auth_error **err);

/**
 * Makes a client. Copies all its arguments; sends nothing yet.
 *
 * `client_id`, `client_secret`, `brand`, `integrator_id`: as issued by Clopos, NUL-terminated UTF-8,
 * 1 to 1024 bytes, no control characters.
 * `config`: NULL for the defaults; copied, may be freed at once.
 * `out`: receives the client; free it with `clopos_auth_client_free()`. NULL on failure.
 * `err`: may be NULL; receives an error to free on failure, else NULL.
 *
 * Errors: INVALID_ARGUMENT (also for settings that do not go together: plain http to another host,
 * CLOPOS_AUTH_ROOTS_NONE without an added certificate), INVALID_HANDLE (`config`), PROXY (an unusable
 * URL in the environment), INTERNAL.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_client_new(const char *client_id,
                       const char *client_secret,
                       const char *brand,
                       const char *integrator_id,
                       const struct clopos_auth_config *config,
                       struct clopos_auth_client **out,
                       struct clopos_auth_error **err);

/**
 * Frees a client: wipes its token and credentials, closes its connections. NULL, and a handle that
 * was already freed, do nothing. Any thread, also while others are inside calls with this client:
 * those return CANCELLED at once. Waits for nothing but a log or change function of this client that is
 * running on another thread; after that neither is called again. Where several threads free the same
 * client at once, that is true for each of them.
 *
 * A request that is under way is broken off. The system's resolver cannot be: while it looks a name up, with a
 * silent name server for some 15 seconds, its thread stays. So 200 clients that are freed then leave up
 * to 200 threads for that time, or a few for each client if it had tried several times.
 */
void CLOPOS_AUTH_CALL
clopos_auth_client_free(struct clopos_auth_client *client);

/**
 * Signs in now: always asks the service, or joins a request of this client that is already in the
 * air. The new token replaces the cached one. For a "test the credentials" button; programs that just
 * need a token call `clopos_auth_get_token()`.
 *
 * `timeout_ms`: bounds the whole call; 0 never waits (WOULD_WAIT, and a request is started, whose
 * token `clopos_auth_get_token()` will give); CLOPOS_AUTH_TIMEOUT_DEFAULT is the configured time.
 * `out`: receives the token; free it with `clopos_auth_token_free()`. NULL on failure.
 * `err`: may be NULL; receives an error to free on failure, else NULL.
 *
 * Errors: every status but OK and BUFFER_TOO_SMALL. Any thread.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_authenticate(struct clopos_auth_client *client,
                         uint32_t timeout_ms,
                         struct clopos_auth_token **out,
                         struct clopos_auth_error **err);

/**
 * Gets a token: the cached one while it is fresh, at once and without a lock; else asks the service.
 * Call it before every request instead of keeping a token yourself.
 *
 * A token is fresh until 60 s (or a tenth of its life, if that is less) before its end. Well before
 * that the library starts to replace it in the background, and nobody waits. If that fails, the old
 * token is served to its true end and never past it.
 *
 * While the next request has to wait, as after a refusal, a call without a token gives the last error
 * at once. Wait for its `retry_after_ms` before the next call: a thread that calls in a loop without a
 * pause keeps a processor core busy.
 *
 * `timeout_ms`: bounds the whole call: DNS, connecting, TLS, retries, waiting for another thread's
 * request. 0 never waits (WOULD_WAIT, and a request is started). CLOPOS_AUTH_TIMEOUT_DEFAULT is the
 * configured time.
 * `out`: receives the token; free it with `clopos_auth_token_free()`. NULL on failure.
 * `err`: may be NULL; receives an error to free on failure, else NULL.
 *
 * Errors: every status but OK and BUFFER_TOO_SMALL. Any thread.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_get_token(struct clopos_auth_client *client,
                      uint32_t timeout_ms,
                      struct clopos_auth_token **out,
                      struct clopos_auth_error **err);

/**
 * Copies a token, as `clopos_auth_get_token()` would give it, into the caller's buffer: nothing to
 * free, no use of the heap while the token is fresh.
 *
 * `buf`, `cap`: receive the token and a NUL. On failure `buf` holds the empty string (if `cap` is not
 * 0). `buf` may be NULL if `cap` is 0. Tokens are about 400 bytes today and CLOPOS_AUTH_TOKEN_MAX at most.
 * `needed`: may be NULL; receives the bytes that the token and its NUL take, on OK and on
 * BUFFER_TOO_SMALL, else 0.
 * `expires_at`: may be NULL; receives the token's end in Unix seconds on the server's clock; 0 on
 * failure.
 *
 * Errors: every status but OK; BUFFER_TOO_SMALL if `cap` is less than `*needed`. Any thread. The
 * caller wipes `buf`.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_copy_token(struct clopos_auth_client *client,
                       uint32_t timeout_ms,
                       char *buf,
                       size_t cap,
                       size_t *needed,
                       int64_t *expires_at,
                       struct clopos_auth_error **err);

/**
 * The number of the token that `clopos_auth_get_token()` would give now without doing anything else: its
 * `serial`. 0 if it would do more, since there is no fresh token or it is time to replace it: call it. For
 * wrappers that keep a token object of their own: while the number is the same, the object is current.
 * Costs less than `clopos_auth_copy_token()`: no lock, no allocation. Since 1.1.
 *
 * `expires_in`: may be NULL; receives the seconds that the token has left, 0 if the number is 0.
 *
 * 0 also for a handle that is not valid. Any thread, never waits.
 */
uint64_t CLOPOS_AUTH_CALL
clopos_auth_current(const struct clopos_auth_client *client,
                    int64_t *expires_in);

/**
 * What is known of a client at this moment, for a status display, a health check or a report. Never sends
 * a request, and never waits for one. Since 1.1.
 *
 * `out`: receives the state; free it with `clopos_auth_state_free()`. NULL on failure.
 * `err`: may be NULL; receives an error to free on failure, else NULL.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE, INTERNAL (out of memory). Any thread.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_get_state(const struct clopos_auth_client *client,
                      struct clopos_auth_state **out,
                      struct clopos_auth_error **err);

/**
 * Forgets the cached token, because the service refused it (HTTP 401 on another endpoint): the next
 * call asks for a new one. Only the token that was refused is forgotten, so any number of threads may
 * report the same 401 and one request follows, and a late report does not harm a newer token.
 *
 * Since 1.1: a token that is refused within a minute of its issue (or the first half of its life, if
 * that is less) says that the service refuses what it issues, and another sign-in would not help. The
 * next one waits 5 s, doubling to 5 min, with at most two in a minute, until a token has lived for that
 * minute. Until then calls that need a token return REJECTED at once, with `retry_after_ms`: hand the
 * 401 to whoever made the request.
 *
 * `rejected_value`: the refused token's text, not empty; NULL means whichever is cached.
 *
 * Errors: INVALID_ARGUMENT, INVALID_HANDLE. Any thread, never waits.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_invalidate(struct clopos_auth_client *client,
                       const char *rejected_value);

/**
 * Makes every call that is waiting with this client return CANCELLED, soon and on its own thread. A
 * request in the air goes on, for those who call later; the client stays usable. To end one call only,
 * give that call a `timeout_ms`. No effect on a call that sends the request itself because no thread
 * can be started (chapter THREADS).
 *
 * Errors: INVALID_HANDLE. Any thread, never waits.
 */
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_cancel(struct clopos_auth_client *client);

/**
 * The name of a status number for a log, without the prefix: "REJECTED". "UNKNOWN" for a number that
 * this version does not have. Never NULL; a constant, not to be freed. Any thread, any time.
 */
const char *CLOPOS_AUTH_CALL
clopos_auth_status_name(int32_t status);

/**
 * The version of the library that is running, "MAJOR.MINOR.PATCH". A constant, not to be freed.
 * CLOPOS_AUTH_VERSION is the version of the header that the program was compiled with.
 */
const char *CLOPOS_AUTH_CALL
clopos_auth_version(void);

/**
 * The version of the library that is running as a number to compare: MAJOR * 0x10000 + MINOR * 0x100
 * + PATCH. Greater or equal to CLOPOS_AUTH_VERSION_NUMBER with the same MAJOR is compatible.
 */
uint32_t CLOPOS_AUTH_CALL
clopos_auth_version_number(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CLOPOS_AUTH_H */
