#!/bin/sh
# Downloads the kernel that Debian's linux-image-amd64 (or, with the argument i386, linux-image-686) stands for, unpacks
# it into the cache (it is not installed) and prints the path of its bzImage.
set -eu
. "$(dirname "$0")/cache.sh"
arch=${1:-amd64}
case $arch in
amd64)
    meta=linux-image-amd64
    folder=$cache/kernel
    ;;
i386)
    meta=linux-image-686
    folder=$cache/kernel-i386
    ;;
*)
    echo "fetch-kernel: no architecture '$arch'; amd64 and i386 are known" >&2
    exit 1
    ;;
esac
current=$folder/vmlinuz

apt() {
    if [ "$arch" = amd64 ]; then "$@"; else foreign_apt "$arch" "$@"; fi
}

update() {
    as_root=
    [ "$arch" != amd64 ] || [ "$(id -u)" = 0 ] || as_root=sudo
    # Some mirrors lack an index that is not needed here; what is missing shows below.
    if [ "$arch" = amd64 ]; then $as_root apt-get update -q >/dev/null; else apt apt-get update >/dev/null 2>&1 || true; fi
}

dependency() { apt apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1; }

if [ ! -f "$current" ]; then
    package=$(dependency)
    if [ -z "$package" ]; then
        update
        package=$(dependency)
    fi
    [ -n "$package" ] || { echo "fetch-kernel: apt knows no $meta; is this Debian?" >&2; exit 1; }
    echo "fetch-kernel: downloading $package" >&2
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt apt-get download "$package" >/dev/null 2>&1) || {
        echo "fetch-kernel: cannot download $package; check the network and 'apt-get update'" >&2
        exit 1
    }
    dpkg-deb -x "$work"/*.deb "$work/root"
    mkdir -p "$folder.new"
    cp "$work"/root/boot/vmlinuz-* "$folder.new/vmlinuz"
    cp "$work"/root/boot/config-* "$folder.new/config"
    cp "$work"/root/boot/System.map-* "$folder.new/System.map" 2>/dev/null || true
    printf '%s\n' "$package" >"$folder.new/package"
    rm -rf "$folder"
    mv "$folder.new" "$folder"
fi
printf '%s\n' "$current"
