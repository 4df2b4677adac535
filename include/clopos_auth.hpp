/* libclopos_auth for C++17 and newer: the C interface of <clopos_auth.h> with destructors, exceptions
 * and std::chrono. Header-only; needs that header, the library, and nothing else.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * IN TEN LINES
 *
 *     try {
 *         clopos_auth::client clopos(id, secret, brand, integrator);   // once, for the whole program
 *         const auto token = clopos.get_token();                       // before each request: cheap
 *         send_request_with_header("x-token", token.c_str());
 *     } catch (const clopos_auth::error &e) {
 *         std::cerr << e.what() << '\n';                               // "REJECTED: the service ..."
 *     }
 *
 * and without exceptions:
 *
 *     if (auto token = clopos.try_get_token(2s))
 *         send_request_with_header("x-token", token->c_str());
 *     else if (token.error().status() == clopos_auth::status::rejected)
 *         ask_for_other_credentials();
 *
 * OWNERSHIP
 *
 *   client, config and token are move-only and release what they hold when they end. One that was
 *   moved from may be destroyed, assigned to, and used: a client or config then gives INVALID_HANDLE,
 *   a token is empty. An error can be copied, and copies cost nothing.
 *
 * TEXTS
 *
 *   Texts go in as `const char *` or `std::string`, in UTF-8; they are copied before a call returns.
 *   A null pointer (a getenv() that found nothing) is INVALID_ARGUMENT, and so is a std::string with
 *   a NUL inside. A std::string_view has no NUL at its end: make a std::string of it first. Texts come
 *   out as std::string_view into the object that gave them.
 *
 * THREADS
 *
 *   Every member of client may be called by any number of threads at any time, close() included: calls
 *   in progress then fail with CANCELLED, later ones with INVALID_HANDLE. As with every C++ object,
 *   destroying, moving or assigning one while another thread uses it is not allowed: close(), join,
 *   destroy. A config belongs to one thread at a time. Tokens and errors are read-only.
 *
 * FAILURES
 *
 *   Each member that can fail comes twice: get_token() throws clopos_auth::error, try_get_token()
 *   returns a result that holds the token or the error. Neither throws anything else but
 *   std::bad_alloc. With exceptions switched off (-fno-exceptions) only the second form is there.
 *   What each status means, and when it arises, stands in <clopos_auth.h>.
 */

#ifndef CLOPOS_AUTH_HPP
#define CLOPOS_AUTH_HPP

#include <clopos_auth.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define CLOPOS_AUTH_EXCEPTIONS 1
#else
#define CLOPOS_AUTH_EXCEPTIONS 0
#endif

namespace clopos_auth {

/* What a call came to: the CLOPOS_AUTH_* numbers, documented there. A newer library may return one
 * that is not listed here. */
enum class status : std::int32_t {
    ok = CLOPOS_AUTH_OK,
    invalid_argument = CLOPOS_AUTH_INVALID_ARGUMENT,
    invalid_handle = CLOPOS_AUTH_INVALID_HANDLE,
    buffer_too_small = CLOPOS_AUTH_BUFFER_TOO_SMALL,
    internal = CLOPOS_AUTH_INTERNAL,
    would_wait = CLOPOS_AUTH_WOULD_WAIT,
    cancelled = CLOPOS_AUTH_CANCELLED,
    timeout = CLOPOS_AUTH_TIMEOUT,
    dns = CLOPOS_AUTH_DNS,
    connect = CLOPOS_AUTH_CONNECT,
    tls = CLOPOS_AUTH_TLS,
    clock = CLOPOS_AUTH_CLOCK,
    proxy = CLOPOS_AUTH_PROXY,
    rejected = CLOPOS_AUTH_REJECTED,
    rate_limited = CLOPOS_AUTH_RATE_LIMITED,
    server = CLOPOS_AUTH_SERVER,
    protocol = CLOPOS_AUTH_PROTOCOL,
};

/* Why the service refused a sign-in, as far as its answer says: the CLOPOS_AUTH_REASON_* numbers. For
 * messages to people, not for decisions. A newer library may return one that is not listed here. */
enum class reason : std::int32_t {
    unknown = CLOPOS_AUTH_REASON_UNKNOWN,
    credentials = CLOPOS_AUTH_REASON_CREDENTIALS,
    integrator = CLOPOS_AUTH_REASON_INTEGRATOR,
    environment = CLOPOS_AUTH_REASON_ENVIRONMENT,
    disabled = CLOPOS_AUTH_REASON_DISABLED,
    missing_field = CLOPOS_AUTH_REASON_MISSING_FIELD,
};

/* Which root certificates are trusted, beside those that are added. */
enum class roots : std::int32_t {
    bundled = CLOPOS_AUTH_ROOTS_BUNDLED,
    system = CLOPOS_AUTH_ROOTS_SYSTEM,
    none = CLOPOS_AUTH_ROOTS_NONE,
};

/* How important a log line is. */
enum class log_level : std::int32_t {
    error = CLOPOS_AUTH_LOG_ERROR,
    warn = CLOPOS_AUTH_LOG_WARN,
    info = CLOPOS_AUTH_LOG_INFO,
    debug = CLOPOS_AUTH_LOG_DEBUG,
};

/* Receives log lines. Called from any thread, several at once; the line is one line of UTF-8 and valid
 * during the call. It may use the client, and close it. An exception that leaves it is dropped. */
using log_function = std::function<void(log_level level, std::string_view line)>;

/* A time on the calendar, in whole seconds. (std::chrono::sys_seconds of C++20.) */
using sys_seconds = std::chrono::time_point<std::chrono::system_clock, std::chrono::seconds>;

/* The name of a status for a log: "REJECTED"; "UNKNOWN" for one that the library does not have. */
[[nodiscard]] inline std::string_view status_name(status status) noexcept
{
    return clopos_auth_status_name(static_cast<std::int32_t>(status));
}

/* The version of the library that is running, "1.0.0". That of the header is CLOPOS_AUTH_VERSION. */
[[nodiscard]] inline std::string_view version() noexcept
{
    return clopos_auth_version();
}

/* Why a call failed. what() is one line for a log: the status' name and the message. */
class error : public std::runtime_error {
public:
    /* Takes over what a function of the C interface returned. `raw` may be null: a few functions give
     * no more than a status, and memory may run out. */
    error(clopos_auth_status status, clopos_auth_error *raw)
        : error(status, std::shared_ptr<const clopos_auth_error>(raw, release{}))
    {
    }

    [[nodiscard]] clopos_auth::status status() const noexcept { return status_; }

    /* One line without the status' name. Never a secret. */
    [[nodiscard]] std::string_view message() const noexcept { return message_of(fields_.get()); }

    /* The HTTP status of the response; 0 where no response was received. */
    [[nodiscard]] int http_status() const noexcept { return fields_ ? fields_->http_status : 0; }

    /* Whether the same call may succeed later without anybody changing anything. */
    [[nodiscard]] bool retryable() const noexcept { return fields_ && fields_->retryable != 0; }

    /* How long until the next call can lead to a request, where that is known. */
    [[nodiscard]] std::optional<std::chrono::milliseconds> retry_after() const noexcept
    {
        if (!fields_ || fields_->retry_after_ms < 0)
            return std::nullopt;
        return std::chrono::milliseconds(fields_->retry_after_ms);
    }

    /* The service's own identifier of the failure ("authentication_failed"), where it gave one. Valid
     * as long as this error or a copy of it. */
    [[nodiscard]] std::optional<std::string_view> server_code() const noexcept
    {
        if (!fields_ || fields_->server_code == nullptr)
            return std::nullopt;
        return fields_->server_code;
    }

    /* Why the service refused the sign-in, where the status is `rejected` and the answer said so. */
    [[nodiscard]] clopos_auth::reason reason() const noexcept
    {
        if (!fields_ || clopos_auth_version_number() < 0x010100) // an older library's error ends before it
            return clopos_auth::reason::unknown;
        return static_cast<clopos_auth::reason>(fields_->reason);
    }

private:
    struct release {
        void operator()(const clopos_auth_error *raw) const noexcept
        {
            clopos_auth_error_free(const_cast<clopos_auth_error *>(raw));
        }
    };

    error(clopos_auth_status status, std::shared_ptr<const clopos_auth_error> fields)
        : std::runtime_error(std::string(clopos_auth_status_name(status)) + ": " +
                             message_of(fields.get())),
          status_(static_cast<clopos_auth::status>(status)), fields_(std::move(fields))
    {
    }

    static const char *message_of(const clopos_auth_error *fields) noexcept
    {
        return fields != nullptr ? fields->message : "no more is known";
    }

    clopos_auth::status status_;
    std::shared_ptr<const clopos_auth_error> fields_;
};

/* What a try_ function returns: a T, or the error that says why there is none. Asking for the one that
 * is not there throws std::bad_variant_access. */
template <class T>
class [[nodiscard]] result {
public:
    result(T value) noexcept : content_(std::in_place_index<0>, std::move(value)) {}
    result(clopos_auth::error error) noexcept : content_(std::in_place_index<1>, std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return content_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    [[nodiscard]] T &operator*() & { return std::get<0>(content_); }
    [[nodiscard]] const T &operator*() const & { return std::get<0>(content_); }
    [[nodiscard]] T &&operator*() && { return std::get<0>(std::move(content_)); }
    [[nodiscard]] T *operator->() { return &std::get<0>(content_); }
    [[nodiscard]] const T *operator->() const { return &std::get<0>(content_); }

    [[nodiscard]] const clopos_auth::error &error() const { return std::get<1>(content_); }

#if CLOPOS_AUTH_EXCEPTIONS
    /* The T; throws the error if there is none. */
    [[nodiscard]] T value() &&
    {
        if (!has_value())
            throw std::get<1>(std::move(content_));
        return std::get<0>(std::move(content_));
    }
#endif

private:
    std::variant<T, clopos_auth::error> content_;
};

/* A text on its way into the library; made where a parameter wants one, never kept. */
class text {
public:
    text(const char *value) noexcept : value_(value) {}
    /* What has a NUL inside would arrive cut short. It is handed over as a control character instead,
     * so that the library refuses it in its own words, which name the argument. */
    text(const std::string &value) noexcept
        : value_(value.find('\0') == std::string::npos ? value.c_str() : "\x01")
    {
    }

    [[nodiscard]] const char *c_str() const noexcept { return value_; }

private:
    const char *value_;
};

/* A token. Wiped when it ends. */
class token {
public:
    /* Takes over what the C interface returned. */
    explicit token(clopos_auth_token *raw) noexcept : raw_(raw) {}

    /* The JWT: visible ASCII characters, to be sent as it is in the header x-token. */
    [[nodiscard]] std::string_view value() const noexcept
    {
        return raw_ ? std::string_view(raw_->value, raw_->value_len) : std::string_view();
    }

    /* The same, with a NUL at its end. */
    [[nodiscard]] const char *c_str() const noexcept { return raw_ ? raw_->value : ""; }

    /* "Bearer", which the header x-token does not want. */
    [[nodiscard]] std::string_view type() const noexcept { return raw_ ? raw_->token_type : ""; }

    /* When it ends, on the *server's* clock; this device's may differ. */
    [[nodiscard]] sys_seconds expires_at() const noexcept
    {
        return sys_seconds(std::chrono::seconds(raw_ ? raw_->expires_at : 0));
    }

    /* What was left of its life when it was handed out, whatever this device's date says. */
    [[nodiscard]] std::chrono::seconds expires_in() const noexcept
    {
        return std::chrono::seconds(raw_ ? raw_->expires_in : 0);
    }

private:
    struct release {
        void operator()(clopos_auth_token *raw) const noexcept { clopos_auth_token_free(raw); }
    };

    std::unique_ptr<clopos_auth_token, release> raw_;
};

namespace detail {

/* As the C interface wants times; what does not fit becomes the nearest that does. */
[[nodiscard]] inline std::uint32_t to_ms(std::chrono::milliseconds time) noexcept
{
    constexpr std::chrono::milliseconds longest(CLOPOS_AUTH_TIMEOUT_DEFAULT - 1);
    if (time < time.zero())
        return 0;
    return static_cast<std::uint32_t>((time < longest ? time : longest).count());
}

[[nodiscard]] inline std::uint32_t to_ms(std::optional<std::chrono::milliseconds> timeout) noexcept
{
    return timeout ? to_ms(*timeout) : CLOPOS_AUTH_TIMEOUT_DEFAULT;
}

/* A log function where the library's `user` points to. Kept by the config and by every client that was
 * made with it; and by itself while it runs, for it may be what ends them. */
struct log_sink : std::enable_shared_from_this<log_sink> {
    explicit log_sink(log_function log) : function(std::move(log)) {}

    static void CLOPOS_AUTH_CALL receive(std::int32_t level, const char *line, void *user) noexcept
    {
#if CLOPOS_AUTH_EXCEPTIONS
        try {
            deliver(level, line, user);
        } catch (...) {
            // Nothing can be thrown through the library.
        }
#else
        deliver(level, line, user);
#endif
    }

    static void deliver(std::int32_t level, const char *line, void *user)
    {
        const auto sink = static_cast<log_sink *>(user)->shared_from_this();
        sink->function(static_cast<log_level>(level), line);
    }

    log_function function;
};

} // namespace detail

/* The settings of a client, all at their defaults when made. Ranges and defaults: <clopos_auth.h>,
 * under clopos_auth_config_set_*.
 *
 *     clopos_auth::config settings;
 *     settings.user_agent("MyTill/4.2").timeout(10s);
 *     clopos_auth::client clopos(id, secret, brand, integrator, settings);
 *
 * A setting that is refused leaves its error here. It comes out when a client is made with these
 * settings, so the calls above need no checks; failure() tells it earlier. */
class config {
public:
    /* If memory or handles ran out, making a client with it gives INVALID_HANDLE. */
    config() noexcept : handle_(clopos_auth_config_new()) {}

    /* Where the service is: "https://HOST[:PORT][/PREFIX]". */
    config &base_url(text url) { return set(clopos_auth_config_set_base_url, url.c_str()); }

    /* The path of the sign-in, after the base URL; "/open-api/v2/auth" unless set. Since 1.1. */
    config &auth_path(text path) { return set(clopos_auth_config_set_auth_path, path.c_str()); }

    /* How long a call may take in all where it is not told otherwise. */
    config &timeout(std::chrono::milliseconds timeout)
    {
        return set(clopos_auth_config_set_timeout_ms, detail::to_ms(timeout));
    }

    /* How long one attempt may take. */
    config &attempt_timeout(std::chrono::milliseconds timeout)
    {
        return set(clopos_auth_config_set_attempt_timeout_ms, detail::to_ms(timeout));
    }

    /* How many attempts one exchange may take before its callers get an error. */
    config &max_attempts(std::uint32_t attempts)
    {
        return set(clopos_auth_config_set_max_attempts, attempts);
    }

    /* The most requests that a client sends in any minute. */
    config &requests_per_minute(std::uint32_t requests)
    {
        return set(clopos_auth_config_set_requests_per_minute, requests);
    }

    /* Which root certificates are trusted, beside added ones. */
    config &trust(roots roots)
    {
        return set(clopos_auth_config_set_roots, static_cast<std::int32_t>(roots));
    }

    /* Trusts more root certificates: the *content* of a PEM file. */
    config &add_ca_pem(std::string_view pem)
    {
        return set(clopos_auth_config_add_ca_pem, pem.data(), pem.size());
    }

    /* "environment", "none" or "http://[USER[:PASSWORD]@]HOST[:PORT]". */
    config &proxy(text proxy) { return set(clopos_auth_config_set_proxy, proxy.c_str()); }

    /* Names this program in the User-Agent header: "MyTill/4.2". */
    config &user_agent(text agent) { return set(clopos_auth_config_set_user_agent, agent.c_str()); }

    /* Permits "http://" to other hosts than this device; for test benches only. */
    config &allow_plain_http(bool allow = true)
    {
        return set(clopos_auth_config_set_allow_plain_http, allow ? 1 : 0);
    }

    /* Sends log lines up to this level to `log`; an empty function switches logging off. The clients
     * keep it alive. */
    config &log(log_level level, log_function log)
    {
        sink_ = log ? std::make_shared<detail::log_sink>(std::move(log)) : nullptr;
        return set(clopos_auth_config_set_log, static_cast<std::int32_t>(level),
                   sink_ ? &detail::log_sink::receive : nullptr, static_cast<void *>(sink_.get()));
    }

    /* The first setting that was refused, if any. */
    [[nodiscard]] const std::optional<error> &failure() const noexcept { return failure_; }

private:
    friend class client;

    struct release {
        void operator()(clopos_auth_config *config) const noexcept { clopos_auth_config_free(config); }
    };

    template <class Function, class... Arguments>
    config &set(Function function, Arguments... arguments)
    {
        clopos_auth_error *raw = nullptr;
        if (failure_)
            return *this;
        const auto status = function(handle_.get(), arguments..., &raw);
        if (status != CLOPOS_AUTH_OK)
            failure_.emplace(status, raw);
        return *this;
    }

    std::unique_ptr<clopos_auth_config, release> handle_;
    std::shared_ptr<detail::log_sink> sink_;
    std::optional<error> failure_;
};

/* Signs in to the service and keeps the token. One for the whole program is enough. */
class client {
public:
    /* Copies its arguments; sends nothing yet. `error`: what clopos_auth_client_new() lists, or a
     * setting that was refused. */
    [[nodiscard]] static result<client> make(text client_id, text client_secret, text brand,
                                             text integrator_id, const config &settings = config())
    {
        clopos_auth_client *handle = nullptr;
        clopos_auth_error *raw = nullptr;
        if (settings.failure_)
            return *settings.failure_;
        // To the library, NULL would be the defaults.
        if (!settings.handle_)
            return error(CLOPOS_AUTH_INVALID_HANDLE, nullptr);
        const auto status =
            clopos_auth_client_new(client_id.c_str(), client_secret.c_str(), brand.c_str(),
                                   integrator_id.c_str(), settings.handle_.get(), &handle, &raw);
        if (status != CLOPOS_AUTH_OK)
            return error(status, raw);
        return client(handle, settings.sink_);
    }

    /* The cached token while it is fresh, at once; else asks the service. Call it before every request
     * instead of keeping a token yourself.
     *
     * `timeout` bounds the whole call; zero never waits (WOULD_WAIT, and a request is started); none
     * is the configured one. */
    [[nodiscard]] result<token>
    try_get_token(std::optional<std::chrono::milliseconds> timeout = std::nullopt)
    {
        return ask(clopos_auth_get_token, timeout);
    }

    /* Asks the service, whatever is cached. For a "test the credentials" button. */
    [[nodiscard]] result<token>
    try_authenticate(std::optional<std::chrono::milliseconds> timeout = std::nullopt)
    {
        return ask(clopos_auth_authenticate, timeout);
    }

    /* The service refused this token (HTTP 401 on another endpoint): forgets it, unless there is a
     * newer one already. The next call asks for another. Never waits. */
    status try_invalidate(const token &refused) noexcept
    {
        return static_cast<status>(clopos_auth_invalidate(handle_.get(), refused.c_str()));
    }

    /* Forgets whichever token is cached. */
    status try_invalidate() noexcept
    {
        return static_cast<status>(clopos_auth_invalidate(handle_.get(), nullptr));
    }

    /* Makes every call that is waiting fail with CANCELLED. A request in the air goes on, for those who
     * call later. Never waits. */
    status try_cancel() noexcept { return static_cast<status>(clopos_auth_cancel(handle_.get())); }

    /* Ends the client: calls in progress fail with CANCELLED at once, later ones with INVALID_HANDLE.
     * After it has returned the log function is not called any more (if it was called from there, the
     * log function still finishes). May be called by any thread, and again. */
    void close() noexcept { clopos_auth_client_free(handle_.get()); }

#if CLOPOS_AUTH_EXCEPTIONS
    /* The same as make(), and the members above; they throw their error. */

    client(text client_id, text client_secret, text brand, text integrator_id,
           const config &settings = config())
        : client(make(client_id, client_secret, brand, integrator_id, settings).value())
    {
    }

    [[nodiscard]] token get_token(std::optional<std::chrono::milliseconds> timeout = std::nullopt)
    {
        return try_get_token(timeout).value();
    }

    [[nodiscard]] token authenticate(std::optional<std::chrono::milliseconds> timeout = std::nullopt)
    {
        return try_authenticate(timeout).value();
    }

    void invalidate(const token &refused)
    {
        throw_unless_ok(try_invalidate(refused));
    }
    void invalidate()
    {
        throw_unless_ok(try_invalidate());
    }
    void cancel()
    {
        throw_unless_ok(try_cancel());
    }
#endif

private:
    /* Frees the handle before the log function that the library would call. */
    struct release {
        void operator()(clopos_auth_client *client) const noexcept { clopos_auth_client_free(client); }
        std::shared_ptr<detail::log_sink> sink;
    };

    client(clopos_auth_client *handle, std::shared_ptr<detail::log_sink> sink) noexcept
        : handle_(handle, release{std::move(sink)})
    {
    }

    template <class Function>
    [[nodiscard]] result<token> ask(Function function, std::optional<std::chrono::milliseconds> timeout)
    {
        clopos_auth_token *raw_token = nullptr;
        clopos_auth_error *raw_error = nullptr;
        const auto status = function(handle_.get(), detail::to_ms(timeout), &raw_token, &raw_error);
        if (status != CLOPOS_AUTH_OK)
            return error(status, raw_error);
        return token(raw_token);
    }

#if CLOPOS_AUTH_EXCEPTIONS
    static void throw_unless_ok(status status)
    {
        if (status != clopos_auth::status::ok)
            throw error(static_cast<clopos_auth_status>(status), nullptr);
    }
#endif

    std::unique_ptr<clopos_auth_client, release> handle_;
};

} // namespace clopos_auth

#endif // CLOPOS_AUTH_HPP
