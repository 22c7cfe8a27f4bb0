#!/bin/sh
# Downloads the kernel that Debian's linux-image-amd64 stands for, unpacks it into the cache (it is not installed) and
# prints the path of its bzImage.
set -eu
. "$(dirname "$0")/cache.sh"
current=$cache/kernel/vmlinuz
if [ ! -f "$current" ]; then
    package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    if [ -z "$package" ]; then
        as_root=
        [ "$(id -u)" = 0 ] || as_root=sudo
        $as_root apt-get update -q >/dev/null
        package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    fi
    [ -n "$package" ] || { echo "fetch-kernel: apt knows no linux-image-amd64; is this Debian?" >&2; exit 1; }
    echo "fetch-kernel: downloading $package" >&2
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get download -q "$package" >/dev/null 2>&1) || {
        echo "fetch-kernel: cannot download $package; check the network and 'apt-get update'" >&2
        exit 1
    }
    dpkg-deb -x "$work"/*.deb "$work/root"
    mkdir -p "$cache/kernel.new"
    cp "$work"/root/boot/vmlinuz-* "$cache/kernel.new/vmlinuz"
    cp "$work"/root/boot/config-* "$cache/kernel.new/config"
    cp "$work"/root/boot/System.map-* "$cache/kernel.new/System.map" 2>/dev/null || true
    printf '%s\n' "$package" >"$cache/kernel.new/package"
    rm -rf "$cache/kernel"
    mv "$cache/kernel.new" "$cache/kernel"
fi
printf '%s\n' "$current"
