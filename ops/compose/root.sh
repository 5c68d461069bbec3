#!/bin/sh
# Lays out the root file systems of the image (see Dockerfile): what every program needs, and the programs.
#   ops/compose/root.sh BUILD ROOT PROGRAMS
# ROOT gets the libraries that the programs were linked with, certificate authorities, time zones, a user, and of each Debian
# package that is in it the copyright and the status, by which scanners for known vulnerabilities find it.
set -eu
build=$1 root=$2 programs=$3

DESTDIR=$programs cmake --install "$build" --strip >/dev/null
rm -r "$programs/usr/share/man" "$programs/usr/lib/systemd"

mkdir -p "$root/etc/ssl/certs" "$root/usr/bin" "$root/usr/lib/ssl" "$root/usr/lib64" "$root/usr/share"
for folder in bin lib lib64; do
    ln -s "usr/$folder" "$root/$folder"
done
mkdir -p "$root/var/lib/dpkg/status.d"
mkdir -m 1777 "$root/tmp"
# the last one is not linked with: the C library loads it when a thread ends early
{
    ldd "$programs"/usr/bin/* "$build/bin/sandbox" | grep -o '/[^ ]*\.so[^ ]*'
    ls /lib/*/libgcc_s.so.1
} | sort -u | while read -r library; do
    cp -L --parents "$library" "$root"
    dpkg-query --search "$(readlink -f "$library")"
done | cut -d : -f 1 | sort -u >"$build/packages"
for package in $(cat "$build/packages") ca-certificates tzdata; do
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
    # where it is another package's, Debian's slim image lacks the link to that
    [ ! -e "/usr/share/doc/$package/copyright" ] || cp -L --parents "/usr/share/doc/$package/copyright" "$root"
done
cp -L --parents /usr/share/doc/gcc-*-base/copyright "$root"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem" # where libpq's sslrootcert=system looks
cp -a /usr/share/zoneinfo "$root/usr/share/"
cp /etc/os-release "$root/etc/"
echo 'shelfwire:x:10001:10001:Shelfwire:/nonexistent:/nonexistent' >"$root/etc/passwd"
echo 'shelfwire:x:10001:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf" # the library's own order is the other way round
