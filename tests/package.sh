#!/usr/bin/env bash
# The Debian package: builds it, installs it on this machine as a person would, looks whether all that should be there is and works,
# and removes it again. Needs root, and a machine on which shelfwire is not installed; says so and exits 77 where it cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "package.sh: skipped: $1"
    exit 77
}
fail() {
    echo "package.sh: $1" >&2
    exit 1
}
[[ $EUID -eq 0 ]] || skip "installing a package wants root"
! dpkg-query -W shelfwire >/dev/null 2>&1 || skip "shelfwire is installed here"
[[ ! -e /etc/shelfwire ]] || skip "/etc/shelfwire is there already"

cmake --preset package >/dev/null
rm -f build-package/*.deb
cmake --build --preset package >/dev/null
deb=$(echo "$PWD"/build-package/shelfwire_*.deb)
scratch=$(mktemp -d)
chmod 711 "$scratch"
trap 'tests/services/postgres.sh stop "$scratch/pg" >/dev/null 2>&1 || true; apt-get purge -y -qq shelfwire >/dev/null 2>&1 || true; rm -rf "$scratch"' EXIT

apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$deb" >"$scratch/apt" 2>&1 || { cat "$scratch/apt"; fail "apt cannot install $deb"; }
dpkg -L shelfwire >"$scratch/files"

# every program, its page and its unit
for source in producers/*.c workers/*.c ops/*.c; do
    program=$(basename "$source" .c)
    [[ $("$program" --version) == "$program (Shelfwire) "* ]] || fail "$program does not run"
    grep -qx "/usr/share/man/man8/$program.8" "$scratch/files" || fail "$program has no manual page"
    [[ $program == migrate ]] || grep -qE "^/usr/lib/systemd/system/shelfwire-$program@?\.service$|^/lib/systemd/system/shelfwire-$program@?\.service$" "$scratch/files" ||
        fail "$program has no systemd unit"
done
[[ $(stat -c '%a %U' /etc/shelfwire/secrets) == "700 root" ]] || fail "/etc/shelfwire/secrets is not root's alone"
dpkg-query -W -f '${Conffiles}' shelfwire | grep -q /etc/shelfwire/shelfwire.env || fail "the settings are not a configuration file"

# systemd understands the units, and finds them well shut in
if command -v systemd-analyze >/dev/null; then
    for unit in $(grep -E 'shelfwire-.*\.service$' "$scratch/files"); do
        complaint=$(systemd-analyze verify --man=no "${unit/@./@1.}" 2>&1 | grep -E "$(basename "${unit/@./}" .service)" | grep -v 'not found' || true)
        [[ -z $complaint ]] || fail "$complaint"
        systemd-analyze security --offline=true --threshold=20 "$unit" >"$scratch/security" 2>&1 ||
            fail "$(basename "$unit") is not shut in: $(tail -1 "$scratch/security")"
    done
fi

# the migrations are found where they were installed
tests/services/postgres.sh start "$scratch/pg" >/dev/null
eval "$(tests/services/postgres.sh env "$scratch/pg")"
export PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE
migrate >/dev/null 2>&1 || fail "migrate does not find its migrations"

# removed: only what a person wrote is left; purged: nothing
touch /etc/shelfwire/secrets/ALMA_API_KEYS
apt-get remove -y -qq shelfwire >/dev/null 2>&1
left=$(while read -r file; do [[ -d $file || ! -e $file ]] || echo "$file"; done <"$scratch/files")
[[ $left == /etc/shelfwire/shelfwire.env ]] || fail "left behind after remove: $left"
[[ -e /etc/shelfwire/secrets/ALMA_API_KEYS ]] || fail "removing it took the secrets"
apt-get purge -y -qq shelfwire >/dev/null 2>&1
[[ ! -e /etc/shelfwire ]] || fail "left behind after purge: $(find /etc/shelfwire)"
echo "package.sh: $(basename "$deb") installs, works, and goes again"
