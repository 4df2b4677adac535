/* What the C test programs share; CHECK is the including program's. The environment is that of harness.h.
 * Valid as C99 and as C++11.
 */
#ifndef SHARED_H
#define SHARED_H

#include <clopos_auth.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

/* Reads the sandbox's CA. Returns its length; 0 without TLS. */
static inline size_t read_ca(char *pem, size_t size)
{
    const char *path = getenv("CLOPOS_CA_FILE");
    FILE *file;
    size_t length;

    if (path == NULL || *path == '\0')
        return 0;
    file = fopen(path, "rb");
    CHECK(file != NULL);
    length = fread(pem, 1, size, file);
    CHECK(length > 0 && length < size && ferror(file) == 0);
    fclose(file);
    return length;
}

/* clopos_auth_client_new() with the sandbox's credentials. */
static inline clopos_auth_status make_client(const clopos_auth_config *config, clopos_auth_client **out,
                                             clopos_auth_error **err)
{
    return clopos_auth_client_new(getenv("CLOPOS_CLIENT_ID"), getenv("CLOPOS_CLIENT_SECRET"),
                                  getenv("CLOPOS_BRAND"), getenv("CLOPOS_INTEGRATOR_ID"), config, out,
                                  err);
}

/* Returns the number of entries of a directory. */
static inline int entries(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int number = 0;

    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL)
        number += entry->d_name[0] != '.';
    closedir(directory);
    return number;
}

/* Returns the number of threads of this process. */
static inline int threads(void)
{
    return entries("/proc/self/task");
}

#endif
