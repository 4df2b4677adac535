/* What Wine 8 lacks of a Windows 8 or newer: the one function that Rust's standard library takes its
 * random numbers from. For tests under Wine only; it ships nowhere. */

#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T size)
{
    return RtlGenRandom(buffer, (ULONG)size);
}
