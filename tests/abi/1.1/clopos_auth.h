#ifndef CLOPOS_AUTH_H
#define CLOPOS_AUTH_H
#include <stddef.h>
#include <stdint.h>
#define CLOPOS_AUTH_VERSION "1.1.0"
#define CLOPOS_AUTH_VERSION_NUMBER 0x010100
#if defined(_WIN32)
#define CLOPOS_AUTH_CALL __cdecl
#else
#define CLOPOS_AUTH_CALL
#endif
#define CLOPOS_AUTH_TIMEOUT_DEFAULT UINT32_MAX
#define CLOPOS_AUTH_TOKEN_MAX 8192
enum clopos_auth_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    CLOPOS_AUTH_OK = 0,
    CLOPOS_AUTH_INVALID_ARGUMENT = 1,
    CLOPOS_AUTH_INVALID_HANDLE = 2,
    CLOPOS_AUTH_BUFFER_TOO_SMALL = 3,
    CLOPOS_AUTH_INTERNAL = 4,
    CLOPOS_AUTH_WOULD_WAIT = 5,
    CLOPOS_AUTH_CANCELLED = 6,
    CLOPOS_AUTH_TIMEOUT = 7,
    CLOPOS_AUTH_DNS = 8,
    CLOPOS_AUTH_CONNECT = 9,
    CLOPOS_AUTH_TLS = 10,
    CLOPOS_AUTH_CLOCK = 11,
    CLOPOS_AUTH_PROXY = 12,
    CLOPOS_AUTH_REJECTED = 13,
    CLOPOS_AUTH_RATE_LIMITED = 14,
    CLOPOS_AUTH_SERVER = 15,
    CLOPOS_AUTH_PROTOCOL = 16,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_status clopos_auth_status;
#else
typedef int32_t clopos_auth_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus
enum clopos_auth_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    CLOPOS_AUTH_REASON_UNKNOWN = 0,
    CLOPOS_AUTH_REASON_CREDENTIALS = 1,
    CLOPOS_AUTH_REASON_INTEGRATOR = 2,
    CLOPOS_AUTH_REASON_ENVIRONMENT = 3,
    CLOPOS_AUTH_REASON_DISABLED = 4,
    CLOPOS_AUTH_REASON_MISSING_FIELD = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_reason clopos_auth_reason;
#else
typedef int32_t clopos_auth_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus
enum clopos_auth_roots
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    CLOPOS_AUTH_ROOTS_BUNDLED = 0,
    CLOPOS_AUTH_ROOTS_SYSTEM = 1,
    CLOPOS_AUTH_ROOTS_NONE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_roots clopos_auth_roots;
#else
typedef int32_t clopos_auth_roots;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus
enum clopos_auth_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    CLOPOS_AUTH_LOG_ERROR = 1,
    CLOPOS_AUTH_LOG_WARN = 2,
    CLOPOS_AUTH_LOG_INFO = 3,
    CLOPOS_AUTH_LOG_DEBUG = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum clopos_auth_log_level clopos_auth_log_level;
#else
typedef int32_t clopos_auth_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus
typedef struct clopos_auth_client clopos_auth_client;
typedef struct clopos_auth_config clopos_auth_config;
typedef struct clopos_auth_token {
    const char *value;
    size_t value_len;
    const char *token_type;
    int64_t expires_at;
    int64_t expires_in;
    uint64_t serial;
} clopos_auth_token;
typedef struct clopos_auth_error {
    clopos_auth_status status;
    int32_t http_status;
    int32_t retryable;
    int64_t retry_after_ms;
    const char *server_code;
    const char *message;
    clopos_auth_reason reason;
} clopos_auth_error;
typedef struct clopos_auth_state {
    int32_t has_token;
    int32_t is_fresh;
    int32_t request_in_flight;
    int64_t expires_in_ms;
    int64_t refresh_in_ms;
    int64_t next_request_in_ms;
    clopos_auth_status last_status;
    int32_t last_http_status;
    int64_t last_result_age_ms;
    uint64_t requests;
    uint64_t failures;
    const char *last_message;
} clopos_auth_state;
typedef void (CLOPOS_AUTH_CALL *clopos_auth_log_fn)(int32_t level, const char *line, void *user);
typedef void (CLOPOS_AUTH_CALL *clopos_auth_change_fn)(int32_t status, void *user);
#ifdef __cplusplus
extern "C" {
#endif // __cplusplus
void CLOPOS_AUTH_CALL
clopos_auth_token_free(struct clopos_auth_token *token);
void CLOPOS_AUTH_CALL
clopos_auth_error_free(struct clopos_auth_error *error);
void CLOPOS_AUTH_CALL
clopos_auth_state_free(struct clopos_auth_state *state);
struct clopos_auth_config *CLOPOS_AUTH_CALL
clopos_auth_config_new(void);
void CLOPOS_AUTH_CALL
clopos_auth_config_free(struct clopos_auth_config *config);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_base_url(struct clopos_auth_config *config,
                                const char *base_url,
                                struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_auth_path(struct clopos_auth_config *config,
                                 const char *auth_path,
                                 struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_timeout_ms(struct clopos_auth_config *config,
                                  uint32_t timeout_ms,
                                  struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_attempt_timeout_ms(struct clopos_auth_config *config,
                                          uint32_t attempt_timeout_ms,
                                          struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_max_attempts(struct clopos_auth_config *config,
                                    uint32_t max_attempts,
                                    struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_requests_per_minute(struct clopos_auth_config *config,
                                           uint32_t requests_per_minute,
                                           struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_roots(struct clopos_auth_config *config,
                             int32_t roots,
                             struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_add_ca_pem(struct clopos_auth_config *config,
                              const char *pem,
                              size_t pem_len,
                              struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_proxy(struct clopos_auth_config *config,
                             const char *proxy,
                             struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_user_agent(struct clopos_auth_config *config,
                                  const char *user_agent,
                                  struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_allow_plain_http(struct clopos_auth_config *config,
                                        int32_t allow,
                                        struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_log(struct clopos_auth_config *config,
                           int32_t level,
                           clopos_auth_log_fn log,
                           void *user,
                           struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_config_set_on_change(struct clopos_auth_config *config,
                                 clopos_auth_change_fn on_change,
                                 void *user,
                                 struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_client_new(const char *client_id,
                       const char *client_secret,
                       const char *brand,
                       const char *integrator_id,
                       const struct clopos_auth_config *config,
                       struct clopos_auth_client **out,
                       struct clopos_auth_error **err);
void CLOPOS_AUTH_CALL
clopos_auth_client_free(struct clopos_auth_client *client);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_authenticate(struct clopos_auth_client *client,
                         uint32_t timeout_ms,
                         struct clopos_auth_token **out,
                         struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_get_token(struct clopos_auth_client *client,
                      uint32_t timeout_ms,
                      struct clopos_auth_token **out,
                      struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_copy_token(struct clopos_auth_client *client,
                       uint32_t timeout_ms,
                       char *buf,
                       size_t cap,
                       size_t *needed,
                       int64_t *expires_at,
                       struct clopos_auth_error **err);
uint64_t CLOPOS_AUTH_CALL
clopos_auth_current(const struct clopos_auth_client *client,
                    int64_t *expires_in);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_get_state(const struct clopos_auth_client *client,
                      struct clopos_auth_state **out,
                      struct clopos_auth_error **err);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_invalidate(struct clopos_auth_client *client,
                       const char *rejected_value);
clopos_auth_status CLOPOS_AUTH_CALL
clopos_auth_cancel(struct clopos_auth_client *client);
const char *CLOPOS_AUTH_CALL
clopos_auth_status_name(int32_t status);
const char *CLOPOS_AUTH_CALL
clopos_auth_version(void);
uint32_t CLOPOS_AUTH_CALL
clopos_auth_version_number(void);
#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus
#endif  /* CLOPOS_AUTH_H */
