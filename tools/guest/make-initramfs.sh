#!/bin/sh
# Builds a small initramfs from Debian's static busybox and the files in tools/guest/initramfs, and prints its path.
# Kernel command line: "script=NAME" runs /scripts/NAME and powers off; without it a shell starts on the console.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
image=$cache/initramfs.cpio.gz
newest=$(ls -t "$here"/make-initramfs.sh "$here"/initramfs/* "$here"/initramfs/*/* 2>/dev/null | head -n 1)
if [ ! -f "$image" ] || [ "$newest" -nt "$image" ]; then
    work=$(mktemp -d "$cache/initramfs.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/bin" "$work/proc" "$work/sys" "$work/dev" "$work/tmp" "$work/root" "$work/run"
    cp "$(command -v busybox)" "$work/bin/busybox"
    cp -R "$here"/initramfs/. "$work/"
    chmod 755 "$work/init" "$work"/etc/rc "$work"/scripts/*
    ln -s busybox "$work/bin/sh"
    (cd "$work" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -9n) >"$image.new"
    mv "$image.new" "$image"
fi
printf '%s\n' "$image"
