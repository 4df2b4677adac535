// What the examples share: the credentials and settings in the environment.
//
// CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID are the credentials. For
// the sandbox: CLOPOS_BASE_URL is its URL, CLOPOS_CA_FILE its CA in PEM, the only one trusted.

#ifndef EXAMPLES_ENVIRONMENT_HPP
#define EXAMPLES_ENVIRONMENT_HPP

#include <clopos_auth.hpp>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

// Called on any thread, and on several at the same time: one insertion is one whole line.
inline void log_line(clopos_auth::log_level level, std::string_view line)
{
    std::clog << "clopos[" + std::to_string(static_cast<int>(level)) + "] " + std::string(line) + '\n';
}

inline std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::string content(std::istreambuf_iterator<char>(file), {});
    if (!file)
        throw std::runtime_error(path + ": cannot be read");
    return content;
}

inline clopos_auth::credentials credentials_from_environment()
{
    // A variable that is not set is a null pointer: the library refuses it, and names it in its error.
    clopos_auth::credentials who;
    who.client_id = std::getenv("CLOPOS_CLIENT_ID");
    who.client_secret = std::getenv("CLOPOS_CLIENT_SECRET");
    who.brand = std::getenv("CLOPOS_BRAND");
    who.integrator_id = std::getenv("CLOPOS_INTEGRATOR_ID");
    return who;
}

inline clopos_auth::config config_from_environment()
{
    clopos_auth::config settings;
    settings.log(clopos_auth::log_level::info, log_line);
    if (const char *base_url = std::getenv("CLOPOS_BASE_URL"))
        settings.base_url(base_url);
    if (const char *ca_file = std::getenv("CLOPOS_CA_FILE"))
        settings.add_ca_pem(read_file(ca_file)).trust(clopos_auth::roots::none);
    return settings;
}

#endif
