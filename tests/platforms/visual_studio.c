/* A program as Visual Studio makes it: compiled for Microsoft's ABI, on x86 with /Gz, and linked with clopos_auth.lib. It
 * uses nothing of a C library, since there is none of Microsoft's here: it has its own entry point and calls the system.
 * The variables of the examples say who signs in, where, and whom to trust. Its exit status is 0, or the number of the step
 * that failed. */

#include <clopos_auth.h>

#define SYSTEM __declspec(dllimport)

SYSTEM void *__stdcall CreateFileA(const char *name, uint32_t access, uint32_t share, void *security, uint32_t disposition,
                                   uint32_t attributes, void *pattern);
SYSTEM void __stdcall ExitProcess(uint32_t status);
SYSTEM uint32_t __stdcall GetEnvironmentVariableA(const char *name, char *value, uint32_t size);
SYSTEM void *__stdcall GetStdHandle(uint32_t which);
SYSTEM int __stdcall ReadFile(void *file, void *content, uint32_t size, uint32_t *length, void *overlapped);
SYSTEM int __stdcall WriteFile(void *file, const void *content, uint32_t size, uint32_t *length, void *overlapped);

static char pem[64 * 1024];
static char values[5][1024];
static int log_lines;

static void print(const char *text)
{
    uint32_t length = 0, written;

    while (text[length] != '\0')
        length++;
    WriteFile(GetStdHandle((uint32_t)-11), text, length, &written, NULL);
}

static const char *variable(int number, const char *name)
{
    GetEnvironmentVariableA(name, values[number], sizeof values[number]);
    return values[number];
}

/* Called by the library: were it not CLOPOS_AUTH_CALL, the compiler would refuse it with /Gz. */
static void CLOPOS_AUTH_CALL log_line(int32_t level, const char *line, void *user)
{
    (void)level;
    print(line);
    print("\n");
    ++*(int *)user;
}

static int signs_in(void)
{
    clopos_auth_config *config = clopos_auth_config_new();
    clopos_auth_client *client = NULL;
    clopos_auth_token *token = NULL;
    uint32_t length = 0;
    void *file = CreateFileA(variable(0, "CLOPOS_CA_FILE"), 0x80000000 /* read */, 1, NULL, 3 /* existing */, 0, NULL);

    if (!ReadFile(file, pem, sizeof pem, &length, NULL) || length == 0)
        return 1;
    if (clopos_auth_config_set_base_url(config, variable(0, "CLOPOS_BASE_URL"), NULL) != CLOPOS_AUTH_OK
        || clopos_auth_config_add_ca_pem(config, pem, length, NULL) != CLOPOS_AUTH_OK
        || clopos_auth_config_set_roots(config, CLOPOS_AUTH_ROOTS_NONE, NULL) != CLOPOS_AUTH_OK
        || clopos_auth_config_set_log(config, CLOPOS_AUTH_LOG_DEBUG, log_line, &log_lines, NULL) != CLOPOS_AUTH_OK)
        return 2;
    if (clopos_auth_client_new(variable(1, "CLOPOS_CLIENT_ID"), variable(2, "CLOPOS_CLIENT_SECRET"),
                               variable(3, "CLOPOS_BRAND"), variable(4, "CLOPOS_INTEGRATOR_ID"), config, &client, NULL)
        != CLOPOS_AUTH_OK)
        return 3;
    if (clopos_auth_get_token(client, 30000, &token, NULL) != CLOPOS_AUTH_OK || token->value_len < 100)
        return 4;
    clopos_auth_token_free(token);
    clopos_auth_client_free(client);
    clopos_auth_config_free(config);
    return log_lines > 0 ? 0 : 5;
}

void __cdecl start(void)
{
    ExitProcess((uint32_t)signs_in());
}
