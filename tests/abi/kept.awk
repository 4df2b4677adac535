# awk -f kept.awk HEADER: prints a C program that compiles if the numbers, fields and functions of HEADER are unchanged.
# keeps.sh compiles it with recorded.h, which is HEADER with other names.
BEGIN { print "#include <clopos_auth.h>\n#include <stddef.h>\n#include \"recorded.h\"" }

function recorded(name) {
    sub(/^clopos_auth_/, "recorded_", name)
    sub(/^CLOPOS_AUTH_/, "RECORDED_", name)
    return name
}
function kept(condition, what) { printf "_Static_assert(%s, \"%s\");\n", condition, what }
function same(before, name, after, what) { kept(before name after " == " before recorded(name) after, what) }

/^#define CLOPOS_AUTH_[A-Z0-9_]+ / && $2 !~ /_(CALL|VERSION|VERSION_NUMBER)$/ { same("", $2, "", $2 " has another value") }
/^ *(#|\/?\*|$)/ || /^extern "C"/ { next }
/^ +CLOPOS_AUTH_[A-Z0-9_]+ = -?[0-9]+,$/ { same("(int)", $1, "", $1 " has another number") }
/\{$/ {
    type = $3
    if (type != "") kept("sizeof(" type ") >= sizeof(" recorded(type) ")", type " shrank")
    inside = 1
    next
}
/^\}/ { inside = 0; declaration = ""; next }
inside && /;$/ {
    field = $NF
    gsub(/[*;]/, "", field)
    same("offsetof(", type, ", " field ")", type "." field " moved")
    kept("_Generic(((" type " *)0)->" field ", __typeof__(((" recorded(type) " *)0)->" field "): 1, default: 0)",
         type "." field " has another type")
}
inside { next }
# A function, or a type of one: the compiler compares what is declared twice.
{ declaration = declaration $0 "\n" }
/;$/ {
    if (match(declaration, /clopos_auth_[a-z0-9_]+\(/)) {
        name = substr(declaration, RSTART, RLENGTH - 1)
        kept("sizeof(&" name ") != 0", name " is gone")
    }
    if (declaration ~ /\(/) printf "%s", declaration
    declaration = ""
}
