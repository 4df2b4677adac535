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
 *     else if (token.error().status() == clopos_auth::status::rejected)
 *         ask_for_other_credentials();
 *
 * OWNERSHIP
 *
 *   client, config and token are move-only and free their object when destroyed. A moved-from one may be
 *   destroyed, assigned or used: a client or config then gives INVALID_HANDLE, a token is empty. Copying
 *   an error is cheap. A token outlives its client.
 *
 * TEXTS
 *
 *   Texts go in as `const char *`, `std::string` or `std::string_view`, in UTF-8; a view needs no NUL at
 *   its end. They are copied before a call returns, and the copies are wiped. A null pointer (a getenv()
 *   that found nothing) is INVALID_ARGUMENT, and so is a text with a NUL inside. Texts come out as
 *   std::string_view into the object that returned them.
 *
 * TIMES
 *
 *   Times go in as any std::chrono duration; they are rounded up to milliseconds.
 *
 * THREADS
 *
 *   Every member of client may be called by any number of threads at any time, close() included: calls
 *   that wait then fail with CANCELLED, later ones with INVALID_HANDLE. As with every C++ object,
 *   destroying, moving or assigning one while another thread uses it is not allowed: close(), join,
 *   destroy. A config belongs to one thread at a time. Tokens and errors are read-only.
 *
 * EVENT LOOPS
 *
 *   try_get_token(0ms) never waits. If it gives an error that is retryable (WOULD_WAIT is one), return to
 *   the loop; config::on_change() announces the result: post an event to the loop there, and call again
 *   when that event arrives. examples/cpp/event_loop.cpp is a whole program.
 *
 * FAILURES
 *
 *   Each function that can fail has two forms: get_token() throws clopos_auth::error, try_get_token()
 *   returns a result that holds the token or the error. Neither throws anything else but
 *   std::bad_alloc. With -fno-exceptions only the try_ form exists. <clopos_auth.h> documents the
 *   statuses. An exception that leaves one of your callbacks is caught and ignored: nothing else is
 *   affected, and the callback is called again the next time.
 *
 * TESTS OF YOUR PROGRAM
 *
 *   Let the code that needs tokens take a `token_source &`. In the program that is a client; in a unit
 *   test a fake_token_source, which needs no server and does not even have to be linked with the library.
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

/* The result of a call: the CLOPOS_AUTH_* numbers, documented there. A newer library may return one
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

/* Which root certificates are trusted, in addition to those added by add_ca_pem(). */
enum class roots : std::int32_t {
    bundled = CLOPOS_AUTH_ROOTS_BUNDLED,
    system = CLOPOS_AUTH_ROOTS_SYSTEM,
    none = CLOPOS_AUTH_ROOTS_NONE,
};

/* The severity of a log line. */
enum class log_level : std::int32_t {
    error = CLOPOS_AUTH_LOG_ERROR,
    warn = CLOPOS_AUTH_LOG_WARN,
    info = CLOPOS_AUTH_LOG_INFO,
    debug = CLOPOS_AUTH_LOG_DEBUG,
};

/* Receives log lines. Called from any thread, several at once; the line is one line of UTF-8 and valid
 * during the call. It may use the client, and close it. Exceptions from it are ignored. */
using log_function = std::function<void(log_level level, std::string_view line)>;

/* Is told that a request has finished: `ok` if there is a new token, else why the request failed. Called
 * from any thread, once for each change. It may use the client, and close it. Exceptions from it are
 * ignored. Keep it short: the next request of the client waits for it. */
using change_function = std::function<void(status status)>;

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

namespace detail {

/* The same as status_name() for the statuses of this header, without a call of the library. */
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

/* The category of statuses as std::error_code. Some equal a std::errc, whatever their category:
 * invalid_argument, would_wait (operation_would_block), cancelled (operation_canceled) and timeout
 * (timed_out). */
[[nodiscard]] inline const std::error_category &error_category() noexcept
{
    static const detail::category instance;
    return instance;
}

/* Found by std::error_code, which can so be made from a status and compared with one. */
[[nodiscard]] inline std::error_code make_error_code(status status) noexcept
{
    return {static_cast<int>(status), error_category()};
}

} // namespace clopos_auth

template <>
struct std::is_error_code_enum<clopos_auth::status> : std::true_type {};

namespace clopos_auth {

/* Why a call failed. what() is one line for a log: the status' name and the message. */
class error : public std::runtime_error {
public:
    /* Takes ownership of `raw`, which may be null: some functions return only a status, and memory may
     * run out. */
    error(clopos_auth_status status, clopos_auth_error *raw)
        : error(static_cast<clopos_auth::status>(status), clopos_auth_status_name(status),
                std::shared_ptr<const clopos_auth_error>(raw, release{}),
                // An older library's error ends before it.
                raw != nullptr && clopos_auth_version_number() >= 0x010100 ? raw->reason : 0)
    {
    }

    /* An error of your own, for a token_source that is not a client. Needs no library. */
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

    /* The status for code that works with std::error_code. */
    [[nodiscard]] std::error_code code() const noexcept { return status_; }

    /* One line without the status' name. Never a secret. */
    [[nodiscard]] std::string_view message() const noexcept { return message_of(fields_.get()); }

    /* The HTTP status of the response; 0 where no response was received. */
    [[nodiscard]] int http_status() const noexcept { return fields_ ? fields_->http_status : 0; }

    /* Whether the same call may succeed later without any change. */
    [[nodiscard]] bool retryable() const noexcept { return fields_ && fields_->retryable != 0; }

    /* The time until the next request may be sent, if known. */
    [[nodiscard]] std::optional<std::chrono::milliseconds> retry_after() const noexcept
    {
        if (!fields_ || fields_->retry_after_ms < 0)
            return std::nullopt;
        return std::chrono::milliseconds(fields_->retry_after_ms);
    }

    /* The service's own identifier of the failure ("authentication_failed"), if it gave one. Valid as
     * long as this error or a copy of it. */
    [[nodiscard]] std::optional<std::string_view> server_code() const noexcept
    {
        if (!fields_ || fields_->server_code == nullptr)
            return std::nullopt;
        return fields_->server_code;
    }

    /* Why the service refused the sign-in, where the status is `rejected` and the answer said so. */
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

/* What a try_ function returns: a T, or the error that says why there is none. Accessing the absent
 * alternative throws std::bad_variant_access. */
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

/* A string argument, converted from const char *, std::string or std::string_view: a copy, which is
 * wiped when the last copy of this object is destroyed. */
class text {
public:
    /* A null pointer, which the library refuses by the argument's name. */
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
        // A string with a NUL would be truncated. A control character is passed instead, so that the
        // library rejects it by name.
        if (value.find('\0') != value.npos)
            value = "\x01";
        const std::shared_ptr<char> copy(new char[value.size() + 1](), wipe{value.size()});
        value.copy(copy.get(), value.size());
        value_ = copy;
    }

    std::shared_ptr<const char> value_;
};

/* The four values that Clopos issues, by name, so that none is mistaken for another. Those that are not
 * set are refused by their names.
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

/* A time argument: any std::chrono duration, rounded up to milliseconds and clamped to the range. None
 * (the default, or std::nullopt) is the configured timeout. */
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

    /* As <clopos_auth.h> takes times. */
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

/* A token. Its text is wiped when neither a token nor a client holds it any more. */
class token {
public:
    /* Takes ownership of `raw`, which may be null. */
    explicit token(clopos_auth_token *raw)
        : raw_(raw, release{}), expires_in_(raw != nullptr ? raw->expires_in : 0)
    {
    }

    token(token &&) noexcept = default;
    token &operator=(token &&) noexcept = default;

    /* A token of your own, for a token_source that is not a client. Needs no library. Its serial is 0. */
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

    /* The JWT: visible ASCII characters, to be sent as it is in the header x-token. */
    [[nodiscard]] std::string_view value() const noexcept
    {
        return raw_ ? std::string_view(raw_->value, raw_->value_len) : std::string_view();
    }

    /* The same, with a NUL at its end. */
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

    /* Its number, which no other token of this process has. */
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

/* What gives tokens. Code that takes one of these, not a client, can be tested with a fake. */
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

/* For unit tests: gives the tokens and errors that it is told to give. Needs no server and no library:
 * code that uses token_source and this, but no client, links without libclopos_auth.
 *
 *     clopos_auth::fake_token_source source("a.fake.token");
 *     source.answer([] { return error::make(status::server, "the service failed", true); }); */
class fake_token_source : public token_source {
public:
    using answer_function = std::function<result<token>()>;

    /* Always gives a token of this text. */
    explicit fake_token_source(std::string_view value)
        : fake_token_source([text = std::string(value)] { return result<token>(token::make(text)); })
    {
    }

    /* Each call gives what `answer` returns. Several threads may call if they may call `answer`. */
    explicit fake_token_source(answer_function answer) : answer_(std::move(answer)) {}

    /* From now on another answer. Not while another thread calls. */
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

    /* How often a token was asked for, and how often one was reported as refused. */
    [[nodiscard]] std::size_t calls() const noexcept { return calls_; }
    [[nodiscard]] std::size_t refusals() const noexcept { return refusals_; }

private:
    answer_function answer_;
    std::atomic<std::size_t> calls_{0};
    std::atomic<std::size_t> refusals_{0};
};

/* What a client is doing, for status pages. */
struct client_state {
    bool has_token;
    bool is_fresh;
    bool request_in_flight;
    /* Until the token expires, and until it is due to be replaced; none: there is no token. */
    std::optional<std::chrono::milliseconds> expires_in;
    std::optional<std::chrono::milliseconds> refresh_in;
    /* Zero: a request may be sent now. */
    std::chrono::milliseconds next_request_in;
    /* Of the last finished request; `ok` and 0 if there was none. */
    status last_status;
    int last_http_status;
    /* How long ago it finished; none: there was no request yet. */
    std::optional<std::chrono::milliseconds> last_result_age;
    /* Since the client was made. */
    std::uint64_t requests;
    std::uint64_t failures;
    /* What belongs to last_status, never a secret; empty: that is `ok`. */
    std::string last_message;
};

namespace detail {

/* A callback, where the library's `user` points to. Owned by the config and its clients, and kept alive
 * during a call, which may destroy them. */
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
            // Nothing can be thrown through the library.
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

/* The current token, so that get_token() allocates nothing while it is the same. One place for each of
 * the first 16 threads, so that they do not share a reference count. Nobody waits: who finds a place
 * taken by another thread does without. */
class token_cache {
public:
    using shared = std::shared_ptr<const clopos_auth_token>;

    /* The token with this number, or null. */
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

    /* Drops every token, and keeps none from now on. Who holds a place needs it for some nanoseconds; in
     * a forked child it may be held for ever, and its token then lives until the client is destroyed. */
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
        char apart[64]{}; // the next place is in another cache line
    };

    template <class Action>
    bool visit(place &at, Action action) noexcept
    {
        shared dropped; // after the place is free again
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

/* The settings of a client, all at their defaults when made. Ranges and defaults: <clopos_auth.h>,
 * under clopos_auth_config_set_*.
 *
 *     clopos_auth::config settings;
 *     settings.user_agent("MyTill/4.2").timeout(10s);
 *     clopos_auth::client clopos(id, secret, brand, integrator, settings);
 *
 * The first rejected setting is stored; failure() returns it and creating a client reports it, so the
 * calls above need no checks. */
class config {
public:
    /* If memory or handles ran out, making a client with it gives INVALID_HANDLE. */
    config() noexcept : handle_(clopos_auth_config_new()) {}

    /* Where the service is: "https://HOST[:PORT][/PREFIX]". */
    config &base_url(text url) { return set(clopos_auth_config_set_base_url, url.c_str()); }

    /* The path of the sign-in, after the base URL; "/open-api/v2/auth" unless set. */
    config &auth_path(text path) { return set(clopos_auth_config_set_auth_path, path.c_str()); }

    /* The timeout of calls that specify none. */
    config &timeout(time_limit timeout)
    {
        return set(clopos_auth_config_set_timeout_ms, timeout.milliseconds());
    }

    /* How long one attempt may take. */
    config &attempt_timeout(time_limit timeout)
    {
        return set(clopos_auth_config_set_attempt_timeout_ms, timeout.milliseconds());
    }

    /* How many attempts one sign-in may take before its callers get an error. */
    config &max_attempts(std::uint32_t attempts)
    {
        return set(clopos_auth_config_set_max_attempts, attempts);
    }

    /* The most requests that a client sends in any minute. */
    config &requests_per_minute(std::uint32_t requests)
    {
        return set(clopos_auth_config_set_requests_per_minute, requests);
    }

    /* Which root certificates are trusted, in addition to added ones. */
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
        using sink = detail::sink<log_function>;
        sinks_.log = log ? std::make_shared<sink>(std::move(log)) : nullptr;
        return set(clopos_auth_config_set_log, static_cast<std::int32_t>(level),
                   sinks_.log ? &detail::receive_line : nullptr, static_cast<void *>(sinks_.log.get()));
    }

    /* Calls `changed` when a request has finished; an empty function switches that off. The clients keep
     * it alive. */
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

/* Signs in to the service and keeps the token. One for the whole program is enough. */
class client : public token_source {
public:
    client(client &&) noexcept = default;
    client &operator=(client &&other) noexcept
    {
        // The old client is freed first: until then, its functions may use what it keeps.
        handle_ = std::move(other.handle_);
        cache_ = std::move(other.cache_);
        return *this;
    }

    /* Copies its arguments; sends nothing yet. `error`: what clopos_auth_client_new() lists, or a
     * setting that was refused. */
    [[nodiscard]] static result<client> make(const credentials &who, const config &settings = config())
    {
        clopos_auth_client *handle = nullptr;
        clopos_auth_error *raw = nullptr;
        if (settings.failure_)
            return *settings.failure_;
        // To the library, NULL would be the defaults.
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

    /* The cached token while it is fresh, at once; else asks the service. Call it before every request
     * instead of keeping a token yourself: while the token is the same and need not be replaced yet, a
     * thread's second and further calls allocate nothing and wait for nobody. (Of more than 16 threads,
     * some share what is kept for that: of two that call at the same moment, one may allocate a copy.)
     *
     * `timeout` bounds the whole call; zero never waits (WOULD_WAIT, and a request is started); none
     * is the configured one. */
    [[nodiscard]] result<token> try_get_token(time_limit timeout = {}) override
    {
        std::int64_t expires_in = 0;
        const auto serial = clopos_auth_current(handle_.get(), &expires_in);
        if (serial != 0 && cache_)
            if (auto found = cache_->find(serial))
                return token(std::move(found), std::chrono::seconds(expires_in));
        auto asked = ask(clopos_auth_get_token, timeout);
        if (asked && cache_)
            cache_->keep(asked->raw_);
        return asked;
    }

    /* Asks the service, whatever is cached. For a "test the credentials" button. */
    [[nodiscard]] result<token> try_authenticate(time_limit timeout = {})
    {
        return ask(clopos_auth_authenticate, timeout);
    }

    /* The service refused this token (HTTP 401 on another endpoint): forgets it, unless there is a
     * newer one already. The next call asks for another. Never waits. */
    status try_invalidate(const token &refused) noexcept override
    {
        return static_cast<status>(clopos_auth_invalidate(handle_.get(), refused.c_str()));
    }

    /* Forgets whichever token is cached. */
    status try_invalidate() noexcept
    {
        return static_cast<status>(clopos_auth_invalidate(handle_.get(), nullptr));
    }

    /* The number of the token that get_token() would return now without doing anything else
     * (token::serial()), 0 if it would have to do more. `expires_in`, if not null, receives what is left
     * of its life. Takes no lock, allocates nothing. */
    [[nodiscard]] std::uint64_t current(std::chrono::seconds *expires_in = nullptr) const noexcept
    {
        std::int64_t left = 0;
        const auto serial = clopos_auth_current(handle_.get(), &left);
        if (expires_in != nullptr)
            *expires_in = std::chrono::seconds(left);
        return serial;
    }

    /* What the client is doing, for a status page. Sends nothing and never waits. */
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

    /* Makes every call that is waiting fail with CANCELLED. A request in progress continues; later calls
     * can use its result. Never waits. */
    status try_cancel() noexcept { return static_cast<status>(clopos_auth_cancel(handle_.get())); }

    /* Ends the client: calls that wait fail with CANCELLED at once, later ones with INVALID_HANDLE.
     * After it has returned no callback is called any more (if it was called from one, that callback
     * still finishes). May be called by any thread, and again. */
    void close() noexcept
    {
        clopos_auth_client_free(handle_.get());
        if (cache_)
            cache_->close();
    }

#if CLOPOS_AUTH_EXCEPTIONS
    /* The same as make(), and the members above; they throw their error. */

    client(text client_id, text client_secret, text brand, text integrator_id,
           const config &settings = config())
        : client(make(std::move(client_id), std::move(client_secret), std::move(brand),
                      std::move(integrator_id), settings)
                     .value())
    {
    }

    client(const credentials &who, const config &settings) : client(make(who, settings).value()) {}

    /* A template, so that {a, b, c, d} alone still means the constructor with four texts. */
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
    [[nodiscard]] result<token> ask(Function function, time_limit timeout)
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
