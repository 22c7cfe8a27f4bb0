/* The accelerator "qtest": no guest code runs; a test drives the devices (debug/qtest.h) and moves the virtual clock.
 */

#include "accel/accel.h"

#include "cpu/x86/system.h"

static bool qtest_init(Accel *accel, Error *err)
{
    clock_use_manual(accel->clocks);
    return true;
}

static bool qtest_vcpu_init(Accel *accel, X86Cpu *cpu, Error *err)
{
    x86_tsc_use_clock(cpu);
    return true;
}

ACCEL_TYPE(qtest) = {
    .name      = "qtest",
    .parent    = "accel",
    .help      = "no guest code runs; a test drives the devices",
    .class     = OBJECT_CLASS_ACCEL,
    .size      = sizeof(Accel),
    .init      = qtest_init,
    .vcpu_init = qtest_vcpu_init,
};
