# shellcheck shell=bash
#
# lib.sh - what postgres.sh and kafka.sh share: folders they own, ports, processes. Sourced, never run.
#
# A process is known by the pid file in its service's folder and by nothing else. The file holds the pid and the time the
# process started, so that a number which now belongs to somebody else is never signalled.

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# own_dir DIR KIND: an absolute path of a folder that is this service's, made if need be. Anything else is refused, since
# what lies in it may be chowned or overwritten.
own_dir() {
    local dir=$1 kind=$2

    mkdir -p -- "$dir" || die "cannot make the folder $dir"
    dir=$(cd -- "$dir" && pwd -P) || die "cannot enter $1"
    if [[ ! -e $dir/service ]]; then
        [[ -z $(ls -A -- "$dir") ]] || die "$dir is neither empty nor a folder of this script: choose another"
        printf '%s\n' "$kind" >"$dir/service"
    fi
    check_dir "$dir" "$kind"
}

# check_dir DIR KIND: the absolute path of a folder that is already this service's.
check_dir() {
    local dir=$1 kind=$2 found=""

    [[ -d $dir ]] && dir=$(cd -- "$dir" && pwd -P)
    [[ -r $dir/service ]] && read -r found <"$dir/service"
    [[ $found == "$kind" ]] || die "nothing was started in $1 by this script"
    printf '%s\n' "$dir"
}

port_taken() {
    (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port nobody listens on, below the range the kernel gives to outgoing connections (32768 and up): a server that was
# killed finds its port free when it comes back.
free_port() {
    local port tries

    for ((tries = 0; tries < 100; tries++)); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! port_taken "$port"; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "found no free port between 20000 and 31999"
}

# process_start PID: when it started, in clock ticks since boot; fails if it is gone, or dead and not yet reaped.
process_start() {
    local stat state rest

    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) }                # the name before it may hold spaces and brackets
    read -r state rest <<<"$stat"
    [[ $state != Z && $state != X ]] || return 1
    read -ra rest <<<"$rest"
    printf '%s\n' "${rest[18]}"
}

pid_file_write() {
    printf '%s %s\n' "$2" "$(process_start "$2")" >"$1"
}

# running_pid FILE: prints the pid if the very process that FILE names is running.
running_pid() {
    local pid="" start=""

    [[ -r $1 ]] && read -r pid start <"$1"
    [[ -n $pid && $(process_start "$pid") == "$start" ]] || return 1
    printf '%s\n' "$pid"
}

# await_gone PID START TENTHS: fails if that process is still there when the time is over.
await_gone() {
    local i

    for ((i = 0; i < $3; i++)); do
        [[ $(process_start "$1") == "$2" ]] || return 0
        sleep 0.1
    done
    return 1
}

# detached COMMAND...: becomes the command, with no file open but the three standard ones: whoever reads this script's
# output through a pipe, or holds a lock, is not kept waiting by a server that lives on.
detached() {
    local fd

    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        if ((fd > 2)); then
            eval "exec $fd>&-"
        fi
    done
    exec "$@"
}

# elapsed SINCE: seconds and a tenth since that value of EPOCHREALTIME.
elapsed() {
    local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))

    printf '%d.%d' $((us / 1000000)) $((us % 1000000 / 100000))
}
