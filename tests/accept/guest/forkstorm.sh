# $count times fork and exec of each program of $job/programs, by $processes processes at once.
cat /proc/sys/kernel/randomize_va_space | sed 's/^/aslr: /'
chmod 755 $job/storm
while read -r program; do
    text=$(debian /job/storm "$processes" "$count" "$program" 2>$job/errors)
    echo "storm: $program status=$? $text"
    head -n 5 $job/errors | sed 's/^/storm-error: /'
done <$job/programs
kernel_log
