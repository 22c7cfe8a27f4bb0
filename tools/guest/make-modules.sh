#!/bin/sh
# Packs modules of the kernel that fetch-kernel.sh got, those for virtio devices, persistent memory and disks, into an archive
# to be put behind the initramfs, and prints its path. They lie in /modules; /modules/load loads those whose names it is
# given, with what they need. Beside them this system's ndctl with its libraries, where it is installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
"$here/fetch-kernel.sh" >/dev/null
kernel=$(cat "$cache/kernel/package")
image=$cache/modules.cpio.gz
wanted='virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_mmio virtio_balloon virtio_mem virtio_pmem nd_virtio
    libnvdimm nfit nd_pmem nd_btt dax device_dax dax_pmem nd_e820 ext4 jbd2 mbcache crc16 crc32c_generic crc32c-intel libcrc32c kmem
    scsi_common scsi_mod libata ata_piix ata_generic pata_legacy crct10dif_common crc-t10dif crc64 crc64-rocksoft t10-pi sd_mod cdrom sr_mod isofs sg'
want="$kernel $(command -v ndctl) $(sha256sum <"$0")"
if [ "$(cat "$image.want" 2>/dev/null)" != "$want" ]; then
    work=$(mktemp -d "$cache/modules.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get download -q "$kernel" >/dev/null 2>&1) || {
        echo "make-modules: cannot download $kernel; remove $cache/kernel to take today's kernel" >&2
        exit 1
    }
    mkdir -p "$work/root" "$work/out/modules"
    dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$work/root" --wildcards './lib/modules/*' 2>/dev/null ||
        dpkg-deb -x "$work"/*.deb "$work/root"
    : >"$work/out/modules/needs"
    for name in $wanted; do
        file=$(find "$work/root" -name "$name.ko" | head -n 1)
        [ -n "$file" ] || continue # built in, or not there
        cp "$file" "$work/out/modules/$name.ko"
        echo "$name $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | head -n 1 | tr ',' ' ')" >>"$work/out/modules/needs"
    done
    cat >"$work/out/modules/load" <<'END'
#!/bin/sh
# load NAME...: loads modules with what they need.
load() {
    lsmod | grep -q "^$(echo "$1" | tr - _) " && return
    for need in $(sed -n "s/^$1 //p" /modules/needs); do load "$need"; done
    [ ! -f "/modules/$1.ko" ] || insmod "/modules/$1.ko"
}
for name; do load "$name"; done
END
    chmod 755 "$work/out/modules/load"
    if ndctl=$(command -v ndctl); then
        mkdir -p "$work/out/bin"
        cp "$ndctl" "$work/out/bin/ndctl"
        for file in $(ldd "$ndctl" | grep -o '/[^ ]*'); do
            mkdir -p "$work/out$(dirname "$file")"
            cp -L "$file" "$work/out$file"
        done
    fi
    (cd "$work/out" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -9n) >"$image.new"
    mv "$image.new" "$image"
    printf '%s\n' "$want" >"$image.want"
fi
printf '%s\n' "$image"
