# What lscpu and numactl make of the machine: tests/boot/test_topology.py.
in_job 'lscpu -p=CPU,CORE,SOCKET,NODE' | grep -v '^#' | sed 's/^/lscpu: /'
in_job 'lscpu' | sed -n 's/^ *\([A-Z].*\): */summary: \1=/p'
in_job 'numactl -H' | sed 's/^/numactl: /'
dmesg | grep -E 'ACPI (BIOS )?(Error|Warning|Bug)|ACPI Exception|Firmware Bug|WARNING:|BUG:|SRAT: .*(rror|nvalid)' | sed 's/^/complaint: /'
