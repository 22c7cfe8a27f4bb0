# Switches everything that patches kernel code through tracefs and sysctl while the machine is busy: $rounds times the
# function tracers, probes, events and static keys named in $steps.
t=/sys/kernel/tracing
problem() { echo "problem: $*"; }
chmod 755 $job/calls

# Load. Each worker checks its own results; /tmp/stop ends them.
head -c 65536 /dev/zero | tr '\0' 'x' >/tmp/known
known=$(digest /tmp/known)
worker_compute() { while [ ! -e /tmp/stop ]; do [ "$(digest /tmp/known)" = "$known" ] || problem "a digest is wrong"; done; }
worker_fork() { while [ ! -e /tmp/stop ]; do [ "$(/bin/busybox echo a | /bin/busybox tr a b)" = b ] || problem "a pipe is wrong"; done; }
worker_shell() {
    while [ ! -e /tmp/stop ]; do
        i=0 sum=0
        while [ $i -lt 500 ]; do sum=$((sum + i * i)) i=$((i + 1)); done
        [ $sum = 41541750 ] || problem "a sum is $sum"
    done
}
worker_files() { while [ ! -e /tmp/stop ]; do mkdir -p /tmp/a/b; cp /tmp/known /tmp/a/b/c; cmp -s /tmp/known /tmp/a/b/c || problem "a copy differs"; mv /tmp/a /tmp/d; rm -r /tmp/d; done; }
for worker in $workers; do worker_$worker & done
renice -n -10 $$ >/dev/null # the switching goes on however busy the machine is

get() { cat $t/"$1"; }
put() { echo "$2" >$t/"$1" || problem "cannot write '$2' to $1"; }
calls() { debian /job/calls "$1" || problem "calls: status $?"; }
entries() { grep -c "$1" $t/trace; }
CALL=__x64_sys_getpgid

# What is traced must be seen: exactly $1 calls, with the filter on that function alone.
count_calls() {
    put trace ""
    calls "$1"
    seen=$(entries "$2")
    [ "$seen" = "$1" ] || problem "$3: $seen of $1 calls traced"
}

step_function() {
    put set_ftrace_filter "" # every function of the kernel
    put current_tracer function
    calls 10
    [ "$(head -n 200 $t/trace | wc -l)" -ge 100 ] || problem "the function tracer saw nothing"
    put current_tracer nop
    put set_ftrace_filter "$CALL"
    put current_tracer function
    count_calls 200 "$CALL <-" function
    # Sites patched one group after another while the tracer is on.
    for group in 'vfs_*' 'do_*' 'tcp_*' 'schedule*' 'mutex_*' '*alloc*'; do
        echo "$group" >>$t/set_ftrace_filter 2>/dev/null
        calls 5
    done
    put current_tracer nop
    put set_ftrace_filter ""
}

step_graph() {
    put current_tracer function_graph
    calls 10
    [ "$(head -n 200 $t/trace | wc -l)" -ge 100 ] || problem "the graph tracer saw nothing"
    put current_tracer nop
    put set_graph_function "$CALL"
    put set_ftrace_filter "$CALL"
    put current_tracer function_graph
    count_calls 200 "$CALL" graph
    put current_tracer nop
    put set_graph_function ""
    put set_ftrace_filter ""
}

# Probes on function entries sit on the tracer's call; those behind it are INT3 and become jumps a little later.
step_kprobes() {
    : >/tmp/probes
    n=0
    for function in $(sed -n 's/^\(vfs_[a-z_]*\|ksys_[a-z_]*\|do_sys[a-z_]*\|tcp_[a-z_]*\|__x64_sys_[a-z0-9_]*\|pipe_[a-z]*\|proc_[a-z_]*\|filemap_[a-z_]*\)$/\1/p' \
        $t/available_filter_functions | head -n "$probes"); do
        n=$((n + 1))
        echo "p:q/e$n $function" >>/tmp/probes
        echo "p:q/i$n $function+5" >>/tmp/probes
        echo "r:q/r$n $function" >>/tmp/probes
    done
    while read -r probe; do echo "$probe" >>$t/kprobe_events 2>/dev/null; done </tmp/probes
    echo "p:q/exact_entry $CALL" >>$t/kprobe_events || problem "no probe on $CALL"
    echo "p:q/exact_inside $CALL+5" >>$t/kprobe_events || problem "no probe on $CALL+5"
    echo "r:q/exact_return $CALL" >>$t/kprobe_events || problem "no return probe on $CALL"
    have=$(wc -l <$t/kprobe_events)
    [ "$have" -ge $((n * 2)) ] || problem "only $have probes of $((n * 3)) were taken"
    put events/q/enable 1
    sleep 1 # the optimizer works in the background
    optimized=$(grep -c OPTIMIZED /sys/kernel/debug/kprobes/list)
    before=$(grep -e exact_ $t/kprobe_profile | awk '{ print $2 }' | tr '\n' ' ')
    calls 300
    echo 0 >/proc/sys/debug/kprobes-optimization # back to INT3
    calls 300
    echo 0 >/sys/kernel/debug/kprobes/enabled
    calls 77 # nobody looks
    echo 1 >/sys/kernel/debug/kprobes/enabled
    echo 1 >/proc/sys/debug/kprobes-optimization
    sleep 1
    calls 300
    after=$(grep -e exact_ $t/kprobe_profile | awk '{ print $2 }' | tr '\n' ' ')
    missed=$(grep -e exact_ $t/kprobe_profile | awk '{ print $3 }' | tr '\n' ' ')
    echo "probes: $have optimized=$optimized before=$(echo $before | tr ' ' ,) after=$(echo $after | tr ' ' ,) missed=$(echo $missed | tr ' ' ,) hits=$(awk '{ n += $2 } END { print n }' $t/kprobe_profile)"
    for value in $after; do [ "$value" = 900 ] || problem "a probe counted $value of 900 calls (missed $missed)"; done
    [ "$optimized" -gt 0 ] || problem "no probe was optimized"
    put events/q/enable 0
    put kprobe_events ""
}

step_events() {
    put events/enable 1
    calls 20
    put events/enable 0
    put events/syscalls/sys_enter_getpgid/enable 1
    count_calls 200 "sys_getpgid(" "system call events"
    put events/syscalls/sys_enter_getpgid/enable 0
    for system in sched irq timer kmem exceptions signal raw_syscalls tlb vmscan rcu; do
        [ -d $t/events/$system ] || continue
        put events/$system/enable 1
        calls 5
        put events/$system/enable 0
    done
}

step_keys() {
    for i in $(seq "$loops"); do
        for key in sched_schedstats task_delayacct; do
            for value in 1 0; do
                echo $value >/proc/sys/kernel/$key
                calls 5
            done
        done
        # Static calls.
        for mode in full none voluntary; do
            echo $mode >/sys/kernel/debug/sched/preempt || problem "preempt $mode"
            calls 5
        done
    done
    # The kernel's own test, of every kind of key and branch.
    debian /sbin/modprobe test_static_key_base || problem "test_static_key_base"
    debian /sbin/modprobe test_static_keys || problem "test_static_keys"
    debian /sbin/rmmod test_static_keys test_static_key_base || problem "rmmod"
}

# Generated code of another kind: BPF programs compiled by the kernel's JIT.
step_bpf() {
    echo 1 >/proc/sys/net/core/bpf_jit_enable
    debian /sbin/modprobe test_bpf $bpf || problem "test_bpf"
    dmesg | sed -n 's/.*test_bpf: \(Summary: .*\)/bpf: \1/p; s/.*test_bpf: \(.*FAIL.*[1-9] times.*\)/problem: bpf \1/p'
    dmesg | grep 'test_bpf: test_bpf.*Summary\|test_bpf: #.*FAIL' | sed 's/^/problem-line: /' | grep -v ' 0 FAILED' | head -n 20
    debian /sbin/rmmod test_bpf
}

for round in $(seq "$rounds"); do
    for step in $steps; do
        begin=$(hundredths)
        step_$step
        echo "step: $step-$round hundredths=$(($(hundredths) - begin))"
    done
done
touch /tmp/stop
sleep 3 # for the workers
[ "$(get current_tracer)" = nop ] || problem "the tracer is still on"
kernel_log
