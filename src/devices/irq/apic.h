/* Local APIC and x2APIC. One a vCPU, created by the board with the vCPU.
 * Specification: Intel SDM 3, chapter 11 (December 2023).
 *
 * Runs without the machine lock: interrupt requests are atomic bits, the rest belongs to the vCPU's own thread or
 * to apic->lock where another thread may come (ICR delivery, INIT, level changes from the I/O APIC). */

#ifndef QUERN_DEVICES_IRQ_APIC_H
#define QUERN_DEVICES_IRQ_APIC_H

#include "base/log.h"
#include "devices/irq.h"
#include "loop/clock.h"
#include "memory/memory.h"

typedef struct Apic    Apic;
typedef struct ApicBus ApicBus; /* all local APICs of a machine, and the I/O APICs' and MSIs' way to them */

typedef enum ApicSignal {
    APIC_SIGNAL_INTR, /* there may be a vector to take, or an ExtINT */
    APIC_SIGNAL_NMI,
    APIC_SIGNAL_SMI,
    APIC_SIGNAL_INIT,
    APIC_SIGNAL_SIPI, /* with the vector */
} ApicSignal;

/* How an APIC reaches its CPU. Called from any thread. */
typedef struct ApicHost {
    void (*signal)(void *opaque, ApicSignal what, uint8_t vector);
    uint64_t (*read_tsc)(void *opaque);               /* guest TSC now */
    int64_t (*tsc_to_ns)(void *opaque, uint64_t tsc); /* virtual-clock time of a guest TSC value */
    void *opaque;
} ApicHost;

/* The timer counts at this rate with a divider of 1: what CPUID leaf 15h (ECX) and 40000010h (EBX) must say. */
enum { APIC_TIMER_HZ = 1000000000 };

ApicBus *apic_bus_new(Clocks *clocks, Log *log);
void     apic_bus_free(ApicBus *bus);

/* `bsp` for the boot processor. The APIC's region is 4 KiB; the vCPU's own view maps it at APIC_BASE's address. */
Apic    *apic_new(ApicBus *bus, Memory *memory, uint32_t apic_id, bool bsp, const ApicHost *host);
void     apic_free(Apic *apic);
Region  *apic_region(Apic *apic);
void     apic_reset(Apic *apic, bool init_only); /* power-on, or what INIT changes (APIC ID and APIC_BASE stay) */
uint32_t apic_id(const Apic *apic);

/* Saved state: everything but what the host callbacks bring back (LINT levels come from their devices). */
void apic_save(Apic *apic, GByteArray *out);
bool apic_load(Apic *apic, const uint8_t *data, size_t len, Error *err);

/* IA32_APIC_BASE. Whether the CPU has x2APIC at all is the CPU's to check. The setter returns false for reserved bits
 * and illegal mode changes (the CPU raises #GP) and calls `moved` when the base or the enable bit changed, so that the
 * vCPU's view follows. */
uint64_t apic_get_base(const Apic *apic);
bool     apic_set_base(Apic *apic, uint64_t value, unsigned phys_bits);
void     apic_on_base_change(Apic *apic, void (*moved)(void *opaque), void *opaque);

/* x2APIC MSRs 800h to 83Fh; false: no such register in this mode, or reserved bits set. vCPU thread. */
bool apic_read_msr(Apic *apic, uint32_t index, uint64_t *value);
bool apic_write_msr(Apic *apic, uint32_t index, uint64_t value);

/* IA32_TSC_DEADLINE. apic_tsc_changed: the guest wrote its TSC, an armed deadline is computed anew. */
uint64_t apic_get_tsc_deadline(const Apic *apic);
void     apic_set_tsc_deadline(Apic *apic, uint64_t value);
void     apic_tsc_changed(Apic *apic);

/* Registers in either mode, for who has MSRs of his own for them: EOI, ICR with the destination in its upper half as
 * the mode has it, and TPR. */
bool    apic_set_eoi(Apic *apic);
bool    apic_get_icr(Apic *apic, uint64_t *value);
bool    apic_set_icr(Apic *apic, uint64_t value);
uint8_t apic_get_task_priority(const Apic *apic);
bool    apic_set_task_priority(Apic *apic, uint8_t tpr);

/* CR8. */
uint8_t apic_get_tpr(const Apic *apic); /* 0..15 */
void    apic_set_tpr(Apic *apic, uint8_t cr8);

/* The same, and what of apic_write_msr() needs nobody else (false: nothing was done), without signal and without a
 * call: for code that may not call. The caller looks at apic_has_vector() itself. vCPU thread. */
void apic_set_tpr_quietly(Apic *apic, uint8_t cr8);
bool apic_write_msr_quickly(Apic *apic, uint32_t index, uint64_t value);

/* The vCPU is ready for an interrupt: moves the highest vector above PPR from IRR to ISR and returns it.
 * -1: none. APIC_EXTINT: LINT0 is in ExtINT mode (or the APIC is off) and its line is high: ask the 8259. */
enum { APIC_EXTINT = -2 };
int  apic_take_vector(Apic *apic);
bool apic_has_vector(const Apic *apic); /* would apic_take_vector return other than -1? Any thread */

/* ---- A local APIC that runs elsewhere: in the host's kernel ---- */

/* Then this one only keeps the registers while the machine stands: its timer does not run, and a rising LINT1 is an
 * APIC_SIGNAL_NMI whose LVT entry the receiver looks at. */
void apic_set_external(Apic *apic, bool external);

/* The registers as the page of xAPIC mode shows them (SDM 3, table 11-1): 32 bits every 16 bytes, little-endian; the ID
 * of an x2APIC in all 32 bits. The current count says how far the timer is. The vCPU stands, or it is its thread. */
enum { APIC_PAGE_SIZE = 1024, APIC_PAGE_LVT_LINT1 = 0x360, APIC_PAGE_CURRENT_COUNT = 0x390 };
void apic_get_page(Apic *apic, uint8_t page[APIC_PAGE_SIZE]);
void apic_set_page(Apic *apic, const uint8_t page[APIC_PAGE_SIZE], uint64_t base, uint64_t tsc_deadline);

bool apic_get_lint(const Apic *apic, int lint);

/* Line inputs. LINT0 is the 8259's output on the boot processor. */
void apic_set_lint(Apic *apic, int lint, int level);

/* An interrupt message, as an MSI write or an I/O APIC sends it. `trigger_level` 1 for level. Any thread. */
typedef struct ApicMessage {
    uint32_t destination; /* 8 bits, or 32 with the extended destination of x2APIC */
    bool     logical;
    uint8_t  delivery; /* SDM delivery mode: 0 fixed, 1 lowest, 2 SMI, 4 NMI, 5 INIT, 6 SIPI, 7 ExtINT */
    uint8_t  vector;
    bool     level;
} ApicMessage;
void apic_bus_send(ApicBus *bus, const ApicMessage *message);
/* Would a fixed or lowest-priority message fall into one that a processor has not taken yet? If so, `taken` (NULL:
 * nobody) is called without lock when that one is at its end, unless somebody else asks of the same vector first. Any
 * thread. */
bool apic_bus_waits(ApicBus *bus, const ApicMessage *message, const IrqTaken *taken);
void apic_bus_send_msi(ApicBus *bus, uint64_t address, uint32_t data);

/* From now on all messages go there, as MSIs: destinations above 255 have their upper 24 bits in the address's upper
 * half. Before vCPUs run; NULL: to the local APICs again. Any thread calls it. */
void apic_bus_set_sink(ApicBus *bus, void (*send)(void *opaque, uint64_t address, uint32_t data), void *opaque);

/* The I/O APIC hears of EOIs of level interrupts. */
void apic_bus_on_eoi(ApicBus *bus, void (*eoi)(void *opaque, uint8_t vector), void *opaque);
void apic_bus_eoi(ApicBus *bus, uint8_t vector); /* such an EOI. Any thread */

#endif
