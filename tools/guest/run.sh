#!/bin/sh
# Boots Debian's kernel with the busybox initramfs in this terminal. Usage: run.sh PROGRAM [OPTION...]
set -eu
here=$(dirname "$0")
program=$1
shift
kernel=$("$here/fetch-kernel.sh")
initramfs=$("$here/make-initramfs.sh")
exec "$program" -nographic -m 512M -cpu max -kernel "$kernel" -initrd "$initramfs" -append "console=ttyS0" "$@"
