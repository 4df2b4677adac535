/* Uses this library and the one of other.rs in one program. */
#include <clopos_auth.h>
#include <stdio.h>

int other_panics(void);

int main(void) {
    clopos_auth_client *client = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status = clopos_auth_client_new("", "", "", "", NULL, &client, &error);
    printf("%s, %s, %d\n", clopos_auth_version(), clopos_auth_status_name(status), other_panics());
    clopos_auth_error_free(error);
    return status == CLOPOS_AUTH_INVALID_ARGUMENT && other_panics() ? 0 : 1;
}
