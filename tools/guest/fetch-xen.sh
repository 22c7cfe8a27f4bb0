#!/bin/sh
# Downloads Debian's Xen hypervisor, unpacks it into the cache (it is not installed) and prints the path of the file that
# a multiboot loader starts.
set -eu
. "$(dirname "$0")/cache.sh"
package=xen-hypervisor-4.17-amd64
folder=$cache/xen
current=$folder/xen

if [ ! -f "$current" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "fetch-xen: downloading $package" >&2
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    download() { (cd "$work" && apt-get download "$package" >/dev/null 2>&1); }
    # Some mirrors lack an index that is not needed here; what is missing shows below.
    download || { $as_root apt-get update -q >/dev/null || true; download; } || {
        echo "fetch-xen: cannot download $package; check the network and 'apt-get update'" >&2
        exit 1
    }
    dpkg-deb -x "$work"/*.deb "$work/root"
    mkdir -p "$folder.new"
    gzip -dc "$work"/root/boot/xen-*.gz >"$folder.new/xen"
    (cd "$work" && ls *.deb) >"$folder.new/package"
    rm -rf "$folder"
    mv "$folder.new" "$folder"
fi
printf '%s\n' "$current"
