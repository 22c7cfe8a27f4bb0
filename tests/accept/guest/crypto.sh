# Loads modules ($job/modules) and runs tcrypt's modes ($job/modes). Self tests run when a module registers what it has.
n=$(wc -l <$job/modules)
i=0
while read -r module; do
    i=$((i + 1))
    begin=$(hundredths)
    if text=$(debian /sbin/modprobe "$module" 2>&1); then result=loaded; else result=refused; fi
    echo "module: $module result=$result hundredths=$(($(hundredths) - begin)) $i/$n $(echo "$text" | tr '\n' ' ')"
done <$job/modules

# By its design tcrypt never stays loaded: it tests, then refuses with EAGAIN. A failed test gives another error.
while read -r mode; do
    begin=$(hundredths)
    echo "tcrypt-mode: $mode" >/dev/kmsg
    text=$(debian /sbin/modprobe tcrypt mode="$mode" 2>&1)
    case "$text" in *"Resource temporarily unavailable"*) result=passed ;; *) result=failed ;; esac
    echo "mode: $mode result=$result hundredths=$(($(hundredths) - begin)) $(echo "$text" | tr '\n' ' ')"
done <$job/modes

# Tests of what loads in the background end within seconds.
for try in $(seq 60); do
    grep -q -e '^selftest *: unknown' -e '^type *: larval' /proc/crypto || break
    sleep 1
done
awk -F ' *: ' '
    $1 == "name" { name = $2 } $1 == "driver" { driver = $2 } $1 == "selftest" { selftest = $2 } $1 == "type" { type = $2 }
    /^$/ && name { printf "algorithm: %s selftest=%s type=%s name=%s\n", driver, selftest, type, name; name = selftest = type = "" }' /proc/crypto
kernel_log
