// A till's event loop that never waits for a token: it uses poll(), and a pipe to which the change function
// writes. For POSIX systems; a program with Qt or Asio posts to its own loop instead.
//
//     cmake -S examples/cpp -B build && cmake --build build && build/event_loop
//
// It runs until its standard input ends (Ctrl-D). It prints changes: no token yet, a token, a new one after a
// refresh, a failing service, its recovery; and at the end the longest time that it was away from poll().
//
// The environment has the credentials: see environment.hpp.

#include "environment.hpp"

#include <clopos_auth.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using steady = std::chrono::steady_clock;

// How often this till sends a request to the service.
constexpr milliseconds REQUEST = 200ms;
// The longest time that the loop may be away from poll().
constexpr milliseconds LIMIT = 5ms;

// Wakes a loop that polls fd(). Any thread may call wake().
class waker {
public:
    waker()
    {
        if (pipe(ends_.data()) != 0)
            throw std::system_error(errno, std::generic_category(), "pipe");
        for (const int end : ends_) {
            fcntl(end, F_SETFL, O_NONBLOCK);
            fcntl(end, F_SETFD, FD_CLOEXEC);
        }
    }
    waker(const waker &) = delete;
    waker &operator=(const waker &) = delete;
    ~waker()
    {
        for (const int end : ends_)
            close(end);
    }

    [[nodiscard]] int fd() const noexcept { return ends_[0]; }

    // If the pipe is full, the loop wakes as well.
    void wake() const noexcept
    {
        while (write(ends_[1], "", 1) < 0 && errno == EINTR)
            continue;
    }

    // Whether it was woken since the last call.
    [[nodiscard]] bool was_woken() const noexcept
    {
        std::array<char, 64> bytes{};
        bool woken = false;
        while (read(ends_[0], bytes.data(), bytes.size()) > 0)
            woken = true;
        return woken;
    }

private:
    std::array<int, 2> ends_{};
};

class till {
public:
    explicit till(clopos_auth::token_source &tokens) : tokens_(tokens) {}

    // Called when a request is due, and after a change. Returns the time until the next call; throws an error
    // that is not retryable.
    milliseconds request()
    {
        const auto token = tokens_.try_get_token(0ms);
        const auto status = token ? clopos_auth::status::ok : token.error().status();
        milliseconds pause = REQUEST;

        if (token) {
            // A real till sends its request with this token now.
            if (token->serial() != serial_)
                std::cout << "token " << token->serial() << ", expires in "
                          << token->expires_in().count() << " s" << std::endl;
            serial_ = token->serial();
        } else if (token.error().retryable()) {
            // would_wait: the change function will be called.
            if (status != status_)
                std::cout << "no token: " << clopos_auth::status_name(status) << std::endl;
            pause = std::max(pause, token.error().retry_after().value_or(0ms));
        } else {
            throw token.error();
        }
        status_ = status;
        return pause;
    }

private:
    clopos_auth::token_source &tokens_;
    std::uint64_t serial_ = 0;
    clopos_auth::status status_ = clopos_auth::status::ok;
};

// Runs until standard input ends. Returns the longest time away from poll(). A real program polls its sockets
// and devices here as well.
steady::duration run(till &one, const waker &changes)
{
    std::array<pollfd, 2> waiting{{{STDIN_FILENO, POLLIN, 0}, {changes.fd(), POLLIN, 0}}};
    std::array<char, 64> bytes{};
    steady::duration longest{};

    for (auto since = steady::now(), due = since;;) {
        longest = std::max(longest, steady::now() - since);
        const auto left = std::chrono::ceil<milliseconds>(std::max(due - steady::now(), 0ns));
        if (poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "poll");
        since = steady::now();
        if (waiting[0].revents != 0 && read(STDIN_FILENO, bytes.data(), bytes.size()) <= 0)
            return longest;
        if (changes.was_woken() || since >= due)
            due = since + one.request();
    }
}

} // namespace

int main()
{
    try {
        const waker changes; // before the client: destroyed after it
        auto settings = config_from_environment();
        settings.on_change([&](clopos_auth::status) { changes.wake(); });
        clopos_auth::client clopos(credentials_from_environment(), settings);
        till one(clopos);

        const std::chrono::duration<double, std::milli> longest = run(one, changes);
        std::cout << "longest time away from the loop: " << std::fixed << std::setprecision(1)
                  << longest.count() << " ms, of " << LIMIT.count() << " ms at most\n";
    } catch (const std::exception &e) {
        std::cerr << e.what() << '\n';
        return EXIT_FAILURE;
    }
}
