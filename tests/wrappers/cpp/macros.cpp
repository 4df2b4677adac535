// Compiled only: the header may be included after others that define macros with common names.

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <variant>

// AssertMacros.h of macOS, and Unreal Engine.
#define check(x) MACRO
#define check_noerr(x) MACRO
#define verify(x) MACRO
#define verify_noerr(x) MACRO
#define require(x, y) MACRO
#define ensure(x) MACRO
#define unimplemented() MACRO
#define TEXT(x) MACRO
#define FORCEINLINE MACRO
#define PI MACRO
// windows.h.
#define min(x, y) MACRO
#define max(x, y) MACRO
#define interface MACRO
#define near MACRO
#define far MACRO
#define small MACRO
#define IN MACRO
#define OUT MACRO
#define ERROR MACRO
#define DELETE MACRO
#define GetMessage MACRO
// Xlib.h.
#define Bool MACRO
#define Status MACRO
#define None MACRO
#define Success MACRO
#define True MACRO
#define False MACRO
// Qt.
#define signals MACRO
#define slots MACRO
#define emit MACRO
#define foreach MACRO
#define forever MACRO
// Others.
#define unix MACRO
#define linux MACRO
#define DEBUG MACRO
#define TIMEOUT MACRO
#define major(x) MACRO
#define minor(x) MACRO

#include <clopos_auth.hpp>
