# Several kinds of work at once for $seconds: each job checks its own result against the host's ($job/expected, or what its
# program says), counts, and goes on.
problem() { echo "problem: $*"; }
chmod 755 $job/storm $job/tcp
ifconfig lo 127.0.0.1 up || problem "no loopback"

# Touch all memory first: what the emulator's process gains after this is its own.
mkdir /fill
mount -t tmpfs -o size=100% tmpfs /fill
mib=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 - 120))
dd if=/dev/zero of=/fill/zeros bs=1M count="$mib" 2>/dev/null || problem "cannot fill $mib MiB"
rm /fill/zeros
umount /fill
echo "filled: $mib"

seconds_up() { cut -d . -f 1 /proc/uptime; }
end=$(($(seconds_up) + seconds))
wanted() { sed -n "s/^$1 //p" $job/expected; }
check() { # NAME FILE
    got=$(digest "$2")
    [ "$got" = "$(wanted "$1")" ] || problem "$1: digest $got instead of $(wanted "$1") at $(now)"
}

job_compile() {
    in_job "gcc -w -O2 -c program.c -o /tmp/compile.o" || problem "gcc: status $?"
    check compile /debian/tmp/compile.o
}
job_sqlite() {
    in_job "rm -f /tmp/t.db; sqlite3 -batch /tmp/t.db <script.sql >/tmp/sqlite.out" || problem "sqlite3: status $?"
    check sqlite /debian/tmp/sqlite.out
}
job_storm() {
    for program in self /usr/bin/true; do
        text=$(debian /job/storm 2 20 $program) || problem "storm: $text"
    done
}
job_tcp() { text=$(debian /job/tcp 4 300000) || problem "tcp: $text"; }
job_pack() {
    in_job "gzip -6nc text >/tmp/pack.gz && xz -1c --threads=1 text >/tmp/pack.xz && gzip -dc /tmp/pack.gz >/tmp/pack.a && xz -dc /tmp/pack.xz >/tmp/pack.b" ||
        problem "pack: status $?"
    check text /debian/tmp/pack.a
    check text /debian/tmp/pack.b
    check pack /debian/tmp/pack.gz
}

for name in compile sqlite storm tcp pack; do
    (
        count=0
        while [ "$(seconds_up)" -lt $end ]; do
            job_$name
            count=$((count + 1))
            echo $count >/tmp/count.$name
        done
        echo "total: $name count=$count"
    ) &
    eval "pid_$name=$!"
done
while [ "$(seconds_up)" -lt $end ]; do
    sleep 20
    echo "progress: $(now) $(cd /tmp && grep . count.* | tr '\n' ' ')free-kib=$(sed -n 's/^MemFree: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
done
wait $pid_compile $pid_sqlite $pid_storm $pid_tcp $pid_pack
kernel_log
