#!/usr/bin/env bash
# Runs the tests.
#
#     tests/run.sh            what a change to the library or to a wrapper can break on this machine
#     tests/run.sh all        that, and the rest: more tools, more time, every platform, the release
#     tests/run.sh PART...    only these parts, and the parts that they need
#     tests/run.sh --list     the parts, and what each of them proves
#
# A part is a script in tests/parts; tests/README.md says more about each of them. The tools that are
# missing are installed (as root on Debian) or named. The run ends with a table of the parts, the slowest
# first, and with "N passed, N failed", and ", N skipped" where a tool could not be had. With CI set, a
# skip fails the run.

set -u
# shellcheck source=examples/tools.sh
. "$(dirname "$0")/../examples/tools.sh"
cd "$root" || exit 1

# In the order in which they run: what is quick and finds most comes first.
PARTS=(
    scripts format clippy docs rust simulation loom header c memcheck helgrind asan tsan symbols abi
    wrappers go dotnet examples install cost resources soak coverage fuzz deny platforms release packages secrets
)

# The least free disk space that a part starts with.
LEAST_FREE_MB=2048

# first_comment PART: what the part proves. Its lines "# needs: PART..." name parts that have to run before it.
first_comment() { sed -n '2s/^# //p' "tests/parts/$1.sh"; }
needs() { sed -n 's/^# needs: //p' "tests/parts/$1.sh"; }
# Its lines "# ahead: COMMAND" name what it installs or builds first, and what can as well be done before.
ahead() { sed -n 's/^# ahead: //p' "tests/parts/$1.sh"; }
# Its line "# run: all" or "# run: default" says that it belongs to one of the two runs only.
belongs_to() { case $(sed -n 's/^# run: //p' "tests/parts/$2.sh") in '' | "$1") ;; *) return 1 ;; esac; }
parts_of() { for part in "${PARTS[@]}"; do ! belongs_to "$1" "$part" || echo "$part"; done; }

usage() {
    echo "$1; there are: all ${PARTS[*]}" >&2
    exit 2
}

# Sets $plan: the parts named, each behind those that it needs, each once.
plan=()
add_to_plan() {
    local part
    for part in "$@"; do
        [[ " ${plan[*]} " != *" $part "* ]] || continue
        # shellcheck disable=SC2046 # words are wanted
        add_to_plan $(needs "$part")
        plan+=("$part")
    done
}

# count WORD PART: how many results of the part begin with the word.
count() { grep -c "^$1 " "$work/results/$2"; }

# run_part PART: runs it in a process of its own, which writes a line for each test to a file of its own.
run_part() {
    local part=$1 results=$work/results/$1 start=$SECONDS status=0 good bad missed
    echo "=== $part: $(first_comment "$part")"
    : >"$results"
    if [ "$(free_mb)" -lt "$LEAST_FREE_MB" ]; then
        echo "not ok - $part: less than $LEAST_FREE_MB MB of disk space are free" | tee -a "$results"
    else
        CLOPOS_TEST_RESULTS=$results bash "tests/parts/$part.sh" || status=$?
        if [ "$status" != 0 ] && [ "$(count 'not ok' "$part")" = 0 ] && [ "$(count skipped "$part")" = 0 ]; then
            echo "not ok - the part $part ended with status $status" | tee -a "$results"
        elif [ ! -s "$results" ]; then
            echo "not ok - the part $part ran no test" | tee -a "$results"
        fi
    fi
    good=$(count ok "$part") bad=$(count 'not ok' "$part") missed=$(count skipped "$part")
    total_good=$((total_good + good)) total_bad=$((total_bad + bad)) total_missed=$((total_missed + missed))
    printf '%6d %-12s %6d %6d %6d\n' $((SECONDS - start)) "$part" "$good" "$bad" "$missed" >>"$work/table"
    echo "--- $part: $good passed, $bad failed, $missed skipped in $((SECONDS - start)) s"
}

# shellcheck disable=SC2046 # words are wanted
case ${1:-} in
--list)
    for part in "${PARTS[@]}"; do
        when=
        belongs_to default "$part" || when=' (with "all")'
        belongs_to all "$part" || when=' (not with "all")'
        printf '%-12s %s%s\n' "$part" "$(first_comment "$part")" "$when"
    done
    exit
    ;;
'') set -- $(parts_of default) ;;
all) [ $# = 1 ] || usage '"all" stands alone' && set -- $(parts_of all) ;;
esac
for part in "$@"; do
    [[ " ${PARTS[*]} " = *" $part "* ]] || usage "no part is named $part"
done
add_to_plan "$@"

work=$(mktemp -d) || exit 1
ahead=
trap '[ -z "$ahead" ] || kill -- "-$ahead" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
# TRANSCRIPT is a folder in which each test program has a file, with every log line and error text. SECRETS is a file of
# every secret and token: what the former must not contain.
export CLOPOS_TEST_TRANSCRIPT=$work/transcript CLOPOS_TEST_SECRETS=$work/secrets
mkdir "$work/results" "$CLOPOS_TEST_TRANSCRIPT" || exit 1
# Some tests give up root on the way.
chmod 711 "$work" && chmod 1777 "$CLOPOS_TEST_TRANSCRIPT"

total_good=0 total_bad=0 total_missed=0
if ! need_rust || ! fetch_crates; then
    echo "0 passed, 1 failed"
    exit 1
fi
# Beside the parts, in the time that these leave idle. Nobody looks at how it ends: the part that needs it runs the same
# command again, which then has nothing left to do, or waits for the first, or fails there.
for part in "${plan[@]}"; do ahead "$part" | sed "s/^/$part /"; done >"$work/ahead"
set -m # in a process group of its own, so that all of it can be ended
nice -n 19 tests/ahead.sh "$work/ahead" "$work/results" >/dev/null 2>&1 </dev/null &
ahead=$!
set +m
for part in "${plan[@]}"; do
    run_part "$part"
done

echo "=== the parts, slowest first"
printf '%6s %-12s %6s %6s %6s\n' seconds part passed failed skipped
sort -rn "$work/table"
printf '%6d in all\n' "$SECONDS"
grep -h '^not ok ' "$work"/results/* | sort
grep -h '^skipped ' "$work"/results/* | sort
if [ "$total_missed" = 0 ]; then
    echo "$total_good passed, $total_bad failed"
else
    echo "$total_good passed, $total_bad failed, $total_missed skipped"
fi
[ "$total_bad" = 0 ] && [ "$total_good" != 0 ] || exit 1
[ -z "${CI:-}" ] || [ "$total_missed" = 0 ]
