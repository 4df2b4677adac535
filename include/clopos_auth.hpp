/* libclopos_auth for C++17 and newer: the C interface of <clopos_auth.h> with destructors, exceptions
 * and std::chrono. Header-only; needs that header, the library, and nothing else.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * EXAMPLE
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
 *     else if (token.error().status() == clopos_auth::status::rejected && !token.error().retryable())
 *         ask_for_other_credentials();
 *
 * OWNERSHIP
 *
 *   client, config and token are move-only and free their object when destroyed. A moved-from one may be
 *   destroyed, assigned or used: a client or config then gives INVALID_HANDLE, a token is empty. Copying
 *   an error is cheap. A token outlives its client.
 *
 * STRINGS
 *
 *   String arguments are `const char *`, `std::string` or `std::string_view`, in UTF-8; a view needs no
 *   NUL at its end. They are copied before a call returns, and the copies are wiped. A null pointer (a
 *   getenv() that found nothing) gives INVALID_ARGUMENT, as does a string with a NUL inside; but
 *   token::make(), error::make() and fake_token_source take no null pointer. Returned strings are
 *   std::string_view into the object that returned them.
 *
 * TIME
 *
 *   Timeouts are std::chrono durations of any unit, rounded up to milliseconds.
 *
 * THREADS
 *
 *   Any number of threads may call any member of a client at the same time, also close(): waiting calls
 *   then fail with CANCELLED, later ones with INVALID_HANDLE. As with every C++ object, no thread may
 *   destroy, move or assign a client while another one uses it: close(), join, destroy. A config must be
 *   used by one thread at a time. Tokens and errors are read-only.
 *
 * EVENT LOOPS
 *
 *   try_get_token(0ms) never waits. After WOULD_WAIT return to the loop, let the function of
 *   config::on_change() post an event to it, and call again when the event arrives; after another
 *   retryable error also when its retry_after() is over. examples/cpp/event_loop.cpp is a whole program.
 *
 * ERRORS
 *
 *   Each function that can fail has two forms: get_token() throws clopos_auth::error, try_get_token()
 *   returns a result that holds the token or the error. Neither throws anything else but
 *   std::bad_alloc. With -fno-exceptions only the try_ form exists. <clopos_auth.h> documents the
 *   statuses. An exception from one of your callbacks is caught and ignored.
 *
 * TESTS OF YOUR PROGRAM
 *
 *   Let the code that needs tokens take a `token_source &`. In the program that is a client; in a unit
 *   test it is a fake_token_source, which needs no server and is not linked with the library.
 */

#ifndef CLOPOS_AUTH_HPP
#define CLOPOS_AUTH_HPP

#include <clopos_auth.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define CLOPOS_AUTH_EXCEPTIONS 1
#else
#define CLOPOS_AUTH_EXCEPTIONS 0
#endif

namespace clopos_auth {

/* The result of a call: the CLOPOS_AUTH_* numbers, which <clopos_auth.h> documents. A newer library may
 * return a number that is not listed here: treat it as a failure. */
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

/* Why the service refused a sign-in, if its response tells: the CLOPOS_AUTH_REASON_* numbers. For
 * messages to people and for reports, not for decisions. A newer library may return a number that is not
 * listed here. */
enum class reason : std::int32_t {
    unknown = CLOPOS_AUTH_REASON_UNKNOWN,
    credentials = CLOPOS_AUTH_REASON_CREDENTIALS,
    integrator = CLOPOS_AUTH_REASON_INTEGRATOR,
    environment = CLOPOS_AUTH_REASON_ENVIRONMENT,
    disabled = CLOPOS_AUTH_REASON_DISABLED,
    missing_field = CLOPOS_AUTH_REASON_MISSING_FIELD,
};

/* Which root certificates are trusted, in addition to those added by add_ca_pem(). */
enum class roots : std::int32_t {
    bundled = CLOPOS_AUTH_ROOTS_BUNDLED,
    system = CLOPOS_AUTH_ROOTS_SYSTEM,
    none = CLOPOS_AUTH_ROOTS_NONE,
};

/* The severity of a log line; a lower number is more severe. */
enum class log_level : std::int32_t {
    error = CLOPOS_AUTH_LOG_ERROR,
    warn = CLOPOS_AUTH_LOG_WARN,
    info = CLOPOS_AUTH_LOG_INFO,
    debug = CLOPOS_AUTH_LOG_DEBUG,
};

/* Receives log lines. `line` is one line of UTF-8 without a line break, valid during the call, and never
 * contains a secret. Called from any thread, and on several threads at the same time, until the client is
 * closed. A sign-in waits while it runs, so a call with the same client inside it does not wait. It may
 * close its own client, and no other. Exceptions from it are ignored. */
using log_function = std::function<void(log_level level, std::string_view line)>;

/* Called when a call with a timeout of 0 would return something new: once each time that an attempt of the
 * client has ended, and if a sign-in has to wait before it can send one. The status is `ok` if there is a new
 * token, otherwise why the attempt failed or has to wait. The rules of log_function apply. */
using change_function = std::function<void(status status)>;

/* A date and time in whole seconds: std::chrono::sys_seconds of C++20. */
using sys_seconds = std::chrono::time_point<std::chrono::system_clock, std::chrono::seconds>;

/* The name of a status for a log: "REJECTED"; "UNKNOWN" for a number that the library does not have. */
[[nodiscard]] inline std::string_view status_name(status status) noexcept
{
    return clopos_auth_status_name(static_cast<std::int32_t>(status));
}

/* The version of the library that is running, "MAJOR.MINOR.PATCH". CLOPOS_AUTH_VERSION is the header's. */
[[nodiscard]] inline std::string_view version() noexcept
{
    return clopos_auth_version();
}

namespace detail {

/* Like status_name(), for the statuses of this header; does not call the library. */
[[nodiscard]] constexpr const char *name_of(status status) noexcept
{
    switch (status) {
    case status::ok: return "OK";
    case status::invalid_argument: return "INVALID_ARGUMENT";
    case status::invalid_handle: return "INVALID_HANDLE";
    case status::buffer_too_small: return "BUFFER_TOO_SMALL";
    case status::internal: return "INTERNAL";
    case status::would_wait: return "WOULD_WAIT";
    case status::cancelled: return "CANCELLED";
    case status::timeout: return "TIMEOUT";
    case status::dns: return "DNS";
    case status::connect: return "CONNECT";
    case status::tls: return "TLS";
    case status::clock: return "CLOCK";
    case status::proxy: return "PROXY";
    case status::rejected: return "REJECTED";
    case status::rate_limited: return "RATE_LIMITED";
    case status::server: return "SERVER";
    case status::protocol: return "PROTOCOL";
    }
    return "UNKNOWN";
}

class category final : public std::error_category {
public:
    [[nodiscard]] const char *name() const noexcept override { return "clopos_auth"; }

    [[nodiscard]] std::string message(int value) const override
    {
        return name_of(static_cast<status>(value));
    }

    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override
    {
        switch (static_cast<status>(value)) {
        case status::invalid_argument: return std::errc::invalid_argument;
        case status::would_wait: return std::errc::operation_would_block;
        case status::cancelled: return std::errc::operation_canceled;
        case status::timeout: return std::errc::timed_out;
        default: return {value, *this};
        }
    }
};

} // namespace detail

/* The category of statuses as std::error_code. Four statuses compare equal to a std::errc:
 * invalid_argument, would_wait (operation_would_block), cancelled (operation_canceled) and timeout
 * (timed_out). */
[[nodiscard]] inline const std::error_category &error_category() noexcept
{
    static const detail::category instance;
    return instance;
}

/* Lets std::error_code be made from a status and be compared with one. */
[[nodiscard]] inline std::error_code make_error_code(status status) noexcept
{
    return {static_cast<int>(status), error_category()};
}

} // namespace clopos_auth

template <>
struct std::is_error_code_enum<clopos_auth::status> : std::true_type {};

namespace clopos_auth {

/* Why a call failed. what() is one line for a log: the status' name and the message, never a secret. */
class error : public std::runtime_error {
public:
    /* Takes ownership of `raw`. It may be null: some functions return only a status, and there may be no
     * memory for an error. */
    error(clopos_auth_status status, clopos_auth_error *raw)
        : error(static_cast<clopos_auth::status>(status), clopos_auth_status_name(status),
                std::shared_ptr<const clopos_auth_error>(raw, release{}),
                // Version 1.0 has no such field.
                raw != nullptr && clopos_auth_version_number() >= 0x010100 ? raw->reason : 0)
    {
    }

    /* An error of your own, for a token_source that is not a client. Does not call the library. */
    [[nodiscard]] static error make(clopos_auth::status status, std::string_view message,
                                    bool retryable = false,
                                    std::optional<std::chrono::milliseconds> retry_after = std::nullopt,
                                    clopos_auth::reason reason = clopos_auth::reason::unknown)
    {
        struct content {
            std::string message;
            clopos_auth_error fields;
        };
        const auto made = std::make_shared<content>(content{std::string(message), {}});
        made->fields.status = static_cast<clopos_auth_status>(status);
        made->fields.retryable = retryable ? 1 : 0;
        made->fields.retry_after_ms = retry_after ? retry_after->count() : -1;
        made->fields.message = made->message.c_str();
        return error(status, detail::name_of(status),
                     std::shared_ptr<const clopos_auth_error>(made, &made->fields),
                     static_cast<std::int32_t>(reason));
    }

    [[nodiscard]] clopos_auth::status status() const noexcept { return status_; }

    /* The status as a std::error_code. */
    [[nodiscard]] std::error_code code() const noexcept { return status_; }

    /* One line for a log, without the status' name. Never a secret. Its wording may change in any
     * version. */
    [[nodiscard]] std::string_view message() const noexcept { return message_of(fields_.get()); }

    /* The HTTP status of the response (of the proxy's, if the status is `proxy`); 0 if none was
     * received. */
    [[nodiscard]] int http_status() const noexcept { return fields_ ? fields_->http_status : 0; }

    /* Whether the same call may succeed later without any change. */
    [[nodiscard]] bool retryable() const noexcept { return fields_ && fields_->retryable != 0; }

    /* The time until the next request may be sent; nullopt if there is no pause to wait for. */
    [[nodiscard]] std::optional<std::chrono::milliseconds> retry_after() const noexcept
    {
        if (!fields_ || fields_->retry_after_ms < 0)
            return std::nullopt;
        return std::chrono::milliseconds(fields_->retry_after_ms);
    }

    /* The "error" field of the response, an identifier or a sentence, if there was one. Valid as long as
     * this error or a copy of it. */
    [[nodiscard]] std::optional<std::string_view> server_code() const noexcept
    {
        if (!fields_ || fields_->server_code == nullptr)
            return std::nullopt;
        return fields_->server_code;
    }

    /* Why the service refused the sign-in, if the status is `rejected`: for people and reports. */
    [[nodiscard]] clopos_auth::reason reason() const noexcept { return reason_; }

private:
    struct release {
        void operator()(const clopos_auth_error *raw) const noexcept
        {
            clopos_auth_error_free(const_cast<clopos_auth_error *>(raw));
        }
    };

    error(clopos_auth::status status, const char *name, std::shared_ptr<const clopos_auth_error> fields,
          std::int32_t reason)
        : std::runtime_error(std::string(name) + ": " + message_of(fields.get())), status_(status),
          reason_(static_cast<clopos_auth::reason>(reason)), fields_(std::move(fields))
    {
    }

    static const char *message_of(const clopos_auth_error *fields) noexcept
    {
        return fields != nullptr ? fields->message : "no details available (out of memory)";
    }

    clopos_auth::status status_;
    clopos_auth::reason reason_;
    std::shared_ptr<const clopos_auth_error> fields_;
};

/* What a try_ function returns: a T or an error. Accessing the absent one throws
 * std::bad_variant_access. */
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
    [[nodiscard]] T &value() &
    {
        throw_if_failed();
        return std::get<0>(content_);
    }
    [[nodiscard]] const T &value() const &
    {
        throw_if_failed();
        return std::get<0>(content_);
    }
    [[nodiscard]] T value() &&
    {
        throw_if_failed();
        return std::get<0>(std::move(content_));
    }
#endif

private:
#if CLOPOS_AUTH_EXCEPTIONS
    void throw_if_failed() const
    {
        if (!has_value())
            throw std::get<1>(content_);
    }
#endif

    std::variant<T, clopos_auth::error> content_;
};

/* A string argument, made from const char *, std::string or std::string_view: a copy, which is wiped when
 * the last copy of this object is destroyed. */
class text {
public:
    /* A null pointer: the library refuses it, and the message names the argument. */
    text() noexcept = default;
    text(const char *value)
    {
        if (value != nullptr)
            keep(value);
    }
    text(const std::string &value) { keep(value); }
    text(std::string_view value) { keep(value); }

    [[nodiscard]] const char *c_str() const noexcept { return value_.get(); }

private:
    struct wipe {
        std::size_t size;
        void operator()(char *value) const noexcept
        {
            for (volatile char *at = value; at != value + size; ++at)
                *at = '\0';
            delete[] value;
        }
    };

    void keep(std::string_view value)
    {
        // A string with a NUL inside would be truncated. A control character is passed instead: the library
        // refuses it, and the message names the argument.
        if (value.find('\0') != value.npos)
            value = "\x01";
        const std::shared_ptr<char> copy(new char[value.size() + 1](), wipe{value.size()});
        value.copy(copy.get(), value.size());
        value_ = copy;
    }

    std::shared_ptr<const char> value_;
};

/* The credentials that Clopos issues, by name, so that they cannot be confused. For one that is not set,
 * client::make() gives INVALID_ARGUMENT, and the message names it.
 *
 *     clopos_auth::credentials who;
 *     who.client_id = ...
 *     clopos_auth::client clopos(who, settings);
 *
 * and from C++20 on: client clopos({.client_id = id, .client_secret = secret, ...}, settings). */
struct credentials {
    text client_id{};
    text client_secret{};
    text brand{};
    text integrator_id{};
};

/* A timeout: any std::chrono duration, rounded up to milliseconds; a negative one is 0, and the maximum is
 * about 49 days. std::nullopt, the default, is the configured timeout. */
class time_limit {
public:
    time_limit(std::nullopt_t = std::nullopt) noexcept {}

    template <class Rep, class Period>
    time_limit(std::chrono::duration<Rep, Period> time) noexcept
        : ms_(clamp(std::chrono::duration<double, std::milli>(time).count()))
    {
    }

    template <class Rep, class Period>
    time_limit(std::optional<std::chrono::duration<Rep, Period>> time) noexcept
        : time_limit(time ? time_limit(*time) : time_limit())
    {
    }

    /* The argument for the functions of <clopos_auth.h>. */
    [[nodiscard]] std::uint32_t milliseconds() const noexcept { return ms_; }

private:
    [[nodiscard]] static std::uint32_t clamp(double ms) noexcept
    {
        constexpr std::uint32_t longest = CLOPOS_AUTH_TIMEOUT_DEFAULT - 1;
        if (!(ms > 0))
            return 0;
        if (!(ms < longest))
            return longest;
        const auto whole = static_cast<std::uint32_t>(ms);
        return whole < ms ? whole + 1 : whole;
    }

    std::uint32_t ms_ = CLOPOS_AUTH_TIMEOUT_DEFAULT;
};

/* A token. Its text is wiped when no token and no client holds it any more. */
class token {
public:
    /* Takes ownership of `raw`, which may be null. */
    explicit token(clopos_auth_token *raw)
        : raw_(raw, release{}), expires_in_(raw != nullptr ? raw->expires_in : 0)
    {
    }

    token(token &&) noexcept = default;
    token &operator=(token &&) noexcept = default;

    /* A token of your own, for a token_source that is not a client. Its serial is 0. Does not call the
     * library. */
    [[nodiscard]] static token make(std::string_view value,
                                    std::chrono::seconds expires_in = std::chrono::hours(1))
    {
        struct content {
            std::string value;
            clopos_auth_token fields;
        };
        const auto made = std::make_shared<content>(content{std::string(value), {}});
        const auto ends = std::chrono::system_clock::now() + expires_in;
        made->fields.value = made->value.c_str();
        made->fields.value_len = made->value.size();
        made->fields.token_type = "Bearer";
        made->fields.expires_at = std::chrono::system_clock::to_time_t(ends);
        return token(std::shared_ptr<const clopos_auth_token>(made, &made->fields), expires_in);
    }

    /* The JWT: 1 to 8192 visible ASCII characters. Send it unchanged in the header x-token. */
    [[nodiscard]] std::string_view value() const noexcept
    {
        return raw_ ? std::string_view(raw_->value, raw_->value_len) : std::string_view();
    }

    /* The same, NUL-terminated. */
    [[nodiscard]] const char *c_str() const noexcept { return raw_ ? raw_->value : ""; }

    /* "Bearer". Do not send it in x-token. */
    [[nodiscard]] std::string_view type() const noexcept { return raw_ ? raw_->token_type : ""; }

    /* The expiry time, by the *server's* clock; this device's may differ. */
    [[nodiscard]] sys_seconds expires_at() const noexcept
    {
        return sys_seconds(std::chrono::seconds(raw_ ? raw_->expires_at : 0));
    }

    /* The remaining time when the token was returned; independent of the device's date. */
    [[nodiscard]] std::chrono::seconds expires_in() const noexcept
    {
        return raw_ ? expires_in_ : expires_in_.zero();
    }

    /* The number of the token: the same each time that this token is returned, different from that of
     * every other token in this process; 0 for a moved-from token and one of make(). */
    [[nodiscard]] std::uint64_t serial() const noexcept { return raw_ ? raw_->serial : 0; }

private:
    friend class client;

    struct release {
        void operator()(clopos_auth_token *raw) const noexcept { clopos_auth_token_free(raw); }
    };

    token(std::shared_ptr<const clopos_auth_token> raw, std::chrono::seconds expires_in) noexcept
        : raw_(std::move(raw)), expires_in_(expires_in)
    {
    }

    std::shared_ptr<const clopos_auth_token> raw_;
    std::chrono::seconds expires_in_;
};

/* The part of a client that code needs to send requests. A fake_token_source replaces it in tests. */
class token_source {
public:
    virtual ~token_source() = default;

    /* See client::try_get_token(). */
    [[nodiscard]] virtual result<token> try_get_token(time_limit timeout = {}) = 0;

    /* See client::try_invalidate(). */
    virtual status try_invalidate(const token &refused) noexcept = 0;

#if CLOPOS_AUTH_EXCEPTIONS
    /* The same; they throw their error. */
    [[nodiscard]] token get_token(time_limit timeout = {}) { return try_get_token(timeout).value(); }
    void invalidate(const token &refused) { throw_unless_ok(try_invalidate(refused)); }
#endif

protected:
    token_source() = default;
    token_source(token_source &&) = default;
    token_source &operator=(token_source &&) = default;

#if CLOPOS_AUTH_EXCEPTIONS
    static void throw_unless_ok(status status)
    {
        if (status != clopos_auth::status::ok)
            throw error::make(status, "no details available");
    }
#endif
};

/* For unit tests: returns the tokens and errors that it is given. Code that uses token_source and this, but
 * no client, links without libclopos_auth.
 *
 *     clopos_auth::fake_token_source source("a.fake.token");
 *     source.answer([] { return error::make(status::server, "the service failed", true); }); */
class fake_token_source : public token_source {
public:
    using answer_function = std::function<result<token>()>;

    /* Always returns a token with this text. */
    explicit fake_token_source(std::string_view value)
        : fake_token_source([text = std::string(value)] { return result<token>(token::make(text)); })
    {
    }

    /* Each try_get_token() returns what `answer` returns. Thread-safe if `answer` is. */
    explicit fake_token_source(answer_function answer) : answer_(std::move(answer)) {}

    /* Replaces the function. No other thread may use this object meanwhile. */
    void answer(answer_function answer) { answer_ = std::move(answer); }

    [[nodiscard]] result<token> try_get_token(time_limit = {}) override
    {
        calls_++;
        return answer_();
    }

    status try_invalidate(const token &) noexcept override
    {
        refusals_++;
        return status::ok;
    }

    /* How often try_get_token() and try_invalidate() were called. */
    [[nodiscard]] std::size_t calls() const noexcept { return calls_; }
    [[nodiscard]] std::size_t refusals() const noexcept { return refusals_; }

private:
    answer_function answer_;
    std::atomic<std::size_t> calls_{0};
    std::atomic<std::size_t> refusals_{0};
};

/* What was known of a client when try_state() was called; <clopos_auth.h>, clopos_auth_state, has the
 * details. The counts are those of this process: in a child of fork() they start at 0. */
struct client_state {
    /* There is a token that has not expired. */
    bool has_token;
    /* get_token() would return that token immediately. */
    bool is_fresh;
    /* A sign-in is running, also while it waits before its next attempt. */
    bool request_in_flight;
    /* Time until the token expires, and until it is due to be replaced; nullopt if there is none. */
    std::optional<std::chrono::milliseconds> expires_in;
    std::optional<std::chrono::milliseconds> refresh_in;
    /* Time until the next request may be sent; 0 if it may be sent now. */
    std::chrono::milliseconds next_request_in;
    /* The result of the last request that has ended; `ok` and 0 if there was none. */
    status last_status;
    int last_http_status;
    /* Time since that result; nullopt if no request has ended yet. */
    std::optional<std::chrono::milliseconds> last_result_age;
    /* The number of requests, and of attempts that failed. */
    std::uint64_t requests;
    std::uint64_t failures;
    /* The message of last_status, never a secret; empty if that is `ok`. */
    std::string last_message;
};

namespace detail {

/* A callback: the library's `user` points to it. Owned by the config and its clients, and kept alive during
 * a call, which may destroy them. */
template <class Function>
struct sink : std::enable_shared_from_this<sink<Function>> {
    explicit sink(Function called) : function(std::move(called)) {}

    template <class... Arguments>
    static void call(void *user, Arguments... arguments) noexcept
    {
#if CLOPOS_AUTH_EXCEPTIONS
        try {
            deliver(user, arguments...);
        } catch (...) {
            // An exception must not enter the library.
        }
#else
        deliver(user, arguments...);
#endif
    }

    template <class... Arguments>
    static void deliver(void *user, Arguments... arguments)
    {
        const auto kept = static_cast<sink *>(user)->shared_from_this();
        kept->function(arguments...);
    }

    Function function;
};

struct sinks {
    std::shared_ptr<sink<log_function>> log;
    std::shared_ptr<sink<change_function>> change;
};

inline void CLOPOS_AUTH_CALL receive_line(std::int32_t level, const char *line, void *user) noexcept
{
    sink<log_function>::call(user, static_cast<log_level>(level), std::string_view(line));
}

inline void CLOPOS_AUTH_CALL receive_change(std::int32_t status, void *user) noexcept
{
    sink<change_function>::call(user, static_cast<clopos_auth::status>(status));
}

/* The current token, so that get_token() allocates nothing while it is the same. Each of the first 16
 * threads has a place of its own, so that they do not share a reference count. A thread that finds its
 * place in use by another one does not wait: it finds and keeps nothing. */
class token_cache {
public:
    using shared = std::shared_ptr<const clopos_auth_token>;

    /* Returns the token with this number, or null. */
    [[nodiscard]] shared find(std::uint64_t serial) noexcept
    {
        shared found;
        visit(mine(), [&](shared &kept) {
            if (kept && kept->serial == serial)
                found = kept;
        });
        return found;
    }

    void keep(shared token) noexcept
    {
        visit(mine(), [&](shared &kept) { kept.swap(token); });
    }

    /* Drops every token, and keeps none from now on. A place is in use for some nanoseconds, hence the
     * tries. In a forked child it may stay in use, if a thread of the parent used it during fork(): its
     * token is then dropped with the client. */
    void close() noexcept
    {
        closed_ = true;
        for (auto &each : places_)
            for (int tries = 0; tries < 1000 && !visit(each, [](shared &) {}); tries++)
                continue;
    }

private:
    struct place {
        std::atomic_flag taken = ATOMIC_FLAG_INIT;
        shared token{};
        char padding[64]{}; // the next place is in another cache line
    };

    template <class Action>
    bool visit(place &at, Action action) noexcept
    {
        shared dropped; // released after the place is free again
        if (at.taken.test_and_set(std::memory_order_acquire))
            return false;
        action(at.token);
        if (closed_.load(std::memory_order_relaxed))
            at.token.swap(dropped);
        at.taken.clear(std::memory_order_release);
        return true;
    }

    [[nodiscard]] place &mine() noexcept
    {
        static std::atomic<std::size_t> threads{0};
        thread_local const std::size_t number = threads++;
        return places_[number % places_.size()];
    }

    std::array<place, 16> places_{};
    std::atomic<bool> closed_{false};
};

} // namespace detail

/* The settings of a client, with their defaults at first. A client copies them. <clopos_auth.h>,
 * clopos_auth_config_set_*, has the details of each setting.
 *
 *     clopos_auth::config settings;
 *     settings.user_agent("MyTill/4.2").timeout(10s);
 *     clopos_auth::client clopos(id, secret, brand, integrator, settings);
 *
 * The first rejected setting is stored; failure() returns it and creating a client reports it, so the
 * calls above need no checks. */
class config {
public:
    /* If no handle is left, creating a client with it gives INVALID_HANDLE. */
    config() noexcept : handle_(clopos_auth_config_new()) {}

    /* Where the service is: "https://HOST[:PORT][/PREFIX]". Default: "https://integrations.clopos.com". */
    config &base_url(text url) { return set(clopos_auth_config_set_base_url, url.c_str()); }

    /* The path of the sign-in, which is added to the base URL. Default: "/open-api/v2/auth". */
    config &auth_path(text path) { return set(clopos_auth_config_set_auth_path, path.c_str()); }

    /* The timeout of calls that specify none: 1 ms to 1 h. Default: 30 s. */
    config &timeout(time_limit timeout)
    {
        return set(clopos_auth_config_set_timeout_ms, timeout.milliseconds());
    }

    /* The timeout of one attempt: 1 ms to 10 min. Default: 10 s. */
    config &attempt_timeout(time_limit timeout)
    {
        return set(clopos_auth_config_set_attempt_timeout_ms, timeout.milliseconds());
    }

    /* The number of attempts of one sign-in, after which its callers get an error: 1 to 10. Default: 3. */
    config &max_attempts(std::uint32_t attempts)
    {
        return set(clopos_auth_config_set_max_attempts, attempts);
    }

    /* The maximum number of requests of a client that can reach the service in any minute: 1 to 60.
     * Default: 12. */
    config &requests_per_minute(std::uint32_t requests)
    {
        return set(clopos_auth_config_set_requests_per_minute, requests);
    }

    /* The root certificates that are trusted in addition to added ones. Default: roots::bundled. */
    config &trust(roots roots)
    {
        return set(clopos_auth_config_set_roots, static_cast<std::int32_t>(roots));
    }

    /* Trusts more root certificates: the *content* of a PEM file, 1 MiB at most. May be called
     * repeatedly. */
    config &add_ca_pem(std::string_view pem)
    {
        return set(clopos_auth_config_add_ca_pem, pem.data(), pem.size());
    }
    config &add_ca_pem(const char *pem)
    {
        return add_ca_pem(pem != nullptr ? std::string_view(pem) : std::string_view());
    }

    /* The proxy to use: "environment" (the default), "none" or "http://[USER[:PASSWORD]@]HOST[:PORT]". */
    config &proxy(text proxy) { return set(clopos_auth_config_set_proxy, proxy.c_str()); }

    /* Names this program in the User-Agent header: 1 to 256 printable ASCII characters, "MyTill/4.2". */
    config &user_agent(text agent) { return set(clopos_auth_config_set_user_agent, agent.c_str()); }

    /* Permits "http://" to other hosts than this device. The client secret is then sent unencrypted: for
     * testing only. */
    config &allow_plain_http(bool allow = true)
    {
        return set(clopos_auth_config_set_allow_plain_http, allow ? 1 : 0);
    }

    /* Sends the log lines of this severity and higher to `log`; an empty function, the default, logs
     * nothing. The clients keep it alive. */
    config &log(log_level level, log_function log)
    {
        using sink = detail::sink<log_function>;
        sinks_.log = log ? std::make_shared<sink>(std::move(log)) : nullptr;
        return set(clopos_auth_config_set_log, static_cast<std::int32_t>(level),
                   sinks_.log ? &detail::receive_line : nullptr, static_cast<void *>(sinks_.log.get()));
    }

    /* Calls `changed` at each change: see change_function. An empty function, the default, is not called. The
     * clients keep it alive. */
    config &on_change(change_function changed)
    {
        using sink = detail::sink<change_function>;
        sinks_.change = changed ? std::make_shared<sink>(std::move(changed)) : nullptr;
        return set(clopos_auth_config_set_on_change, sinks_.change ? &detail::receive_change : nullptr,
                   static_cast<void *>(sinks_.change.get()));
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
    detail::sinks sinks_;
    std::optional<error> failure_;
};

/* Signs in to the service and keeps the token. Make one for the whole program. */
class client : public token_source {
public:
    client(client &&) noexcept = default;
    client &operator=(client &&other) noexcept
    {
        // The old client is freed first: until then, its callbacks may use its cache.
        handle_ = std::move(other.handle_);
        cache_ = std::move(other.cache_);
        return *this;
    }

    /* Makes a client. Copies all its arguments; sends nothing yet. Errors: the first setting that was
     * refused, or INVALID_ARGUMENT (a credential, or conflicting settings), INVALID_HANDLE (`settings` was
     * moved from, or no handle was left for it), PROXY (an unusable URL in the environment), INTERNAL. */
    [[nodiscard]] static result<client> make(const credentials &who, const config &settings = config())
    {
        clopos_auth_client *handle = nullptr;
        clopos_auth_error *raw = nullptr;
        if (settings.failure_)
            return *settings.failure_;
        // The library would use the defaults.
        if (!settings.handle_)
            return error(CLOPOS_AUTH_INVALID_HANDLE, nullptr);
        auto cache = std::make_unique<detail::token_cache>();
        const auto status = clopos_auth_client_new(who.client_id.c_str(), who.client_secret.c_str(),
                                                   who.brand.c_str(), who.integrator_id.c_str(),
                                                   settings.handle_.get(), &handle, &raw);
        if (status != CLOPOS_AUTH_OK)
            return error(status, raw);
        return client(handle, settings.sinks_, std::move(cache));
    }

    [[nodiscard]] static result<client> make(text client_id, text client_secret, text brand,
                                             text integrator_id, const config &settings = config())
    {
        return make(credentials{std::move(client_id), std::move(client_secret), std::move(brand),
                                std::move(integrator_id)},
                    settings);
    }

    /* Returns the cached token if it is fresh, immediately; otherwise requests a new one. Call it before
     * every request instead of keeping a token yourself: until the token is due to be replaced, a thread's
     * second and later calls take no lock and allocate nothing. (More than 16 threads share 16 places: of
     * two that call at the same time, one may allocate a copy.)
     *
     * `timeout`: limits the whole call. 0 does not wait: without a token it starts or joins a sign-in and
     * returns WOULD_WAIT, or the last error while no request may be sent. Errors: every status but `ok`
     * and `buffer_too_small`. A loop of calls must wait for the error's retry_after(). */
    [[nodiscard]] result<token> try_get_token(time_limit timeout = {}) override
    {
        std::int64_t expires_in = 0;
        const auto serial = clopos_auth_current(handle_.get(), &expires_in);
        if (serial != 0 && cache_)
            if (auto found = cache_->find(serial))
                return token(std::move(found), std::chrono::seconds(expires_in));
        auto received = call(clopos_auth_get_token, timeout);
        if (received && cache_)
            cache_->keep(received->raw_);
        return received;
    }

    /* Signs in now: requests a new token even if one is cached, or joins a sign-in that is running. The new
     * token replaces the cached one. For a "test the credentials" button. Timeout and errors are those of
     * try_get_token(). */
    [[nodiscard]] result<token> try_authenticate(time_limit timeout = {})
    {
        return call(clopos_auth_authenticate, timeout);
    }

    /* Drops the cached token because the service refused it: the next call requests a new one. Call it if
     * another endpoint answers HTTP 401 and the body contains "Invalid token" or "Token expired"; any other 401
     * is not about the token. A newer token stays. Never waits. If tokens are refused soon after their issue, calls that need one return REJECTED
     * (retryable) for a while: see clopos_auth_invalidate(). */
    status try_invalidate(const token &refused) noexcept override
    {
        return static_cast<status>(clopos_auth_invalidate(handle_.get(), refused.c_str()));
    }

    /* Drops any cached token, which also counts as refused. For a new token without that, call authenticate(). */
    status try_invalidate() noexcept
    {
        return static_cast<status>(clopos_auth_invalidate(handle_.get(), nullptr));
    }

    /* Returns the serial() of the cached token if that is fresh and not due to be replaced, otherwise 0.
     * `expires_in`, if not null, receives the token's remaining time. Takes no lock, allocates nothing, never
     * waits. */
    [[nodiscard]] std::uint64_t current(std::chrono::seconds *expires_in = nullptr) const noexcept
    {
        std::int64_t left = 0;
        const auto serial = clopos_auth_current(handle_.get(), &left);
        if (expires_in != nullptr)
            *expires_in = std::chrono::seconds(left);
        return serial;
    }

    /* Returns what is known of the client, for a status display or a health check. Never sends a request,
     * and never waits for one. */
    [[nodiscard]] result<client_state> try_state() const
    {
        clopos_auth_state *raw = nullptr;
        clopos_auth_error *raw_error = nullptr;
        const auto status = clopos_auth_get_state(handle_.get(), &raw, &raw_error);
        if (status != CLOPOS_AUTH_OK)
            return error(status, raw_error);
        const std::unique_ptr<clopos_auth_state, release_state> kept(raw);
        return client_state{
            raw->has_token != 0,
            raw->is_fresh != 0,
            raw->request_in_flight != 0,
            unless_negative(raw->expires_in_ms),
            unless_negative(raw->refresh_in_ms),
            std::chrono::milliseconds(raw->next_request_in_ms),
            static_cast<clopos_auth::status>(raw->last_status),
            raw->last_http_status,
            unless_negative(raw->last_result_age_ms),
            raw->requests,
            raw->failures,
            raw->last_message != nullptr ? raw->last_message : "",
        };
    }

    /* Makes every waiting call fail with CANCELLED. The sign-in continues, and later calls can
     * use its result; the client stays usable. Never waits. */
    status try_cancel() noexcept { return static_cast<status>(clopos_auth_cancel(handle_.get())); }

    /* Ends the client: wipes its token and credentials. Waiting calls fail with CANCELLED immediately,
     * later ones with INVALID_HANDLE. Waits only while a callback runs on another thread; afterwards none
     * is called again. (A callback that closes its own client is still running afterwards.) Any thread;
     * closing again does nothing. */
    void close() noexcept
    {
        clopos_auth_client_free(handle_.get());
        if (cache_)
            cache_->close();
    }

#if CLOPOS_AUTH_EXCEPTIONS
    /* Like make() and the members above, but they throw the error. */

    client(text client_id, text client_secret, text brand, text integrator_id,
           const config &settings = config())
        : client(make(std::move(client_id), std::move(client_secret), std::move(brand),
                      std::move(integrator_id), settings)
                     .value())
    {
    }

    client(const credentials &who, const config &settings) : client(make(who, settings).value()) {}

    /* A template, so that {a, b, c, d} alone means the constructor with four strings. */
    template <class Credentials, std::enable_if_t<std::is_same_v<Credentials, credentials>, int> = 0>
    explicit client(const Credentials &who) : client(who, config())
    {
    }

    [[nodiscard]] token authenticate(time_limit timeout = {}) { return try_authenticate(timeout).value(); }
    using token_source::invalidate;
    void invalidate() { throw_unless_ok(try_invalidate()); }
    [[nodiscard]] client_state state() const { return try_state().value(); }
    void cancel() { throw_unless_ok(try_cancel()); }
#endif

private:
    /* Frees the handle first, then the callbacks. */
    struct release {
        void operator()(clopos_auth_client *client) const noexcept { clopos_auth_client_free(client); }
        detail::sinks sinks;
    };

    struct release_state {
        void operator()(clopos_auth_state *state) const noexcept { clopos_auth_state_free(state); }
    };

    client(clopos_auth_client *handle, detail::sinks sinks,
           std::unique_ptr<detail::token_cache> cache) noexcept
        : cache_(std::move(cache)), handle_(handle, release{std::move(sinks)})
    {
    }

    [[nodiscard]] static std::optional<std::chrono::milliseconds> unless_negative(std::int64_t ms) noexcept
    {
        if (ms < 0)
            return std::nullopt;
        return std::chrono::milliseconds(ms);
    }

    template <class Function>
    [[nodiscard]] result<token> call(Function function, time_limit timeout)
    {
        clopos_auth_token *raw_token = nullptr;
        clopos_auth_error *raw_error = nullptr;
        const auto status = function(handle_.get(), timeout.milliseconds(), &raw_token, &raw_error);
        if (status != CLOPOS_AUTH_OK)
            return error(status, raw_error);
        return token(raw_token);
    }

    std::unique_ptr<detail::token_cache> cache_;
    std::unique_ptr<clopos_auth_client, release> handle_;
};

} // namespace clopos_auth

#endif // CLOPOS_AUTH_HPP
