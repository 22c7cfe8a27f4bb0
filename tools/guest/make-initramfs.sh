#!/bin/sh
# Builds a small initramfs from Debian's static busybox and the files in tools/guest/initramfs, and prints its path.
# With the argument i386 busybox is Debian's of that architecture, downloaded into the cache.
# Kernel command line: "script=NAME" runs /scripts/NAME and powers off; without it a shell starts on the console.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
arch=${1:-amd64}
busybox=$(command -v busybox)
image=$cache/initramfs.cpio.gz
if [ "$arch" != amd64 ]; then
    image=$cache/initramfs-$arch.cpio.gz
    busybox=$cache/busybox-$arch
    if [ ! -f "$busybox" ]; then
        work=$(mktemp -d "$cache/busybox.XXXXXX")
        trap 'rm -rf "$work"' EXIT
        (cd "$work" && foreign_apt "$arch" apt-get download busybox-static >/dev/null 2>&1) ||
            { foreign_apt "$arch" apt-get update >/dev/null 2>&1 || true; (cd "$work" && foreign_apt "$arch" apt-get download busybox-static >/dev/null 2>&1); } ||
            { echo "make-initramfs: cannot download busybox-static for $arch" >&2; exit 1; }
        dpkg-deb -x "$work"/*.deb "$work/root"
        cp "$work/root/bin/busybox" "$busybox"
        rm -rf "$work"
    fi
fi
newest=$(ls -t "$here"/make-initramfs.sh "$here"/initramfs/* "$here"/initramfs/*/* 2>/dev/null | head -n 1)
if [ ! -f "$image" ] || [ "$newest" -nt "$image" ]; then
    work=$(mktemp -d "$cache/initramfs.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/bin" "$work/proc" "$work/sys" "$work/dev" "$work/tmp" "$work/root" "$work/run"
    cp "$busybox" "$work/bin/busybox"
    cp -R "$here"/initramfs/. "$work/"
    chmod 755 "$work/init" "$work"/etc/rc "$work"/scripts/*
    ln -s busybox "$work/bin/sh"
    (cd "$work" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -9n) >"$image.new"
    mv "$image.new" "$image"
fi
printf '%s\n' "$image"
