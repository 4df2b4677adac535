/* Signs in to Clopos, shows the token, and requests the venues with it.
 *
 *     cc -std=c99 login.c -lclopos_auth -lcurl -o login
 *
 * The environment has the credentials: see environment.h.
 */

#include "environment.h"

#include <clopos_auth.h>
#include <curl/curl.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SERVICE_URL "https://integrations.clopos.com"

/* Returns the current token, to be freed, or NULL after printing an error. */
static clopos_auth_token *get_token(clopos_auth_client *client)
{
    clopos_auth_token *token = NULL;
    clopos_auth_error *error = NULL;
    clopos_auth_status status =
        clopos_auth_get_token(client, CLOPOS_AUTH_TIMEOUT_DEFAULT, &token, &error);

    if (status != CLOPOS_AUTH_OK)
        report("sign in", status, error);
    return token;
}

/* Prints a token, which is the purpose of this example. Never print a token in production: it gives access
 * until it expires. */
static bool show_token(clopos_auth_client *client)
{
    clopos_auth_token *token = get_token(client);
    char date[sizeof "2026-01-31 23:59:59"] = "?";
    const struct tm *utc;
    time_t end;

    if (token == NULL)
        return false;
    end = (time_t)token->expires_at;
    utc = gmtime(&end);
    if (utc != NULL)
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", utc);
    printf("token:   %s\n", token->value);
    printf("expires: %s UTC, in %" PRId64 " s\n", date, token->expires_in);
    clopos_auth_token_free(token);
    return true;
}

/* A response. The body of one with status 200 goes to stdout, another one here, as far as it fits. */
struct response {
    CURL *curl;
    long http_status;
    char refusal[1024]; /* NUL-terminated */
    size_t length;
};

static size_t receive(char *data, size_t size, size_t count, void *to)
{
    struct response *response = to;
    size_t bytes = size * count;
    size_t room = sizeof response->refusal - 1 - response->length;

    curl_easy_getinfo(response->curl, CURLINFO_RESPONSE_CODE, &response->http_status);
    if (response->http_status == 200)
        return fwrite(data, 1, bytes, stdout);
    if (room > bytes)
        room = bytes;
    memcpy(response->refusal + response->length, data, room);
    response->length += room;
    return bytes;
}

/* Whether the service refused the token: only then can a new one help. */
static bool refuses_token(const struct response *response)
{
    return response->http_status == 401 && (strstr(response->refusal, "Invalid token") != NULL ||
                                            strstr(response->refusal, "Token expired") != NULL);
}

/* Sends GET url with the token in the header x-token. Without a response the HTTP status is 0, and an error
 * has been printed. */
static struct response get(const char *url, const char *token)
{
    struct response response = {NULL, 0, "", 0};
    static const char name[] = "x-token: ";
    const char *ca_file = getenv("CLOPOS_CA_FILE");
    char problem[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURLcode result = CURLE_OUT_OF_MEMORY;
    CURL *curl = curl_easy_init();
    char *header = malloc(sizeof name + strlen(token));

    response.curl = curl;
    if (header != NULL) {
        strcpy(header, name);
        strcat(header, token);
        headers = curl_slist_append(NULL, header);
    }
    if (curl != NULL && headers != NULL) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 30000L);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* a redirect would get the token */
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &response);
        if (ca_file != NULL)
            curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
        result = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response.http_status);
    }
    if (result == CURLE_OK && response.http_status == 200)
        putchar('\n');
    else if (result == CURLE_OK)
        fprintf(stderr, "%s: HTTP %ld\n", url, response.http_status);
    else
        fprintf(stderr, "%s: %s\n", url, *problem ? problem : curl_easy_strerror(result));
    curl_slist_free_all(headers);
    free(header);
    curl_easy_cleanup(curl);
    response.curl = NULL;
    if (result != CURLE_OK)
        response.http_status = 0;
    return response;
}

/* How a program uses tokens: it gets one before every request. If the service refuses that token, the program
 * invalidates it and sends the request once more with a new one. If the token was refused soon after its
 * issue, there is no new one for a while, and get_token() fails with REJECTED. */
static bool show_venues(clopos_auth_client *client)
{
    static const char path[] = "/open-api/v2/venues";
    const char *base_url = getenv("CLOPOS_BASE_URL");
    char url[2048 + sizeof path];
    struct response response = {NULL, 0, "", 0};
    bool again = true;
    int attempt;

    if (base_url == NULL)
        base_url = SERVICE_URL;
    snprintf(url, sizeof url, "%s%s", base_url, path);
    for (attempt = 0; attempt < 2 && again; attempt++) {
        clopos_auth_token *token = get_token(client);
        if (token == NULL)
            return false;
        printf("GET %s\n", url);
        response = get(url, token->value);
        again = refuses_token(&response);
        if (again) {
            clopos_auth_status status = clopos_auth_invalidate(client, token->value);
            if (status != CLOPOS_AUTH_OK)
                report("invalidate", status, NULL);
        }
        clopos_auth_token_free(token);
    }
    return response.http_status == 200;
}

int main(void)
{
    clopos_auth_client *client = NULL;
    bool done = false;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fputs("libcurl cannot start\n", stderr);
        return EXIT_FAILURE;
    }
    client = new_client(NULL, NULL);
    if (client != NULL)
        done = show_token(client) && show_venues(client);
    clopos_auth_client_free(client);
    curl_global_cleanup();
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
