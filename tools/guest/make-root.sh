#!/bin/sh
# Unpacks Debian packages (tools/guest/root-packages and what they depend on) and the modules of the kernel that
# fetch-kernel.sh got into a folder of the cache, and prints its path. Nothing is installed: the tests take files from it
# for the guest's memory file system, and run the same files on the host in a chroot (tests/accept/guestlib.py).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
root=$cache/root
"$here/fetch-kernel.sh" >/dev/null
kernel=$(cat "$cache/kernel/package")
want="$kernel $(cat "$here/root-packages" "$here/make-root.sh" | sha256sum)"
if [ "$(cat "$root/.want" 2>/dev/null)" != "$want" ]; then
    wanted=$(grep -v '^#' "$here/root-packages")
    # As if nothing were installed: the answer is the whole closure.
    # shellcheck disable=SC2086 # word splitting is what makes the list a list
    closure() { apt-get -s -o Dir::State::Status=/dev/null -o Debug::NoLocking=1 install --no-install-recommends $wanted 2>/dev/null | sed -n 's/^Inst \([^ ]*\) .*/\1/p'; }
    packages=$(closure)
    if [ -z "$packages" ]; then
        as_root=
        [ "$(id -u)" = 0 ] || as_root=sudo
        $as_root apt-get update -q >/dev/null
        packages=$(closure)
    fi
    [ -n "$packages" ] || { echo "make-root: apt cannot resolve the packages of tools/guest/root-packages" >&2; exit 1; }
    echo "make-root: downloading $(echo "$packages" | wc -l) packages and the modules of $kernel" >&2
    work=$(mktemp -d "$cache/root.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/debs" "$work/root" "$work/kernel"
    # shellcheck disable=SC2086
    (cd "$work/debs" && apt-get download -q $packages >/dev/null 2>&1) || {
        echo "make-root: cannot download $packages; check the network and 'apt-get update'" >&2
        exit 1
    }
    (cd "$work/kernel" && apt-get download -q "$kernel" >/dev/null 2>&1) || {
        echo "make-root: cannot download $kernel; remove $cache/kernel to take today's kernel" >&2
        exit 1
    }
    # Debian's merged /usr: packages still ship files in /bin and /lib.
    for name in bin sbin lib lib64; do
        mkdir -p "$work/root/usr/$name"
        ln -s "usr/$name" "$work/root/$name"
    done
    for deb in "$work"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --keep-directory-symlink --no-same-owner \
            --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/info' \
            --exclude='./usr/share/lintian' --exclude='./dev/*'
    done
    dpkg-deb --fsys-tarfile "$work"/kernel/*.deb | tar -x -C "$work/root" --keep-directory-symlink --no-same-owner \
        --wildcards './lib/modules/*/kernel/crypto/*' './lib/modules/*/kernel/arch/x86/*' './lib/modules/*/kernel/lib/*' './lib/modules/*/modules.*'
    # The module list as depmod makes it, by the unpacked program itself.
    library=$work/root/usr/lib/x86_64-linux-gnu
    "$library/ld-linux-x86-64.so.2" --argv0 depmod --library-path "$library" "$work/root/usr/bin/kmod" -b "$work/root" "$(basename "$work"/root/lib/modules/*)"
    mkdir -p "$work/root/tmp" "$work/root/job" "$work/root/dev" "$work/root/proc" "$work/root/sys"
    printf '%s\n' "$want" >"$work/root/.want"
    rm -rf "$root"
    mv "$work/root" "$root"
fi
printf '%s\n' "$root"
