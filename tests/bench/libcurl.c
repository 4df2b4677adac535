/* A careful C program with libcurl and cJSON instead of the library: one handle for all its requests,
 * timeouts, https only, a limit for the response, every field checked, secrets wiped. */
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <curl/curl.h>

#include "exchange.h"

enum { MAX_RESPONSE = 65536 };

struct client {
    CURL *curl;
    struct curl_slist *headers;
    char url[2100];
    char response[MAX_RESPONSE + 1];
    size_t len;
};

static size_t take(char *data, size_t size, size_t count, void *argument)
{
    struct client *client = argument;
    size_t len = size * count;
    if (len > MAX_RESPONSE - client->len)
        return 0;
    memcpy(client->response + client->len, data, len);
    client->len += len;
    return len;
}

static void set(CURLcode code)
{
    if (code != CURLE_OK)
        die("curl", curl_easy_strerror(code));
}

static void *client_make(const char *url, const char *ca_file)
{
    static int initialised;
    struct client *client = calloc(1, sizeof *client);
    if (!initialised++ && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        die("curl_global_init", NULL);
    if (client == NULL || (client->curl = curl_easy_init()) == NULL)
        die("curl_easy_init", NULL);
    snprintf(client->url, sizeof client->url, "%s/open-api/v2/auth", url);
    client->headers = curl_slist_append(NULL, "Content-Type: application/json");
    client->headers = curl_slist_append(client->headers, "Accept: application/json");
    client->headers = curl_slist_append(client->headers, "Expect:");
    set(curl_easy_setopt(client->curl, CURLOPT_URL, client->url));
    set(curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers));
    set(curl_easy_setopt(client->curl, CURLOPT_PROTOCOLS_STR, "https"));
    set(curl_easy_setopt(client->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
    set(curl_easy_setopt(client->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    set(curl_easy_setopt(client->curl, CURLOPT_CAINFO, ca_file));
    set(curl_easy_setopt(client->curl, CURLOPT_CAPATH, NULL));
    set(curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L));
    set(curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, 10000L));
    set(curl_easy_setopt(client->curl, CURLOPT_CONNECTTIMEOUT_MS, 10000L));
    set(curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take));
    set(curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, client));
    return client;
}

static char *body(void)
{
    cJSON *json = cJSON_CreateObject();
    char *text;
    cJSON_AddStringToObject(json, "client_id", "sandbox_client");
    cJSON_AddStringToObject(json, "client_secret", "sandbox_secret");
    cJSON_AddStringToObject(json, "brand", "sandbox");
    cJSON_AddStringToObject(json, "integrator_id", "test_sandbox");
    text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL)
        die("cJSON_Print", NULL);
    return text;
}

static void client_exchange(void *argument)
{
    struct client *client = argument;
    char *request = body(), *copy;
    long status = 0;
    cJSON *json, *token, *success, *expires_in;
    client->len = 0;
    set(curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, request));
    set(curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(request)));
    set(curl_easy_perform(client->curl));
    set(curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status));
    explicit_bzero(request, strlen(request));
    cJSON_free(request);
    client->response[client->len] = '\0';
    if (status != 200 || (json = cJSON_ParseWithLength(client->response, client->len)) == NULL)
        die("response", "not a token");
    explicit_bzero(client->response, client->len);
    success = cJSON_GetObjectItemCaseSensitive(json, "success");
    token = cJSON_GetObjectItemCaseSensitive(json, "token");
    expires_in = cJSON_GetObjectItemCaseSensitive(json, "expires_in");
    if (!cJSON_IsTrue(success) || !cJSON_IsString(token) || !cJSON_IsNumber(expires_in) ||
        strlen(token->valuestring) < 100 || (copy = strdup(token->valuestring)) == NULL)
        die("response", "no token");
    explicit_bzero(token->valuestring, strlen(token->valuestring));
    cJSON_Delete(json);
    explicit_bzero(copy, strlen(copy));
    free(copy);
}

static void client_drop(void *argument)
{
    struct client *client = argument;
    curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->headers);
    free(client);
}
