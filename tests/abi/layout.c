/* Prints the sizes and offsets that programs have compiled in. */
#include <clopos_auth.h>
#include <stdio.h>

#define FIELD(type, field) printf(#type "." #field " %u\n", (unsigned)offsetof(type, field))
#define SIZE(type) printf(#type " %u\n", (unsigned)sizeof(type))

int main(void) {
    SIZE(clopos_auth_status);
    SIZE(clopos_auth_token);
    FIELD(clopos_auth_token, value);
    FIELD(clopos_auth_token, value_len);
    FIELD(clopos_auth_token, token_type);
    FIELD(clopos_auth_token, expires_at);
    FIELD(clopos_auth_token, expires_in);
    FIELD(clopos_auth_token, serial);
    SIZE(clopos_auth_error);
    FIELD(clopos_auth_error, status);
    FIELD(clopos_auth_error, http_status);
    FIELD(clopos_auth_error, retryable);
    FIELD(clopos_auth_error, retry_after_ms);
    FIELD(clopos_auth_error, server_code);
    FIELD(clopos_auth_error, message);
    FIELD(clopos_auth_error, reason);
    SIZE(clopos_auth_state);
    FIELD(clopos_auth_state, has_token);
    FIELD(clopos_auth_state, is_fresh);
    FIELD(clopos_auth_state, request_in_flight);
    FIELD(clopos_auth_state, expires_in_ms);
    FIELD(clopos_auth_state, refresh_in_ms);
    FIELD(clopos_auth_state, next_request_in_ms);
    FIELD(clopos_auth_state, last_status);
    FIELD(clopos_auth_state, last_http_status);
    FIELD(clopos_auth_state, last_result_age_ms);
    FIELD(clopos_auth_state, requests);
    FIELD(clopos_auth_state, failures);
    FIELD(clopos_auth_state, last_message);
    return 0;
}
