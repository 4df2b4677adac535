// Signs in to Clopos, shows the token, and requests the venues with it.
//
//     cmake -S examples/cpp -B build && cmake --build build && build/login
//
// The environment has the credentials: see environment.hpp. CLOPOS_VENUE, if set, is sent in x-venue: the
// request is then about that venue instead of the token's.

#include "environment.hpp"

#include <clopos_auth.hpp>
#include <curl/curl.h>

#include <cstdlib>
#include <ctime>
#include <iomanip>
#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

namespace {

// Prints a token, which is the purpose of this example. Never print a token in production: it gives access
// until it expires.
void show(const clopos_auth::token &token)
{
    const std::time_t end = std::chrono::system_clock::to_time_t(token.expires_at());
    std::cout << "token:   " << token.value()
              << "\nexpires: " << std::put_time(std::gmtime(&end), "%Y-%m-%d %H:%M:%S") << " UTC, in "
              << token.expires_in().count() << " s\n";
}

struct response {
    long http_status = 0;
    std::string body;
};

std::size_t append(char *data, std::size_t size, std::size_t count, void *body) noexcept
{
    static_cast<std::string *>(body)->append(data, size * count);
    return size * count;
}

struct headers {
    curl_slist *list = nullptr;

    headers() = default;
    headers(const headers &) = delete;
    headers &operator=(const headers &) = delete;
    ~headers() { curl_slist_free_all(list); }

    void add(std::string name, std::string_view value)
    {
        curl_slist *longer = curl_slist_append(list, name.append(": ").append(value).c_str());
        if (!longer)
            throw std::bad_alloc();
        list = longer;
    }
};

// Sends GET url with the token in the header x-token and, unless it is empty, the venue in x-venue. Throws if
// there is no response.
response get(const std::string &url, const clopos_auth::token &token, std::string_view venue)
{
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    headers sent;
    response received;

    if (!curl)
        throw std::bad_alloc();
    sent.add("x-token", token.value());
    if (!venue.empty())
        sent.add("x-venue", venue);
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, sent.list);
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 30000L);
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 0L); // a redirect would get the token
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &received.body);
    if (const char *ca_file = std::getenv("CLOPOS_CA_FILE"))
        curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca_file);
    const CURLcode result = curl_easy_perform(curl.get());
    if (result != CURLE_OK)
        throw std::runtime_error(url + ": " + curl_easy_strerror(result));
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &received.http_status);
    return received;
}

// Whether the service refused the token: only then can a new one help.
bool refuses_token(const response &received)
{
    const auto says = [&](const char *text) { return received.body.find(text) != std::string::npos; };
    return received.http_status == 401 && (says("Invalid token") || says("Token expired"));
}

// How a program uses tokens: it gets one before every request. If the service refuses that token, the program
// invalidates it and sends the request once more with a new one. If there is none, because the token was
// refused soon after its issue, the caller gets the refusal. `tokens` is a client, or a fake in a unit test.
response get(const std::string &url, clopos_auth::token_source &tokens, std::string_view venue = {})
{
    const auto token = tokens.get_token();
    response received = get(url, token, venue);
    if (refuses_token(received)) {
        tokens.invalidate(token);
        if (const auto other = tokens.try_get_token())
            received = get(url, *other, venue);
    }
    return received;
}

} // namespace

int main()
{
    try {
        clopos_auth::client clopos(credentials_from_environment(), config_from_environment());
        show(clopos.get_token());

        const char *base_url = std::getenv("CLOPOS_BASE_URL");
        const char *venue = std::getenv("CLOPOS_VENUE");
        const std::string url = std::string(base_url ? base_url : "https://integrations.clopos.com") +
                                "/open-api/v2/venues";
        std::cout << "GET " << url << '\n';
        const response venues = get(url, clopos, venue ? venue : "");
        if (venues.http_status != 200)
            throw std::runtime_error(url + ": HTTP " + std::to_string(venues.http_status) + ' ' + venues.body);
        std::cout << venues.body << '\n';
    } catch (const clopos_auth::error &e) {
        std::cerr << "clopos: " << e.what() << '\n';
        if (const auto wait = e.retry_after(); wait && e.retryable())
            std::cerr << "try again in " << wait->count() << " ms\n";
        return EXIT_FAILURE;
    } catch (const std::exception &e) {
        std::cerr << e.what() << '\n';
        return EXIT_FAILURE;
    }
}
