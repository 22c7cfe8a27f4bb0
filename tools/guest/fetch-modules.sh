#!/bin/sh
# Gets modules of the kernel that fetch-kernel.sh got, and prints the folder they are in, as NAME.ko. Unlike the kernel they
# are named by the path in the package: fetch-modules.sh drivers/acpi/button drivers/input/evdev
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
"$here/fetch-kernel.sh" >/dev/null
kernel=$(cat "$cache/kernel/package")
folder=$cache/modules/$kernel
missing=
for module in "$@"; do
    [ -f "$folder/$(basename "$module").ko" ] || missing="$missing ./lib/modules/*/kernel/$module.ko"
done
if [ -n "$missing" ]; then
    echo "fetch-modules: downloading $kernel" >&2
    work=$(mktemp -d "$cache/modules.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get download -q "$kernel" >/dev/null 2>&1) || {
        echo "fetch-modules: cannot download $kernel; remove $cache/kernel to take today's kernel" >&2
        exit 1
    }
    mkdir -p "$work/root" "$folder"
    deb=$(echo "$work"/*.deb)
    set -f # the patterns are tar's
    # shellcheck disable=SC2086 # word splitting is what makes the list a list
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --wildcards $missing || {
        echo "fetch-modules: $kernel has not all of$missing" >&2
        exit 1
    }
    find "$work/root" -name '*.ko' -exec mv {} "$folder/" \;
fi
printf '%s\n' "$folder"
