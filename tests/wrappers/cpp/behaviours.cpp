// The rows of ../behaviours.md for include/clopos_auth.hpp.

#include <clopos_auth.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using clopos_auth::client;
using clopos_auth::config;
using clopos_auth::error;
using clopos_auth::log_level;
using clopos_auth::status;
using clopos_auth::token;
using steady = std::chrono::steady_clock;

template <class T>
constexpr bool moves_only =
    !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> &&
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>;
static_assert(moves_only<client> && moves_only<config> && moves_only<token>);

// Nothing that contains a secret can be printed by mistake.
template <class T, class = void>
constexpr bool is_printable = false;
template <class T>
constexpr bool is_printable<T, std::void_t<decltype(std::declval<std::ostream &>() << std::declval<T>())>> =
    true;
static_assert(is_printable<std::string> && !is_printable<client> && !is_printable<config>);
static_assert(!is_printable<token> && !is_printable<clopos_auth::result<token>>);
static_assert(!is_printable<clopos_auth::text> && !is_printable<clopos_auth::credentials>);
static_assert(!is_printable<clopos_auth::fake_token_source>);

// A client is a token_source. A status is an error code.
static_assert(std::is_convertible_v<client *, clopos_auth::token_source *>);
static_assert(std::is_error_code_enum_v<status> && is_printable<std::error_code>);

static_assert(std::is_nothrow_copy_constructible_v<error> && std::is_copy_assignable_v<error>);

// The number of allocations of this thread, in the library and outside. Not with sanitizers, which replace
// malloc() themselves.
static thread_local std::size_t allocations = 0;

#ifdef __SANITIZE_ADDRESS__
constexpr bool counts_allocations = false;
#else
constexpr bool counts_allocations = true;

extern "C" void *__libc_malloc(std::size_t size);
extern "C" void *__libc_calloc(std::size_t count, std::size_t size);

extern "C" void *malloc(std::size_t size) noexcept
{
    allocations++;
    return __libc_malloc(size);
}

extern "C" void *calloc(std::size_t count, std::size_t size) noexcept
{
    allocations++;
    return __libc_calloc(count, size);
}
#endif

namespace {

[[noreturn]] void fail(int line, const char *what)
{
    std::cout << "behaviours.cpp:" << line << ": " << what << std::endl;
    std::_Exit(1);
}

#define CHECK(condition) ((condition) ? void() : fail(__LINE__, #condition))

// Waits until the condition holds; fails after 20 s.
template <class Condition>
void wait_until(Condition holds)
{
    for (const auto deadline = steady::now() + 20s; !holds(); std::this_thread::sleep_for(1ms))
        CHECK(steady::now() < deadline);
}

// Empty if the variable is not set.
std::string env(const char *name)
{
    const char *value = std::getenv(name);
    return value != nullptr ? value : "";
}

bool contains(std::string_view whole, std::string_view part)
{
    return whole.find(part) != whole.npos;
}

// The lines that the log function has received, and the token that must not be in one.
struct {
    std::mutex lock;
    std::condition_variable changed;
    int lines = 0;
    std::string token;
} seen;

void log_line(log_level level, std::string_view line)
{
    const std::lock_guard hold(seen.lock);
    std::cerr << "log " << static_cast<int>(level) << ": " << line << std::endl;
    CHECK(level >= log_level::error && level <= log_level::debug);
    CHECK(!line.empty() && !contains(line, env("CLOPOS_CLIENT_SECRET")));
    CHECK(seen.token.empty() || !contains(line, seen.token));
    seen.lines++;
    seen.changed.notify_all();
}

int lines_seen()
{
    const std::lock_guard hold(seen.lock);
    return seen.lines;
}

config config_from_environment()
{
    config settings;
    settings.log(log_level::debug, log_line).base_url(std::getenv("CLOPOS_BASE_URL"));
    if (const auto proxy = env("CLOPOS_PROXY"); !proxy.empty())
        settings.proxy(proxy);
    if (const auto timeout = env("CLOPOS_TIMEOUT_MS"); !timeout.empty())
        settings.timeout(std::chrono::milliseconds(std::stoi(timeout)));
    if (const auto attempts = env("CLOPOS_MAX_ATTEMPTS"); !attempts.empty())
        settings.max_attempts(static_cast<std::uint32_t>(std::stoul(attempts)));
    if (const auto path = env("CLOPOS_AUTH_PATH"); !path.empty())
        settings.auth_path(path);
    if (const auto path = env("CLOPOS_CA_FILE"); !path.empty()) {
        std::ifstream file(path, std::ios::binary);
        const std::string pem(std::istreambuf_iterator<char>(file), {});
        settings.add_ca_pem(pem).trust(clopos_auth::roots::none);
    }
    CHECK(!settings.failure());
    return settings;
}

client client_with(const config &settings)
{
    return client(std::getenv("CLOPOS_CLIENT_ID"), std::getenv("CLOPOS_CLIENT_SECRET"),
                  std::getenv("CLOPOS_BRAND"), std::getenv("CLOPOS_INTEGRATOR_ID"), settings);
}

client client_from_environment()
{
    return client_with(config_from_environment());
}

// `call` throws an error with this status that names this. Returns the error.
template <class Call>
error expect(status expected, Call call, const char *named = "")
{
    try {
        call();
    } catch (const error &e) {
        std::cerr << "error: " << e.what() << std::endl;
        CHECK(e.status() == expected);
        CHECK(!e.message().empty() && contains(e.message(), named));
        CHECK(contains(e.what(), e.message()));
        CHECK(contains(e.what(), clopos_auth::status_name(expected)));
        return e;
    }
    fail(__LINE__, "no error");
}

void allocates_nothing_for_the_same_token(client &clopos, const token &same)
{
    auto before = allocations;
    for (int call = 0; call < 1000; call++)
        CHECK(clopos.get_token().serial() == same.serial());
    CHECK(allocations == before);
    // The counter works.
    before = allocations;
    (void)clopos.try_state();
    CHECK(!counts_allocations || allocations > before);
}

void signs_in()
{
    client clopos = client_from_environment();
    const token first = clopos.get_token();
    const auto second = clopos.try_get_token();
    const auto in_an_hour = std::chrono::system_clock::now() + 1h;

    CHECK(std::count(first.value().begin(), first.value().end(), '.') == 2);
    CHECK(first.value() == first.c_str());
    CHECK(first.type() == "Bearer");
    CHECK(first.expires_in() >= 3500s && first.expires_in() <= 3600s);
    CHECK(first.expires_at() >= in_an_hour - 1min && first.expires_at() <= in_an_hour + 1min);
    CHECK(second && second->value() == first.value());
    CHECK(first.serial() != 0 && second.value().serial() == first.serial());
    const token third = clopos.authenticate();
    CHECK(third.value() != first.value() && third.serial() != first.serial());
    CHECK(clopos.get_token().value() == third.value());
    std::chrono::seconds left{};
    CHECK(clopos.current(&left) == third.serial() && left > 3500s && left <= 3600s);
    // A view without a NUL at its end, and credentials by name.
    const std::string secret = env("CLOPOS_CLIENT_SECRET") + "-and-more";
    clopos_auth::credentials who;
    who.client_id = std::getenv("CLOPOS_CLIENT_ID");
    who.client_secret = std::string_view(secret).substr(0, secret.size() - std::strlen("-and-more"));
    who.brand = env("CLOPOS_BRAND");
    who.integrator_id = env("CLOPOS_INTEGRATOR_ID");
    client other(who, config_from_environment());
    CHECK(env("CLOPOS_BRAND") != "sandbox" || other.current() == 0);
    allocates_nothing_for_the_same_token(clopos, third);
}

void all_settings()
{
    config settings = config_from_environment();
    settings.auth_path("/open-api/v2/auth")
        .attempt_timeout(5s)
        .requests_per_minute(20)
        .user_agent("Till/4.2")
        .proxy("none")
        .allow_plain_http(false)
        .on_change([](auto) {});
    CHECK(!client_with(settings).get_token().value().empty());
}

void log_lines()
{
    client clopos = client_from_environment();
    const token refused = clopos.get_token();
    {
        const std::lock_guard hold(seen.lock);
        seen.token = refused.value();
    }
    clopos.invalidate(refused);
    clopos.close();
    const int lines = lines_seen();
    CHECK(lines >= 2);
    expect(status::invalid_handle, [&] { clopos.invalidate(); });
    std::this_thread::sleep_for(200ms);
    CHECK(lines_seen() == lines);
}

void warns_of_too_much_copied()
{
    client_from_environment().close();
    CHECK(lines_seen() == 1);
}

void check_fields(const error &e)
{
    const auto server_code = env("EXPECT_SERVER_CODE");

    std::cerr << "error: " << e.http_status() << ' ' << e.retryable() << ' ' << e.what() << std::endl;
    CHECK(clopos_auth::status_name(e.status()) == env("EXPECT_STATUS"));
    CHECK(e.http_status() == std::stoi(env("EXPECT_HTTP_STATUS")));
    CHECK(e.retryable() == (env("EXPECT_RETRYABLE") == "1"));
    const auto expected = env("EXPECT_RETRY_AFTER");
    if (expected == "unknown") {
        CHECK(!e.retry_after());
    } else {
        const std::chrono::seconds least(std::stoi(expected));
        const std::chrono::seconds most(std::stoi(expected.substr(expected.find('-') + 1)));
        CHECK(e.retry_after() && *e.retry_after() >= least && *e.retry_after() <= most);
    }
    const std::map<std::string, clopos_auth::reason> reasons = {
        {"UNKNOWN", clopos_auth::reason::unknown},         {"CREDENTIALS", clopos_auth::reason::credentials},
        {"INTEGRATOR", clopos_auth::reason::integrator},   {"ENVIRONMENT", clopos_auth::reason::environment},
        {"DISABLED", clopos_auth::reason::disabled},       {"MISSING_FIELD", clopos_auth::reason::missing_field},
    };
    CHECK(e.reason() == reasons.at(env("EXPECT_REASON")));
    CHECK(e.server_code().has_value() == !server_code.empty());
    CHECK(e.server_code().value_or("") == server_code);
    CHECK(!e.message().empty() && !contains(e.what(), env("CLOPOS_CLIENT_SECRET")));
}

void fails_as_expected()
{
    client clopos = client_from_environment();
    try {
        (void)clopos.get_token();
    } catch (const error &e) {
        return check_fields(e);
    }
    fail(__LINE__, "no error");
}

void wrong_secret()
{
    client clopos = client_from_environment();
    const auto first = clopos.try_get_token();
    CHECK(!first && !first.has_value());
    check_fields(first.error());
    // Immediately, and without another request.
    auto again = clopos.try_authenticate();
    CHECK(!again && again.error().code() == status::rejected);
    check_fields(again.error());
    expect(status::rejected, [&] { (void)again.value(); });
    expect(status::rejected, [&] { (void)std::as_const(again).value(); });
    expect(status::rejected, [&] { (void)std::move(again).value(); });
}

void refuses_brand(clopos_auth::text brand)
{
    expect(
        status::invalid_argument, [&] { client("id", "secret", brand, "integrator"); }, "brand");
    const auto made = client::make("id", "secret", brand, "integrator");
    CHECK(!made && contains(made.error().message(), "brand"));
}

void refuses_base_url(clopos_auth::text url)
{
    config settings;
    settings.base_url(url).timeout(1s);
    CHECK(settings.failure()->status() == status::invalid_argument);
    expect(
        status::invalid_argument, [&] { client("id", "secret", "brand", "integrator", settings); },
        "base_url");
}

template <class String>
void refuses_ca_pem(String pem)
{
    config settings;
    settings.add_ca_pem(pem);
    CHECK(settings.failure()->status() == status::invalid_argument);
    CHECK(contains(settings.failure()->message(), "pem"));
}

void names_statuses();

void invalid_argument()
{
    names_statuses();
    refuses_brand("");
    refuses_brand("two\nlines");
    refuses_brand(nullptr);
    refuses_base_url("not a url");
    refuses_ca_pem(nullptr);
    refuses_ca_pem(std::getenv("CLOPOS_NOT_SET"));
    refuses_ca_pem("no certificate");
    refuses_ca_pem(std::string("no certificate"));
    refuses_ca_pem(std::string_view("no certificate"));
    const auto refuses_timeout = [](clopos_auth::time_limit timeout) {
        config settings;
        settings.timeout(timeout);
        return settings.failure() && settings.failure()->status() == status::invalid_argument;
    };
    CHECK(refuses_timeout(-1s) && refuses_timeout(0h) && refuses_timeout(2h));
    CHECK(refuses_timeout(std::chrono::hours::max()) && refuses_timeout(std::nullopt));
    CHECK(!refuses_timeout(1ns) && !refuses_timeout(0.5s) && !refuses_timeout(1h));
    // The error names a credential that is not set.
    clopos_auth::credentials who;
    who.client_id = "id";
    expect(status::invalid_argument, [&] { client{who}; }, "client_secret");
}

// The header has the library's names of the statuses, and a status is an error code.
void names_statuses()
{
    for (std::int32_t number = 0; number < 100; number++) {
        const auto one = static_cast<status>(number);
        CHECK(clopos_auth::status_name(one) == std::error_code(one).message());
    }
    CHECK(std::error_code(status::ok) == std::error_code(0, clopos_auth::error_category()));
    CHECK(!std::error_code(status::ok) && std::error_code(status::dns) == status::dns);
    CHECK(std::error_code(status::timeout) == std::errc::timed_out);
    CHECK(std::error_code(status::cancelled) == std::errc::operation_canceled);
    CHECK(std::error_code(status::would_wait) == std::errc::operation_would_block);
    CHECK(std::error_code(status::invalid_argument) == std::errc::invalid_argument);
    CHECK(std::error_code(status::dns) != std::errc::timed_out);
}

void nul_inside()
{
    refuses_brand(std::string("sand\0box", 8));
    refuses_brand(std::string_view("sand\0box", 8));
    refuses_base_url(std::string("https://localhost\0.example", 26));
}

void would_wait()
{
    client clopos = client_from_environment();
    const auto start = steady::now();
    const auto e = expect(status::would_wait, [&] { (void)clopos.get_token(0ms); });

    CHECK(steady::now() - start < 1s);
    CHECK(e.retryable());
    const token waited_for = clopos.get_token();
    CHECK(clopos.get_token(0ms).value() == waited_for.value());
}

void deadline()
{
    client clopos = client_from_environment();
    const auto start = steady::now();
    expect(status::timeout, [&] { (void)clopos.get_token(300ms); });
    const auto took = steady::now() - start;

    CHECK(took >= 300ms && took < 2s);
    CHECK(!clopos.get_token(20s).value().empty());
}

void cancelled()
{
    client clopos = client_from_environment();
    const auto start = steady::now();
    auto call = std::async(std::launch::async, [&] { return clopos.get_token(); });

    while (call.wait_for(10ms) != std::future_status::ready) {
        clopos.cancel();
        CHECK(steady::now() - start < 2s);
    }
    expect(status::cancelled, [&] { (void)call.get(); });
    CHECK(!clopos.get_token().value().empty());
}

void closed_while_in_use()
{
    client clopos = client_from_environment();
    std::atomic<std::size_t> started{0};
    std::vector<std::future<token>> calls;
    std::size_t in_time = 0;

    while (calls.size() < 8)
        calls.push_back(std::async(std::launch::async, [&] {
            started++;
            return clopos.get_token();
        }));
    while (started < calls.size() || lines_seen() == 0)
        std::this_thread::sleep_for(1ms);
    const auto start = steady::now();
    clopos.close();
    for (auto &call : calls) {
        try {
            (void)call.get();
            fail(__LINE__, "no error");
        } catch (const error &e) {
            in_time += e.status() == status::cancelled;
            CHECK(e.status() == status::cancelled || e.status() == status::invalid_handle);
        }
    }
    CHECK(steady::now() - start < 2s);
    CHECK(in_time >= 1);
}

void used_after_close()
{
    client clopos = client_from_environment();
    const token kept = clopos.get_token();

    clopos.close();
    expect(status::invalid_handle, [&] { (void)clopos.get_token(); });
    expect(status::invalid_handle, [&] { (void)clopos.authenticate(); });
    expect(status::invalid_handle, [&] { clopos.invalidate(kept); });
    expect(status::invalid_handle, [&] { clopos.cancel(); });
    CHECK(clopos.try_get_token().error().status() == status::invalid_handle);
    CHECK(clopos.try_cancel() == status::invalid_handle);
    clopos.close();
    CHECK(!kept.value().empty());
}

// If no other thread uses the client, its log function may even destroy it.
void destroyed_by_its_log_function()
{
    std::unique_ptr<client> clopos;
    std::promise<void> may_end, ended;
    config settings = config_from_environment();

    settings.log(log_level::debug, [&, witness = std::string(100, 'x')](auto, auto) {
        may_end.get_future().wait();
        clopos.reset();
        CHECK(witness == std::string(100, 'x'));
        ended.set_value();
    });
    clopos = std::make_unique<client>(client_with(settings));
    settings = config();
    CHECK(clopos->try_get_token(0ms).error().status() == status::would_wait);
    may_end.set_value();
    ended.get_future().wait();
}

void closed_by_its_log_function()
{
    std::optional<client> clopos;
    std::atomic<int> lines{0};
    config settings = config_from_environment();
    const auto start = steady::now();

    // What the function captures must stay alive while it runs.
    settings.log(log_level::debug, [&, witness = std::string(100, 'x')](auto, auto line) {
        std::cerr << "log: " << line << std::endl;
        clopos->close();
        CHECK(witness == std::string(100, 'x'));
        lines++;
    });
    clopos = client_with(settings);
    settings = config();
    expect(status::cancelled, [&] { (void)clopos->get_token(); });
    CHECK(steady::now() - start < 2s);
    std::this_thread::sleep_for(200ms);
    CHECK(lines == 1);
    destroyed_by_its_log_function();
}

void a_second_close_waits()
{
    std::promise<void> entered;
    std::atomic<bool> is_first{true}, finished{false};
    std::atomic<int> closing{0};
    config settings = config_from_environment();

    settings.log(log_level::debug, [&](auto, auto) {
        if (!is_first.exchange(false))
            return;
        entered.set_value();
        while (closing < 2)
            std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(500ms);
        finished = true;
    });
    client clopos = client_with(settings);
    CHECK(clopos.try_get_token(0ms).error().status() == status::would_wait);
    entered.get_future().wait();
    const auto close = [&](std::chrono::milliseconds delay) {
        std::this_thread::sleep_for(delay);
        closing++;
        clopos.close();
        return finished.load();
    };
    auto one = std::async(std::launch::async, close, 0ms);
    auto other = std::async(std::launch::async, close, 100ms);
    CHECK(one.get() && other.get());
}

void ends_without_close()
{
    static auto *clopos = new client(client_from_environment());
    expect(status::would_wait, [&] { (void)clopos->get_token(0ms); });
}

// The arguments of the change function, and the tokens that a call with timeout 0 inside it returned.
struct {
    std::mutex lock;
    std::vector<status> statuses;
    std::vector<std::string> tokens;
} announced;

client announcing_client(client *&its_client)
{
    config settings = config_from_environment();
    settings.on_change([&](status result) {
        auto given = its_client->try_get_token(0ms);
        const std::lock_guard hold(announced.lock);
        announced.statuses.push_back(result);
        announced.tokens.emplace_back(given ? given->value() : "");
    });
    return client_with(settings);
}

std::size_t announcements()
{
    const std::lock_guard hold(announced.lock);
    return announced.statuses.size();
}

void announces_a_token()
{
    client *its_client = nullptr;
    client clopos = announcing_client(its_client);
    its_client = &clopos;
    const std::string first(clopos.get_token().value());
    wait_until([] { return announcements() == 1; });
    const std::string second(clopos.authenticate().value());
    wait_until([] { return announcements() == 2; });
    clopos.invalidate();
    clopos.close();
    CHECK(clopos.try_get_token(0ms).error().status() == status::invalid_handle);
    std::this_thread::sleep_for(200ms);
    CHECK((announced.statuses == std::vector{status::ok, status::ok}));
    CHECK((announced.tokens == std::vector{first, second}));
}

void announces_a_failure()
{
    client *its_client = nullptr;
    client clopos = announcing_client(its_client);
    its_client = &clopos;
    expect(status::server, [&] { (void)clopos.get_token(); });
    wait_until([] { return announcements() > 0; });
    clopos.close();
    CHECK(announced.statuses == std::vector{status::server});
}

void change_function_that_fails()
{
    std::atomic<int> calls{0};
    config settings = config_from_environment();
    settings.on_change([&](auto) {
        calls++;
        throw std::runtime_error("injected");
    });
    client clopos = client_with(settings);
    const token first = clopos.get_token();
    CHECK(clopos.authenticate().value() != first.value());
    wait_until([&] { return calls == 2; });
    clopos.close();
}

void change_function_that_closes()
{
    std::optional<client> clopos;
    std::atomic<int> calls{0};
    config settings = config_from_environment();
    settings.on_change([&, witness = std::string(100, 'x')](auto) {
        clopos->close();
        CHECK(witness == std::string(100, 'x'));
        calls++;
    });
    clopos = client_with(settings);
    settings = config();
    const auto start = steady::now();
    const auto given = clopos->try_get_token();
    CHECK(given || given.error().status() == status::cancelled);
    CHECK(steady::now() - start < 2s);
    wait_until([&] { return calls == 1; });
    std::this_thread::sleep_for(200ms);
    CHECK(calls == 1);
}

void change_function_that_is_slow()
{
    std::promise<void> entered;
    std::atomic<bool> is_first{true}, finished{false};
    config settings = config_from_environment();
    settings.on_change([&](auto) {
        if (!is_first.exchange(false))
            return;
        entered.set_value();
        std::this_thread::sleep_for(4s);
        finished = true;
    });
    client clopos = client_with(settings);
    const auto start = steady::now();
    const token first = clopos.get_token();
    entered.get_future().wait();
    CHECK(clopos.get_token().value() == first.value());
    CHECK(steady::now() - start < 2s && !finished);
    clopos.close();
    CHECK(finished);
}

std::ptrdiff_t threads()
{
    using list = std::filesystem::directory_iterator;
    return std::distance(list("/proc/self/task"), list());
}

// Like an event loop: it has a list of callers that need a token, and tries each after a change.
void waits_without_a_thread()
{
    struct {
        std::mutex lock;
        std::condition_variable posted;
        int changes = 0;
    } loop;
    config settings = config_from_environment();
    settings.on_change([&](auto) {
        const std::lock_guard hold(loop.lock);
        loop.changes++;
        loop.posted.notify_one();
    });
    client clopos = client_with(settings);
    const auto before = threads();
    std::vector<std::optional<token>> waiting(5000);
    const auto look = [&](std::optional<token> &wanted) {
        auto given = clopos.try_get_token(0ms);
        if (given)
            wanted = *std::move(given);
        else
            CHECK(given.error().retryable());
        return wanted.has_value();
    };
    for (auto &wanted : waiting)
        CHECK(!look(wanted));
    CHECK(threads() <= before + 8);
    std::unique_lock hold(loop.lock);
    CHECK(loop.posted.wait_for(hold, 20s, [&] { return loop.changes > 0; }));
    hold.unlock();
    for (auto &wanted : waiting)
        CHECK(look(wanted) && wanted->value() == waiting.front()->value());
}

void state()
{
    client clopos = client_from_environment();
    const auto at_first = clopos.state();
    CHECK(!at_first.has_token && !at_first.is_fresh && !at_first.request_in_flight);
    CHECK(at_first.requests == 0 && at_first.failures == 0 && at_first.last_message.empty());
    CHECK(!at_first.expires_in && !at_first.refresh_in && !at_first.last_result_age);
    CHECK(at_first.next_request_in == 0ms);

    expect(status::would_wait, [&] { (void)clopos.get_token(0ms); });
    CHECK(clopos.state().request_in_flight);

    (void)clopos.get_token();
    wait_until([&] { return !clopos.state().request_in_flight; });
    const auto at_last = clopos.state();
    CHECK(at_last.has_token && at_last.is_fresh);
    CHECK(*at_last.expires_in >= 3500s && *at_last.expires_in <= 3600s);
    CHECK(*at_last.refresh_in < *at_last.expires_in);
    CHECK(at_last.last_status == status::ok && at_last.last_http_status == 200);
    CHECK(*at_last.last_result_age < 10s);
    CHECK(at_last.requests == 2 && at_last.failures == 1 && at_last.last_message.empty());
    clopos.close();
    expect(status::invalid_handle, [&] { (void)clopos.state(); });
}

void nothing_printed()
{
    config settings = config_from_environment();
    settings.log(log_level::error, {});
    client clopos = client_with(settings);
    const auto failed = clopos.try_get_token();
    CHECK(!failed && failed.error().status() == status::server);
    const token refused = clopos.get_token();
    std::this_thread::sleep_for(3200ms);
    clopos.invalidate(refused);
    CHECK(!clopos.get_token().value().empty());
    clopos.close();
    const auto closed = clopos.try_get_token();
    CHECK(!closed && closed.error().status() == status::invalid_handle);
    CHECK(!client::make("id", "secret", "", "integrator"));
}

// A program's code, and its test.
std::string header_for(clopos_auth::token_source &source)
{
    try {
        return "x-token: " + std::string(source.get_token(2s).value());
    } catch (const error &e) {
        return e.reason() == clopos_auth::reason::credentials ? "check the credentials" : e.what();
    }
}

void fake()
{
    clopos_auth::fake_token_source source("a.fake.token");
    CHECK(header_for(source) == "x-token: a.fake.token");
    source.invalidate(*source.try_get_token());
    source.answer([] {
        return error::make(status::rejected, "the secret is wrong", false, 5s,
                           clopos_auth::reason::credentials);
    });
    CHECK(header_for(source) == "check the credentials");
    const auto refused = source.try_get_token();
    CHECK(!refused && refused.error().status() == status::rejected);
    CHECK(std::string_view(refused.error().what()) == "REJECTED: the secret is wrong");
    CHECK(!refused.error().retryable() && refused.error().retry_after() == 5s);
    CHECK(source.calls() == 4 && source.refusals() == 1);
}

void moved_from()
{
    client one = client_from_environment();
    client other = std::move(one);
    token kept = other.get_token();
    config settings = config_from_environment();
    config taken = std::move(settings);
    const auto e =
        std::make_unique<error>(expect(status::invalid_handle, [&] { (void)one.get_token(); }));
    const error copy = *e;

    expect(status::invalid_handle, [&] { one.cancel(); });
    one.close();
    one = std::move(other);
    one = std::move(static_cast<client &>(one));
    kept = std::move(static_cast<token &>(kept));
    CHECK(one.get_token().value() == kept.value());
    const token moved = std::move(kept);
    CHECK(!moved.value().empty() && moved.type() == "Bearer");
    CHECK(kept.value().empty() && *kept.c_str() == '\0' && kept.type().empty());
    CHECK(kept.expires_in() == 0s && kept.expires_at() == clopos_auth::sys_seconds());
    expect(status::invalid_argument, [&] { one.invalidate(kept); });
    CHECK(one.get_token().value() == moved.value());
    expect(status::invalid_handle, [&] { client_with(settings); });
    settings.max_attempts(1);
    expect(status::invalid_handle, [&] { client_with(settings); });
    client_with(taken).close();
    CHECK(copy.message() == e->message() && copy.status() == e->status());
    std::vector<client> many;
    many.push_back(std::move(one));
    many.push_back(client_with(taken));
    CHECK(many[0].get_token().value() == moved.value());
}

void expired_and_refreshed()
{
    client clopos = client_from_environment();
    token current = clopos.get_token();
    const auto deadline = steady::now() + 20s;

    for (int changes = 0; changes < 2; std::this_thread::sleep_for(10ms)) {
        token next = clopos.get_token();
        CHECK(next.expires_in() >= 0s);
        changes += next.value() != current.value();
        current = std::move(next);
        CHECK(steady::now() < deadline);
    }
}

void recovers_from_a_401()
{
    client clopos = client_from_environment();
    const token refused = clopos.get_token();

    std::this_thread::sleep_for(3200ms);
    clopos.invalidate(refused);
    const token next = clopos.get_token();
    CHECK(next.value() != refused.value());
    clopos.invalidate(refused);
    CHECK(clopos.get_token().value() == next.value());
}

void sixty_four_threads()
{
    client clopos = client_from_environment();
    std::promise<void> open;
    const auto gate = open.get_future().share();
    std::atomic<std::size_t> waiting{0};
    std::vector<std::future<token>> calls;

    while (calls.size() < 64)
        calls.push_back(std::async(std::launch::async, [&] {
            waiting++;
            gate.wait();
            token first = clopos.get_token();
            for (int i = 1; i < 1000; i++)
                CHECK(clopos.get_token().value() == first.value());
            return first;
        }));
    while (waiting < calls.size())
        std::this_thread::sleep_for(1ms);
    open.set_value();
    const token first = calls.front().get();
    for (auto call = std::next(calls.begin()); call != calls.end(); ++call)
        CHECK(call->get().value() == first.value());
}

long resident_bytes()
{
    long total = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    CHECK(resident > 0);
    return resident * sysconf(_SC_PAGESIZE);
}

void no_leak()
{
    client clopos = client_from_environment();
    long before = 0;

    for (int cycle = 0; cycle < 12000; cycle++) {
        if (cycle == 2000)
            before = resident_bytes();
        for (int i = 0; i < 10; i++) {
            CHECK(!clopos.get_token().value().empty());
            try {
                client("a", "b", "", "d");
                fail(__LINE__, "no error");
            } catch (const error &e) {
                CHECK(e.status() == status::invalid_argument);
            }
        }
        config settings;
        settings.log(log_level::debug, [text = std::string(100, 'x')](auto, auto) {});
        client("a", "b", "c", "d", settings).close();
    }
    const long grown = resident_bytes() - before;
    std::cerr << "grown by " << grown / 1024 << " KiB" << std::endl;
    CHECK(grown < 4 << 20);
}

const std::map<std::string, void (*)()> BEHAVIOURS = {
    {"signs_in", signs_in},
    {"non_ascii_brand", signs_in},
    {"all_settings", all_settings},
    {"log_lines", log_lines},
    {"warns_of_too_much_copied", warns_of_too_much_copied},
    {"wrong_secret", wrong_secret},
    {"invalid_argument", invalid_argument},
    {"nul_inside", nul_inside},
    {"would_wait", would_wait},
    {"deadline", deadline},
    {"cancelled", cancelled},
    {"closed_while_in_use", closed_while_in_use},
    {"used_after_close", used_after_close},
    {"closed_by_its_log_function", closed_by_its_log_function},
    {"a_second_close_waits", a_second_close_waits},
    {"announces_a_token", announces_a_token},
    {"announces_a_failure", announces_a_failure},
    {"change_function_that_fails", change_function_that_fails},
    {"change_function_that_closes", change_function_that_closes},
    {"change_function_that_is_slow", change_function_that_is_slow},
    {"waits_without_a_thread", waits_without_a_thread},
    {"state", state},
    {"nothing_printed", nothing_printed},
    {"fake", fake},
    {"ends_without_close", ends_without_close},
    {"moved_from", moved_from},
    {"expired_and_refreshed", expired_and_refreshed},
    {"recovers_from_a_401", recovers_from_a_401},
    {"sixty_four_threads", sixty_four_threads},
    {"no_leak", no_leak},
};

} // namespace

int main(int argc, char **argv)
{
    try {
        const auto found = BEHAVIOURS.find(argc == 2 ? argv[1] : "");
        if (found != BEHAVIOURS.end())
            found->second();
        else if (!env("EXPECT_STATUS").empty())
            fails_as_expected();
        else
            fail(__LINE__, "no such behaviour");
    } catch (const std::exception &e) {
        fail(__LINE__, e.what());
    }
    std::cout << "ok" << std::endl;
}
