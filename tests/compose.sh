#!/usr/bin/env bash
# Docker Compose as a library runs it: the real docker-compose.yml on a real Docker Engine, without a registry. Builds the image
# and stand-ins of the official ones, from Debian's packages and Maven Central's jars; starts a try-out, scales, kills and
# restarts it under load, counts at the vendors' sandbox what came of it (tests/compose/stack.py).
#
#   tests/compose.sh [--keep]
#
# Needs root on Debian; installs what is missing. The engine is its own, with its own socket, images and volumes, and ends with
# it: an engine that runs here already is not touched. What takes long to make (Debian 13's packages) stays in its cache,
# ${XDG_CACHE_HOME:-$HOME/.cache}/shelfwire/docker, of some 3 GB. --keep leaves everything running and says how to reach it.
# Says why and exits 77 where an engine cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/shelfwire/docker
keep=no
[[ ${1:-} != --keep ]] || keep=yes
export DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false
unset DOCKER_CONTEXT

skip() {
    echo "compose.sh: skipped: $1"
    exit 77
}
fail() {
    echo "compose.sh: $1" >&2
    exit 1
}
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

[[ $EUID -eq 0 ]] || skip "a Docker Engine of its own wants root"
command -v apt-get >/dev/null || skip "this is not Debian"

install_missing() {
    local missing=() package

    for package in docker.io docker-compose debootstrap iptables python3 python3-requests; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    say "installing ${missing[*]}"
    # an engine that comes new is not to start by itself
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        policy=ours
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
    apt-get update -qq >"$work/apt" 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Use-Pty=0 "${missing[@]}" >>"$work/apt" 2>&1 ||
        { tail -3 "$work/apt" >&2; skip "apt cannot install ${missing[*]}"; }
}

policy=""
engine=""
work=$(mktemp -d)
chmod 755 "$work"
export DOCKER_HOST=unix://$work/docker.sock

# What runs, and what it has written; images stay.
clean() {
    docker ps -aq | xargs -r docker rm -fv
    docker volume ls -q | xargs -r docker volume rm
    docker network ls -q --filter type=custom | xargs -r docker network rm
}

finish() {
    local status=$?

    [[ -z $policy ]] || rm -f /usr/sbin/policy-rc.d
    if [[ $keep == yes && $status -eq 0 ]]; then
        echo "compose.sh: left running: DOCKER_HOST=$DOCKER_HOST docker ps; to end it: kill $engine; rm -rf $work"
        return
    fi
    if [[ -n $engine ]] && kill -0 "$engine" 2>/dev/null; then
        clean >/dev/null 2>&1 || true
        kill "$engine"
        wait "$engine" || true
        umount "$work"/run/netns/* 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# The default bridge is not needed, and no rule of this machine's firewall is touched: containers meet on Compose's own network,
# what is published is carried by docker-proxy, and images are built on this machine's network.
start_engine() {
    mkdir -p "$cache"
    exec 9>"$cache.lock"
    flock -w 600 9 || fail "another run has the images for ten minutes"
    dockerd --host "$DOCKER_HOST" --data-root "$cache" --exec-root "$work/run" --pidfile "$work/docker.pid" --bridge none \
        --iptables=false --ip6tables=false --ip-forward=false >"$work/dockerd.log" 2>&1 9>&- &
    engine=$!
    until docker info >/dev/null 2>&1; do
        if ! kill -0 "$engine" 2>/dev/null; then
            engine=""
            skip "dockerd does not run here: $(tail -1 "$work/dockerd.log")"
        fi
        sleep 0.2
    done
    clean >/dev/null # of a run that was killed
}

# Debian 13 without what Debian's own slim image lacks too. It gets its packages where and as this machine does.
make_base() {
    local mirror with=() made

    made=$(declare -f make_base | cksum)
    [[ $(docker image inspect --format '{{.Config.Labels.made}}' debian:trixie-slim 2>/dev/null) != "$made" ]] || return 0
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -1)
    mkdir "$work/base"
    [[ $mirror != https:* ]] || with=(--include=ca-certificates)
    debootstrap --variant=minbase "${with[@]}" trixie "$work/base" ${mirror:+"$mirror"} >"$work/debootstrap" 2>&1 ||
        { tail -3 "$work/debootstrap" >&2; fail "debootstrap cannot make Debian 13"; }
    apt-config dump | grep -E '^Acquire::(Check-|http|https|Retries)' >"$work/base/etc/apt/apt.conf.d/99machine" || true
    printf '%s\n' 'path-exclude /usr/share/doc/*' 'path-include /usr/share/doc/*/copyright' 'path-exclude /usr/share/man/*' \
        'path-exclude /usr/share/locale/*' >"$work/base/etc/dpkg/dpkg.cfg.d/docker"
    rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/* "$work"/base/usr/share/{man,locale}
    find "$work/base/usr/share/doc" ! -name copyright ! -type d -delete
    mkdir -p "$work"/base/usr/share/man/man{1..9}
    tar -C "$work/base" -c . | docker import --change 'CMD ["bash"]' --change "LABEL made=\"$made\"" - debian:trixie-slim >/dev/null
    rm -rf "$work/base"
}

build() { # TAG DOCKERFILE TARGET CONTEXT
    docker build --network host --tag "$1" --file "$2" --target "$3" "$4" >"$work/build.log" 2>&1 ||
        { tail -40 "$work/build.log" >&2; fail "$1 does not build"; }
    say "$1, $(docker image inspect --format '{{.Size}}' "$1" | awk '{printf "%.1f MB", $1 / 1e6}')"
}

install_missing
start_engine
say "Docker Engine $(docker version --format '{{.Server.Version}}')"
make_base
tests/services/kafka.sh prepare >/dev/null
mkdir -p "$work/standins/jars"
cp "${KAFKA_JARS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/shelfwire/kafka-4.1.1}"/*.jar "$work/standins/jars/"
cp tests/compose/kafka-run tests/compose/postgres-entrypoint "$work/standins/"
standins=(tests/compose/standins.Dockerfile)
build apache/kafka:4.1.1 "${standins[@]}" kafka "$work/standins"
build postgres:17 "${standins[@]}" postgres "$work/standins"
build prom/prometheus:v3.5.0 "${standins[@]}" prometheus "$work/standins"
build compose-v2 "${standins[@]}" compose "$work/standins"
build shelfwire-sandbox:latest Dockerfile sandbox .
build shelfwire:latest Dockerfile shelfwire .
/usr/bin/python3 tests/compose/stack.py "$root" "$work" $([[ $keep == no ]] || echo --keep)
docker image prune -f >/dev/null
say "done"
