// The smallest program on the C++ header: signs in to the sandbox.

#include <clopos_auth.hpp>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>

int main()
{
    try {
        std::ifstream file(std::getenv("CLOPOS_CA_FILE"), std::ios::binary);
        const std::string pem(std::istreambuf_iterator<char>(file), {});
        clopos_auth::config settings;
        settings.base_url(std::getenv("CLOPOS_BASE_URL"));
        settings.add_ca_pem(pem).trust(clopos_auth::roots::none);
        clopos_auth::client client(std::getenv("CLOPOS_CLIENT_ID"), std::getenv("CLOPOS_CLIENT_SECRET"),
                                   std::getenv("CLOPOS_BRAND"), std::getenv("CLOPOS_INTEGRATOR_ID"),
                                   settings);
        std::cout << "a token of " << client.get_token().value().size() << " bytes\n";
    } catch (const std::exception &e) {
        std::cerr << e.what() << '\n';
        return EXIT_FAILURE;
    }
}
