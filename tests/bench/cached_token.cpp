// The cost of a cached token in C++: the table of cached_token.c for get_token() of <clopos_auth.hpp> and for a shared
// string behind a mutex, and the number of allocations of a call.
//
// Usage: cached_token BASE_URL CA_FILE [ROUNDS]

#include <clopos_auth.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <thread>
#include <vector>

extern "C" void *__libc_malloc(std::size_t size);

static thread_local std::size_t allocations = 0;

extern "C" void *malloc(std::size_t size) noexcept
{
    allocations++;
    return __libc_malloc(size);
}

namespace {

using steady = std::chrono::steady_clock;
using call = std::function<std::size_t()>;

constexpr std::size_t CALLS = 1000000;
constexpr std::array<std::size_t, 4> THREADS{1, 2, 8, 32};

clopos_auth::client make_client(const char *base_url, const char *ca_file)
{
    std::ifstream file(ca_file, std::ios::binary);
    const std::string pem(std::istreambuf_iterator<char>(file), {});
    clopos_auth::config settings;
    settings.base_url(base_url).add_ca_pem(pem).trust(clopos_auth::roots::none);
    return {"sandbox_client", "sandbox_secret", "sandbox", "test_sandbox", settings};
}

// Nanoseconds for one call: wall time divided by the number of all calls.
double measure(const call &way, std::size_t threads)
{
    const std::size_t calls = CALLS / threads;
    std::atomic<std::size_t> ready{0};
    std::atomic<bool> open{false};
    std::vector<std::thread> running;

    while (running.size() < threads)
        running.emplace_back([&] {
            ready++;
            while (!open)
                std::this_thread::yield();
            for (std::size_t i = 0; i < calls; i++)
                if (way() == 0)
                    std::abort();
        });
    while (ready < threads)
        std::this_thread::yield();
    const auto start = steady::now();
    open = true;
    for (auto &one : running)
        one.join();
    const std::chrono::duration<double, std::nano> took = steady::now() - start;
    return took.count() / static_cast<double>(calls * threads);
}

// For a thread that has called before.
double allocations_per_call(const call &way)
{
    constexpr std::size_t calls = 1000;
    way();
    const auto before = allocations;
    for (std::size_t i = 0; i < calls; i++)
        way();
    return static_cast<double>(allocations - before) / calls;
}

void run(const char *base_url, const char *ca_file, std::size_t rounds)
{
    clopos_auth::client clopos = make_client(base_url, ca_file);
    struct {
        std::mutex lock;
        std::shared_ptr<const std::string> token;
        steady::time_point ends;
    } usual;
    const auto token = clopos.get_token();
    usual.token = std::make_shared<const std::string>(token.value());
    usual.ends = steady::now() + token.expires_in();

    struct row {
        const char *name;
        call way;
        std::array<std::vector<double>, THREADS.size()> ns;
    };
    std::array<row, 2> rows{{
        {"get_token", [&] { return clopos.get_token().value().size(); }, {}},
        {"mutex, shared_ptr",
         [&] {
             const std::lock_guard hold(usual.lock);
             const auto shared = steady::now() < usual.ends ? usual.token : nullptr;
             return shared->size();
         },
         {}},
    }};
    for (std::size_t round = 0; round < rounds; round++)
        for (std::size_t t = 0; t < THREADS.size(); t++)
            for (auto &row : rows)
                row.ns[t].push_back(measure(row.way, THREADS[t]));
    std::printf("%zu bytes of token, median of %zu rounds, ns for one call summed over threads\n",
                token.value().size(), rounds);
    for (auto &row : rows) {
        std::printf("%-30s", row.name);
        for (auto &ns : row.ns) {
            std::sort(ns.begin(), ns.end());
            std::printf(" %8.1f", ns[ns.size() / 2]);
        }
        std::printf("\n");
    }
    std::printf("allocations_per_call %.3f\n", allocations_per_call(rows[0].way));
}

} // namespace

int main(int argc, char **argv)
{
    const int rounds = argc > 3 ? std::atoi(argv[3]) : 9;
    if (argc < 3 || rounds < 1) {
        std::fprintf(stderr, "usage: %s BASE_URL CA_FILE [ROUNDS]\n", argv[0]);
        return 2;
    }
    try {
        run(argv[1], argv[2], static_cast<std::size_t>(rounds));
    } catch (const std::exception &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
