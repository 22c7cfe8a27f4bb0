#!/bin/sh
# Builds what the benchmark runs, natively and in guests, and prints the folder it is in:
#     root/bench     the programs of bench/programs, Debian's programs, their data and bench/rows
#     bench.cpio     root as an initramfs (not compressed: unpacking it is not what is measured)
#     boot.cpio.gz   busybox and an /init that prints a line and powers off
# The folder is made anew when a source file or a package changed; the three used last are kept.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/guest/cache.sh"
key=$({ cat "$here/make-image.sh" "$here/rows" "$here"/programs/* "$here"/guest/*
        dpkg-query -W busybox-static gzip lua5.4 sqlite3 cpp gcc xz-utils libc6; } | sha256sum | cut -c 1-16)
folder=$cache/bench/$key
if [ ! -d "$folder" ]; then
    mkdir -p "$cache/bench"
    work=$(mktemp -d "$cache/bench/new.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    bench=$work/root/bench
    mkdir -p "$bench" "$work/root/bin" "$work/root/proc" "$work/root/dev" "$work/root/tmp"

    for source in "$here"/programs/*.c; do
        name=$(basename "$source" .c)
        case $name in
        simd) machine=-march=x86-64-v2 ;;
        avx2) machine=-march=haswell ;;
        *) machine= ;;
        esac
        # shellcheck disable=SC2086 # empty is no argument
        gcc -std=gnu17 -O2 -static -Wall -Wextra -Werror $machine -o "$bench/$name" "$source" -lm
    done
    cp "$here/rows" "$here"/guest/*.awk "$here"/guest/*.sed "$here"/guest/*.lua "$here"/guest/*.sql "$bench"
    python3 "$here/guest/data.py" "$bench"

    # Debian's programs, with the libraries of those that are not static.
    cp "$(command -v busybox)" "$bench/busybox"
    cp "$(command -v gzip)" "$bench/gzip"
    cp "$(command -v lua5.4)" "$bench/lua"
    cp "$(command -v sqlite3)" "$bench/sqlite3"
    cp "$(gcc -print-prog-name=cc1)" "$bench/cc1"
    for name in gzip lua sqlite3 cc1; do
        for library in $(ldd "$bench/$name" | grep -o '/[^ ]*'); do
            mkdir -p "$work/root$(dirname "$library")"
            cp -L "$library" "$work/root$library"
        done
    done

    ln "$bench/busybox" "$work/root/bin/busybox"
    cp "$here/guest/init" "$work/root/init"
    chmod 755 "$work/root/init"
    pack() { find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0; }
    (cd "$work/root" && pack) >"$work/bench.cpio"

    mkdir -p "$work/boot/bin" "$work/boot/dev"
    cp "$bench/busybox" "$work/boot/bin/busybox"
    cp "$here/guest/boot-init" "$work/boot/init"
    chmod 755 "$work/boot/init"
    (cd "$work/boot" && pack) | gzip -9n >"$work/boot.cpio.gz"
    rm -rf "$work/boot"

    chmod 755 "$work"
    mv -T "$work" "$folder" 2>/dev/null || [ -d "$folder" ] # another run may have been faster
    # shellcheck disable=SC2010 # names are our own
    (cd "$cache/bench" && ls -t | grep -v '^new\.' | tail -n +4 | xargs -r rm -rf)
fi
touch "$folder" # it was used
printf '%s\n' "$folder"
