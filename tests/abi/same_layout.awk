# awk -f same_layout.awk RECORDED NOW: fails where a field moved or is gone, or a struct shrank. It may grow.
NR == FNR { was[$1] = $2; next }
{ now[$1] = $2 }
END {
    for (name in was) {
        if (!(name in now) || (name ~ /\./ ? now[name] != was[name] : now[name] < was[name])) {
            print name " was " was[name] ", is " now[name]
            bad = 1
        }
    }
    exit bad || length(was) == 0
}
