/* Like event_loop.c, for Windows: a message loop, to which the change function posts a message. A program with
 * windows of its own posts to one of them; the window here only receives messages.
 *
 *     x86_64-w64-mingw32-gcc event_loop_windows.c libclopos_auth.dll.a -o event_loop_windows.exe
 *     event_loop_windows SECONDS
 *
 * It prints changes, and after SECONDS the longest time that it was away from GetMessage().
 *
 * The environment has the credentials: see environment.h.
 */

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "till.h"

enum {
    WM_TOKEN_CHANGED = WM_APP,
    REQUEST_TIMER = 1,
    END_TIMER
};

static struct till till;

/* Called by the library on any thread. PostMessage() does not wait for the window's thread. */
static void CLOPOS_AUTH_CALL on_change(int32_t status, void *user)
{
    PostMessageW((HWND)user, WM_TOKEN_CHANGED, (WPARAM)status, 0);
}

static LRESULT CALLBACK receive(HWND window, UINT message, WPARAM first, LPARAM second)
{
    int64_t pause_ms;

    if (message == WM_TIMER && first == END_TIMER) {
        PostQuitMessage(EXIT_SUCCESS);
        return 0;
    }
    if (message == WM_TOKEN_CHANGED)
        printf("the library announces: %s\n", clopos_auth_status_name((int32_t)first));
    else if (message != WM_TIMER || first != REQUEST_TIMER)
        return DefWindowProcW(window, message, first, second);
    pause_ms = request(&till);
    if (pause_ms < 0)
        PostQuitMessage(EXIT_FAILURE);
    else
        SetTimer(window, REQUEST_TIMER, (UINT)pause_ms, NULL);
    return 0;
}

static int64_t now_us(void)
{
    LARGE_INTEGER now, frequency;

    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)now.QuadPart * 1e6 / (double)frequency.QuadPart);
}

/* Returns the program's exit status. */
static int run(void)
{
    MSG message = {0};

    while (GetMessageW(&message, NULL, 0, 0) > 0) {
        int64_t since_us = now_us();

        DispatchMessageW(&message);
        fflush(stdout);
        was_away(&till, since_us, now_us());
    }
    return (int)message.wParam;
}

int main(int argc, char **argv)
{
    static const wchar_t name[] = L"clopos_auth event loop";
    unsigned long seconds = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    WNDCLASSW window_class = {0};
    HWND window;
    int status = EXIT_FAILURE;

    if (seconds == 0 || seconds > 3600) {
        fputs("usage: event_loop_windows SECONDS, 1 to 3600\n", stderr);
        return 2;
    }
    window_class.lpfnWndProc = receive;
    window_class.hInstance = GetModuleHandleW(NULL);
    window_class.lpszClassName = name;
    RegisterClassW(&window_class);
    window = CreateWindowW(name, name, 0, 0, 0, 0, 0, HWND_MESSAGE, NULL, window_class.hInstance, NULL);
    if (window == NULL)
        fprintf(stderr, "no window: error %lu\n", GetLastError());
    else
        till.client = new_client(on_change, window);
    if (till.client != NULL) {
        SetTimer(window, END_TIMER, (UINT)seconds * 1000, NULL);
        PostMessageW(window, WM_TIMER, REQUEST_TIMER, 0);
        status = run();
        print_longest(&till);
    }
    /* Afterwards on_change() is not called again, and the window may be destroyed. */
    clopos_auth_client_free(till.client);
    return status;
}
