/* LLVM's instrumentation calls these functions instead of memcpy() and so on. GCC's ThreadSanitizer does not
 * have them, but intercepts memcpy() and so on itself. Linked to the C programs that tests/run.sh tsan runs;
 * not instrumented.
 */
#include <string.h>

void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int byte, size_t size);

void *__tsan_memcpy(void *to, const void *from, size_t size)
{
    return memcpy(to, from, size);
}

void *__tsan_memmove(void *to, const void *from, size_t size)
{
    return memmove(to, from, size);
}

void *__tsan_memset(void *to, int byte, size_t size)
{
    return memset(to, byte, size);
}
