#!/bin/sh
# Before every script of the in-guest tests. The packages' programs lie in /debian with the test's files in its /job. Lines
# for the host are "NAME: TEXT".
echo
job=/debian/job
[ ! -f $job/env ] || . $job/env
mount --bind /dev /debian/dev
mount -t proc proc /debian/proc
mount -t sysfs sysfs /debian/sys
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null

# The kernel asks for modules through the packages' modprobe.
printf '#!/bin/sh\nexec /bin/chroot /debian /sbin/modprobe "$@"\n' >/bin/kernel-modprobe
chmod 755 /bin/kernel-modprobe
echo /bin/kernel-modprobe >/proc/sys/kernel/modprobe

# Same environment as guestroot.ENVIRONMENT.
debian() {
    env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C TZ=UTC HOME=/job TMPDIR=/tmp PERL_HASH_SEED=0 PYTHONHASHSEED=0 \
        PYTHONDONTWRITEBYTECODE=1 /bin/chroot /debian "$@"
}
in_job() { debian /bin/bash -c "cd /job; $1"; }
now() { cut -d ' ' -f 1 /proc/uptime; }
hundredths() { now | tr -d . | sed 's/^0*\(.\)/\1/'; } # 0.98 s is no octal number
digest() { sha256sum "$1" | cut -d ' ' -f 1; }
kernel_log() {
    dmesg | sed 's/^/kernel-log: /'
    echo "kernel-log-end: 1"
}
(while sleep 10; do echo "alive: $(now)"; done) &
