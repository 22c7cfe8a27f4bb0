# Runs the programs of $job/jobs, a line each: NAME, a tab, a command that leaves its result in /job/NAME.out. The host has
# run the same. What differs comes back in base64 (up to 4 MiB packed) when the host asks by name ($job/send).
while IFS="$(printf '\t')" read -r name command; do
    echo "starts: $name"
    begin=$(hundredths)
    in_job "$command" </dev/null >/debian/job/"$name".stdout 2>/debian/job/"$name".stderr
    status=$?
    echo "done: $name status=$status hundredths=$(($(hundredths) - begin)) digest=$(digest $job/"$name".out) size=$(stat -c %s $job/"$name".out)"
    head -c 300 $job/"$name".stderr | tr '\n' ' ' | sed "s/^/stderr-$name: /"
    echo
    want=$(sed -n "s/^$name //p" $job/expected)
    if [ "$want" != "$(digest $job/"$name".out)" ]; then
        gzip -1 <$job/"$name".out | base64 | head -n 60000 | sed "s/^/data-$name: /"
    fi
    rm -f $job/"$name".std* $job/"$name".out
done <$job/jobs
kernel_log
