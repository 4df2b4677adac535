// Compiled only: the header needs no other one, and works without exceptions.

#include <clopos_auth.hpp>

clopos_auth::status sign_in_and_out(const std::string &secret);

clopos_auth::status sign_in_and_out(const std::string &secret)
{
    using namespace std::chrono_literals;
    clopos_auth::config settings;
    settings.user_agent("MyTill/4.2").timeout(10s).log(clopos_auth::log_level::warn, {});
    auto client = clopos_auth::client::make("id", secret, "brand", "integrator", settings);
    if (!client)
        return client.error().status();
    auto token = client->try_get_token(2s);
    if (!token)
        return token.error().status();
    (void)client->try_authenticate();
    client->try_invalidate(*token);
    client->close();
    return client->try_cancel();
}

#if __cplusplus >= 202002L
clopos_auth::status check_credentials(std::string_view secret);

clopos_auth::status check_credentials(std::string_view secret)
{
    auto client = clopos_auth::client::make(
        {.client_id = "id", .client_secret = secret, .brand = "brand", .integrator_id = "integrator"});
    return client ? clopos_auth::status::ok : client.error().status();
}
#endif
