#!/usr/bin/env bash
#
# setup.sh - installs the Debian packages that building and testing need. Run it, or source it.
#
#   tests/setup.sh compile  what it takes to compile every program and the unit tests, as the image is (see Dockerfile)
#   tests/setup.sh build    what it takes to build every program, and PostgreSQL
#   tests/setup.sh test     the former, and what the tests use: cmocka, clang, Java and Maven for Kafka, kcat, promtool, Python
#
# Installs as root or by sudo, says so in one line, and says nothing when nothing is missing; without either it prints the
# command to run and exits 1. Python is Debian's own, /usr/bin/python3: it is the one that has the modules.
# A PostgreSQL that it installs brings no cluster of its own, a Prometheus (for its promtool) is not started, neither now nor at
# the next boot; one that was there is left as it is.

shelfwire_setup() (
    set -euo pipefail

    compile=(gcc libc6-dev cmake ninja-build pkg-config librdkafka-dev libcurl4-openssl-dev libpq-dev libjson-c-dev
        libmicrohttpd-dev libsqlite3-dev libssl-dev uthash-dev libhttp-parser-dev help2man ca-certificates tzdata)
    build=("${compile[@]}" curl dpkg-dev file postgresql)
    # "a|b" is whichever is there, or else the first one the distribution has
    test=(libcmocka-dev clang valgrind "openjdk-17-jre-headless|openjdk-21-jre-headless|default-jre-headless" maven kcat burrow
        prometheus socat openssl python3 python3-pytest python3-pytest-xdist python3-psycopg2 python3-confluent-kafka
        python3-jsonschema python3-requests python3-yaml python3-venv python3-aiosmtpd python3-websocket
        chromium sqlite3 ca-certificates)

    installed() {
        local state

        state=$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) && [[ $state == installed ]]
    }

    # the sanitizers' library of clang's own version, 14 in Debian 12; empty while nobody knows which that is
    clang_rt() {
        local depends

        if installed clang; then
            depends=$(dpkg-query -W -f '${Depends}' clang)
        else
            depends=$(apt-cache show --no-all-versions clang 2>/dev/null | sed -n 's/^Depends: *//p') || true
        fi
        [[ $depends =~ clang-([0-9]+) ]] && echo "libclang-rt-${BASH_REMATCH[1]}-dev"
    }

    known() {
        [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[0-9]* ]]
    }

    # Sets missing. A choice of which nothing is installed stays a choice.
    find_missing() {
        local want name rt

        missing=()
        for want in "${wanted[@]}"; do
            for name in ${want//|/ }; do
                ! installed "$name" || continue 2
            done
            missing+=("$want")
        done
        if [[ $mode == test ]]; then
            rt=$(clang_rt) || rt=libclang-rt-dev
            installed "$rt" || missing+=("$rt")
        fi
    }

    # Turns choices into names; fails if apt does not know one of them.
    choose() {
        local want name

        chosen=()
        for want in "${missing[@]}"; do
            for name in ${want//|/ }; do
                if known "$name"; then
                    chosen+=("$name")
                    continue 2
                fi
            done
            unknown=$want
            return 1
        done
    }

    # A server that comes new would make and start a cluster on port 5432; this tells Debian's scripts not to.
    no_cluster() {
        local conf_dir=/etc/postgresql-common/createcluster.d

        if dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'postgresql-[0-9]*' 2>/dev/null |
            grep -E '^installed postgresql-[0-9]+$' >/dev/null; then
            return
        fi
        "${as_root[@]}" mkdir -p "$conf_dir"
        drop_ins+=("$conf_dir/shelfwire-tests.conf")
        echo "create_main_cluster = false" | "${as_root[@]}" tee "$conf_dir/shelfwire-tests.conf" >/dev/null
    }

    # Debian's scripts start no service while this says so; a container has such a file already.
    no_service() {
        local policy=/usr/sbin/policy-rc.d

        [[ ! -e $policy ]] || return 0
        drop_ins+=("$policy")
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod +x "$policy"
    }

    mode=${1:-}
    case $mode:$# in
        compile:1) wanted=("${compile[@]}" libcmocka-dev) ;;
        build:1) wanted=("${build[@]}") ;;
        test:1) wanted=("${build[@]}" "${test[@]}") ;;
        *)
            echo "usage: tests/setup.sh compile | build | test" >&2
            exit 2
            ;;
    esac
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "setup.sh: this is not Debian; please install by other means: ${wanted[*]}" >&2
        exit 1
    fi
    find_missing
    ((${#missing[@]} > 0)) || exit 0

    as_root=(env)
    if ((EUID != 0)); then
        if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 && -t 2 ]]; }; then
            as_root=(sudo env)
        else
            echo "setup.sh: packages are missing; please run as root: apt-get update && apt-get install" \
                "--no-install-recommends ${missing[*]%%|*}" >&2
            exit 1
        fi
    fi
    if ! choose; then
        if ! "${as_root[@]}" apt-get update -qq >/dev/null; then
            echo "setup.sh: apt-get update failed; the lines above say why" >&2
            exit 1
        fi
        find_missing             # now that apt knows which clang there is
        if ! choose; then
            echo "setup.sh: apt knows no package ${unknown//|/ or }" >&2
            exit 1
        fi
    fi

    echo "setup.sh: installing ${chosen[*]}"
    drop_ins=()
    trap '((${#drop_ins[@]} == 0)) || "${as_root[@]}" rm -f "${drop_ins[@]}"' EXIT
    for name in "${chosen[@]}"; do
        case $name in
            postgresql) no_cluster ;;
            prometheus) no_service ;;
        esac
    done
    install=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
        -o Dpkg::Use-Pty=0 "${chosen[@]}")
    log=$(mktemp)
    if ! "${install[@]}" >"$log" 2>&1; then
        # an old list of packages names files the server no longer has
        if ! "${as_root[@]}" apt-get update -qq >/dev/null || ! "${install[@]}" >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            rm -f "$log"
            echo "setup.sh: apt-get install failed; its last lines are above" >&2
            exit 1
        fi
    fi
    rm -f "$log"
    if [[ " ${chosen[*]} " == *" prometheus "* ]] && command -v systemctl >/dev/null; then
        "${as_root[@]}" systemctl -q disable prometheus
    fi
)

shelfwire_setup "$@"
