/* Loads libgcc_s_dw2-1.dll, which MinGW's and Qt's programs bring along, and only then smoke.c, as a DLL, and with it the
 * library. */

#include <stdio.h>
#include <windows.h>

int main(int count, char **arguments)
{
    HMODULE libgcc = LoadLibraryA("libgcc_s_dw2-1.dll");
    HMODULE smoke = libgcc != NULL ? LoadLibraryA("smoke.dll") : NULL;
    FARPROC found = smoke != NULL ? GetProcAddress(smoke, "smoke") : NULL;
    int (*run)(int, char **);

    if (found == NULL) {
        fprintf(stderr, "error %lu of Windows\n", GetLastError());
        return 1;
    }
    memcpy(&run, &found, sizeof run);
    return run(count, arguments);
}
