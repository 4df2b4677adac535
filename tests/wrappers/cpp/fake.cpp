// A program's code and its unit test, which is not linked with the library.

#include <clopos_auth.hpp>

namespace {

using namespace std::chrono_literals;
using clopos_auth::error;
using clopos_auth::status;

struct till {
    clopos_auth::token_source &tokens;
    std::string display;

    // Returns whether a receipt could be sent.
    bool send_receipt()
    {
        const auto token = tokens.try_get_token(2s);
        if (!token) {
            display = token.error().what();
            return false;
        }
        display = "sent with " + std::string(token->value());
        return token->expires_in() > 1min;
    }
};

} // namespace

int main()
{
    clopos_auth::fake_token_source source("a.fake.token");
    till one{source, {}};

    if (!one.send_receipt() || one.display != "sent with a.fake.token")
        return 1;
    source.answer([] { return error::make(status::server, "the service failed", true, 500ms); });
    if (one.send_receipt() || one.display != "SERVER: the service failed")
        return 2;
    source.answer([] { return clopos_auth::token::make("another", 30s); });
    if (one.send_receipt() || one.display != "sent with another" || source.calls() != 3)
        return 3;
    source.invalidate(*source.try_get_token());
    return source.refusals() == 1 ? 0 : 4;
}
