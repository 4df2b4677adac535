// Signs in to Clopos, shows the token, and asks for the venues with it.
//
//     cmake -S examples/cpp -B build && cmake --build build && build/login
//
// CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID say who signs in.
// CLOPOS_BASE_URL names another server than the real one, CLOPOS_CA_FILE a PEM file with the only CA
// to trust: both for the sandbox.

#include <clopos_auth.hpp>
#include <curl/curl.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

// Runs on any thread: one insertion is one whole line.
void log_line(clopos_auth::log_level level, std::string_view line)
{
    std::clog << "clopos[" + std::to_string(static_cast<int>(level)) + "] " + std::string(line) + '\n';
}

std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::string content(std::istreambuf_iterator<char>(file), {});
    if (!file)
        throw std::runtime_error(path + ": cannot be read");
    return content;
}

clopos_auth::client make_client()
{
    clopos_auth::config settings;
    settings.log(clopos_auth::log_level::info, log_line);
    if (const char *base_url = std::getenv("CLOPOS_BASE_URL"))
        settings.base_url(base_url);
    if (const char *ca_file = std::getenv("CLOPOS_CA_FILE"))
        settings.add_ca_pem(read_file(ca_file)).trust(clopos_auth::roots::none);
    // A variable that is not set is a null pointer: the library names it in its error.
    return {std::getenv("CLOPOS_CLIENT_ID"), std::getenv("CLOPOS_CLIENT_SECRET"),
            std::getenv("CLOPOS_BRAND"), std::getenv("CLOPOS_INTEGRATOR_ID"), settings};
}

// Shows a token on the screen, which is what this example is for. Real programs never print one:
// whoever reads it can act as this integration until it ends.
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

// GET url with the token in the header x-token. Throws if there is no answer.
response get(const std::string &url, const clopos_auth::token &token)
{
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    const std::string header = std::string("x-token: ").append(token.value());
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(
        curl_slist_append(nullptr, header.c_str()), curl_slist_free_all);
    response answer;

    if (!curl || !headers)
        throw std::bad_alloc();
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 30000L);
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 0L); // it would take the token along
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
    if (const char *ca_file = std::getenv("CLOPOS_CA_FILE"))
        curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca_file);
    const CURLcode result = curl_easy_perform(curl.get());
    if (result != CURLE_OK)
        throw std::runtime_error(url + ": " + curl_easy_strerror(result));
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.http_status);
    return answer;
}

// Whether this is one of the two refusals that a new token helps against.
bool refuses_token(const response &answer)
{
    const auto says = [&](const char *text) { return answer.body.find(text) != std::string::npos; };
    return answer.http_status == 401 && (says("Invalid token") || says("Token expired"));
}

// How a program uses tokens: it asks for one before every request, and where the service refuses that
// token, it says so and tries once more with a new one. Where there is none, the refusal is the answer.
response get(const std::string &url, clopos_auth::client &clopos)
{
    const auto token = clopos.get_token();
    response answer = get(url, token);
    if (refuses_token(answer)) {
        clopos.invalidate(token);
        if (const auto other = clopos.try_get_token())
            answer = get(url, *other);
    }
    return answer;
}

} // namespace

int main()
{
    try {
        clopos_auth::client clopos = make_client();
        show(clopos.get_token());

        const char *base_url = std::getenv("CLOPOS_BASE_URL");
        const std::string url = std::string(base_url ? base_url : "https://integrations.clopos.com") +
                                "/open-api/v2/venues";
        std::cout << "GET " << url << '\n';
        const response venues = get(url, clopos);
        if (venues.http_status != 200)
            throw std::runtime_error(url + ": HTTP " + std::to_string(venues.http_status));
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
