#!/usr/bin/env bash
#
# postgres.sh - a throw-away PostgreSQL for tests; everything it has lies in DIR.
#
#   postgres.sh start DIR [PORT]   start, or start again; PORT 0 or none: a free one, then always the same
#   postgres.sh stop DIR           stop cleanly (a "fast" shutdown)
#   postgres.sh kill DIR           crash: kill -9 of the server and its children; "start" then recovers
#   postgres.sh certificate DIR CERTIFICATE KEY
#                                  TLS on 127.0.0.1 with these PEM files from now on, for those who ask for it; or with others
#   postgres.sh env DIR            assignments for eval: PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD
#
# FSYNC=off         faster and unsafe: a crash of the machine may lose data, a crash of the server does not
# PGHOST            what "env" prints is the Unix socket, DIR itself; PGHOST=127.0.0.1 works with the same settings
# Roles             shelfwire owns the database shelfwire and may create databases; postgres is the superuser. Both are
#                   trusted on the socket (DIR is closed to other users) and have PGPASSWORD on 127.0.0.1
# Root              PostgreSQL refuses to run as root: the server is then run as postgres, or as nobody, who must be
#                   able to reach DIR (the folders above it open to others)
# Versions          the newest in /usr/lib/postgresql, else the one in PATH
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    echo "usage: postgres.sh start DIR [PORT] | stop DIR | kill DIR | certificate DIR CERTIFICATE KEY | env DIR" >&2
    exit 2
}

find_bin() {
    local found

    found=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
    [[ -n $found ]] || found=$(readlink -f -- "$(command -v initdb || true)")
    [[ -x $found ]] || die "PostgreSQL's server was not found: run tests/setup.sh test"
    printf '%s\n' "${found%/initdb}"
}

# The user the server runs as; empty for whoever calls.
find_user() {
    local user

    ((EUID == 0)) || return 0
    for user in postgres nobody; do
        if id -u "$user" >/dev/null 2>&1; then
            printf '%s\n' "$user"
            return
        fi
    done
    die "root cannot run PostgreSQL, and there is neither a user postgres nor nobody"
}

# as_server COMMAND...: as the server's user, without the caller's PG* settings.
as_server() {
    local become=()

    [[ -z $user ]] || become=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
    (
        cd / && detached env -i PATH="$bin:/usr/bin:/bin" LC_ALL=C.UTF-8 ${TZ:+TZ="$TZ"} "${become[@]}" "$@"
    )
}

# The pid of this folder's postmaster. Its own pid file has no start time as ours do, but a postmaster works in its data
# folder, and nobody else does.
postmaster() {
    local pid=""

    [[ -r $dir/data/postmaster.pid ]] && read -r pid <"$dir/data/postmaster.pid"
    [[ $pid =~ ^[0-9]+$ ]] && process_start "$pid" >/dev/null || return 1
    [[ $(readlink "/proc/$pid/cwd") == "$dir/data" && $(<"/proc/$pid/comm") == postgres ]] || return 1
    printf '%s\n' "$pid"
}

create() {
    local password

    chmod 700 -- "$dir"
    rm -rf -- "$dir/data"
    : >"$dir/log"
    umask 077
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$password" >"$dir/password"
    if [[ -n $user ]]; then
        chown -- "$user:" "$dir" "$dir/password" "$dir/log"
        as_server test -w "$dir" ||
            die "user $user cannot reach $dir: a folder above it is closed to others (mktemp -d makes such; chmod go+x opens it)"
    fi
    as_server initdb -D "$dir/data" -U postgres -E UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 \
        --pwfile="$dir/password" --no-sync --no-instructions >"$dir/initdb.log" 2>&1 ||
        die "initdb failed: $(grep -m 1 error: "$dir/initdb.log" || tail -n 1 "$dir/initdb.log")"
    as_server tee -a "$dir/data/postgresql.conf" >/dev/null <<END

# what tests want: small, quiet, nothing outside this folder
listen_addresses = '127.0.0.1'
unix_socket_directories = '$(socket_dir)'
max_connections = 200
shared_buffers = 128MB
logging_collector = off
log_min_messages = warning
log_checkpoints = off
timezone = 'UTC'
log_timezone = 'UTC'
END
}

# A socket's path has room for 107 bytes; in a deeper folder there is only 127.0.0.1.
socket_dir() {
    ((${#dir} > 85)) || printf '%s\n' "${dir//\'/\'\'}"
}

create_database() {
    local password

    password=$(<"$dir/password")
    printf "%s\n" "create role shelfwire login createdb password '$password';" \
        "grant pg_monitor, pg_signal_backend to shelfwire;" \
        "create database shelfwire owner shelfwire;" |
        as_server env PGPASSWORD="$password" psql -X -q -v ON_ERROR_STOP=1 -h "$(host)" -p "$(<"$dir/port")" \
            -U postgres -d postgres >"$dir/initdb.log" 2>&1 ||
        die "could not create the database: $(tail -n 1 "$dir/initdb.log")"
    : >"$dir/created"
}

host() {
    if [[ -n $(socket_dir) ]]; then
        printf '%s\n' "$dir"
    else
        echo 127.0.0.1
    fi
}

start() {
    local port=${1:-0} pid logged fsync=${FSYNC:-on} t0=$EPOCHREALTIME

    if ! [[ $port =~ ^[0-9]{1,5}$ ]] || ((10#$port > 65535)); then
        usage
    fi
    [[ $fsync == on || $fsync == off ]] || die "FSYNC must be on or off, not \"$fsync\""
    bin=$(find_bin)
    user=$(find_user)
    if pid=$(postmaster) && [[ -e $dir/created ]]; then
        echo "postgres.sh: PostgreSQL runs already on 127.0.0.1:$(<"$dir/port"), pid $pid"
        return
    fi
    if ((port == 0)); then
        if [[ -s $dir/port ]]; then
            port=$(<"$dir/port")
        else
            port=$(free_port)
        fi
    fi
    if ! port_taken "$port"; then
        printf '%s\n' "$port" >"$dir/port"
    else
        die "port $port is taken"
    fi
    [[ -e $dir/created ]] || create
    forget_unreaped
    logged=$(wc -l <"$dir/log")
    as_server pg_ctl -D "$dir/data" -l "$dir/log" -w -t 60 -s -o "-p $port -c fsync=$fsync" start >"$dir/start.log" 2>&1 ||
        die "PostgreSQL did not start: $(tail -n "+$((logged + 1))" "$dir/log" | grep -m 1 FATAL || tail -n 1 "$dir/start.log")"
    [[ -e $dir/created ]] || create_database
    echo "postgres.sh: PostgreSQL $("$bin/postgres" --version | sed 's/.* \([0-9.]*\) .*/\1/') on 127.0.0.1:$port," \
        "pid $(postmaster), fsync $fsync, $(elapsed "$t0") s"
}

# A process that is dead but not yet reaped (a container's first process may take its time) still answers to its number,
# and PostgreSQL would believe that the old server runs.
forget_unreaped() {
    local pid="" lock

    for lock in "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*.lock; do # data that were put back have only the second
        [[ -n $pid || ! -r $lock ]] || read -r pid <"$lock" || true
    done
    if [[ $pid =~ ^[0-9]+$ && -e /proc/$pid ]] && ! process_start "$pid" >/dev/null; then
        rm -f -- "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*.lock
    fi
}

stop() {
    local pid

    bin=$(find_bin)
    user=$(find_user)
    if ! pid=$(postmaster); then
        echo "postgres.sh: not running"
        return
    fi
    as_server pg_ctl -D "$dir/data" -m fast -w -t 60 -s stop >"$dir/start.log" 2>&1 ||
        die "PostgreSQL did not stop: $(tail -n 1 "$dir/start.log")"
    echo "postgres.sh: stopped"
}

# The children too, and it waits for them: one that is busy would outlive its postmaster, and a new server cannot start
# while one lives.
crash() {
    local pid child start children starts=()

    pid=$(postmaster) || die "not running"
    start=$(process_start "$pid")
    children=$(cat "/proc/$pid/task/$pid/children")
    for child in $children; do
        starts+=("$child $(process_start "$child" || true)")
    done
    kill -9 "$pid"
    for child in $children; do
        kill -9 "$child" 2>/dev/null || true
    done
    for child in "$pid $start" ${starts[@]+"${starts[@]}"}; do
        await_gone "${child% *}" "${child#* }" 100 || die "pid ${child% *} does not go away"
    done
    echo "postgres.sh: killed"
}

fingerprint() {
    openssl x509 -noout -fingerprint "$@" 2>/dev/null || true
}

# As the server's user and for nobody else, or PostgreSQL would not take the key. Connections that are open stay as they are.
certificate() {
    local i shown

    bin=$(find_bin)
    user=$(find_user)
    postmaster >/dev/null || die "not running"
    as_server tee "$dir/data/server.crt" <"$1" >/dev/null
    (umask 077 && as_server tee "$dir/data/server.key" <"$2" >/dev/null)
    grep -qx 'ssl = on' "$dir/data/postgresql.conf" || as_server tee -a "$dir/data/postgresql.conf" <<<"ssl = on" >/dev/null
    as_server pg_ctl -D "$dir/data" -s reload
    for ((i = 0; i < 100; i++)); do
        shown=$(openssl s_client -starttls postgres -connect "127.0.0.1:$(<"$dir/port")" 2>/dev/null </dev/null | fingerprint)
        if [[ $shown == "$(fingerprint -in "$1")" ]]; then
            echo "postgres.sh: shows the certificate"
            return
        fi
        sleep 0.1
    done
    die "PostgreSQL does not take the certificate: $(tail -n 1 "$dir/log")"
}

print_env() {
    [[ -e $dir/created ]] || die "nothing was started in $dir"
    printf 'PGHOST=%q\nPGPORT=%s\nPGUSER=shelfwire\nPGDATABASE=shelfwire\nPGPASSWORD=%s\n' \
        "$(host)" "$(<"$dir/port")" "$(<"$dir/password")"
    echo "export PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD"
}

if (($# < 2)) || [[ -z $2 ]]; then
    usage
fi
case $1:$# in
    start:2 | start:3) dir=$(own_dir "$2" postgres); start "${3:-0}" ;;
    stop:2) dir=$(check_dir "$2" postgres); stop ;;
    kill:2) dir=$(check_dir "$2" postgres); crash ;;
    certificate:4) dir=$(check_dir "$2" postgres); certificate "$3" "$4" ;;
    env:2) dir=$(check_dir "$2" postgres); print_env ;;
    *) usage ;;
esac
