/* PCI set-up for direct boot, as firmware does it: through configuration cycles only.
 * Specification: PCI Local Bus Specification 3.0, 6.2.5; PCI-to-PCI Bridge Architecture 1.2, chapter 3.
 *
 * First pass, depth first: number the buses, size all BARs, and sum up for each bridge what its windows must hold.
 * Second pass: hand out addresses, largest first, which packs powers of two without holes. */

#include "machine/pcisetup.h"

#include "base/checked.h"

#include <string.h>

enum { MAX_DEPTH = 16, BRIDGE_MEM_UNIT = 1 << 20, BRIDGE_IO_UNIT = 1 << 12, BRIDGE_BARS = 2, DEVICE_BARS = 6 };
enum { PREF_64 = 1 }; /* low bits of the prefetch registers: 64 bits wide */

typedef enum Kind { KIND_IO, KIND_MEM, KIND_PREF, N_KINDS } Kind;

typedef struct BusPlan BusPlan;

/* Something that wants addresses: a BAR, or a window of a bridge. */
typedef struct Want {
    Kind     kind;
    uint64_t size, align;
    bool     is64;
    uint8_t  bus, devfn;
    uint8_t  reg;    /* of the BAR */
    BusPlan *bridge; /* a window: what lies behind */
} Want;

struct BusPlan {
    GArray    *wants;
    BusPlan   *parent;
    uint8_t    number;
    GPtrArray *children; /* BusPlan *, owned */
};

typedef struct Setup {
    PciBus         *root;
    const PcWiring *wiring;
    unsigned        last_bus;
    const Log      *log;
} Setup;

static uint32_t get(Setup *s, uint8_t bus, uint8_t devfn, unsigned reg, unsigned size)
{
    return pci_bus_config_read(s->root, bus, devfn, reg, size);
}

static void set(Setup *s, uint8_t bus, uint8_t devfn, unsigned reg, unsigned size, uint32_t value)
{
    pci_bus_config_write(s->root, bus, devfn, reg, value, size);
}

static BusPlan *plan_new(BusPlan *parent, uint8_t number)
{
    BusPlan *plan  = g_new0(BusPlan, 1);
    plan->wants    = g_array_new(FALSE, FALSE, sizeof(Want));
    plan->children = g_ptr_array_new();
    plan->parent   = parent;
    plan->number   = number;
    if (parent) {
        g_ptr_array_add(parent->children, plan);
    }
    return plan;
}

static void plan_free(BusPlan *plan)
{
    for (guint i = 0; i < plan->children->len; i++) {
        plan_free(plan->children->pdata[i]);
    }
    g_ptr_array_unref(plan->children);
    g_array_unref(plan->wants);
    g_free(plan);
}

/* ---- First pass ---- */

/* Sizes one BAR and returns how many registers it takes. */
static unsigned size_bar(Setup *s, BusPlan *plan, uint8_t devfn, unsigned reg)
{
    uint8_t bus = plan->number;

    set(s, bus, devfn, reg, 4, 0xffffffff);
    uint32_t mask = get(s, bus, devfn, reg, 4);
    set(s, bus, devfn, reg, 4, 0);
    if (mask == 0) {
        return 1;
    }
    Want want = { .bus = bus, .devfn = devfn, .reg = (uint8_t)reg };
    if (mask & PCI_BAR_SPACE_IO) {
        uint32_t bits = (mask & ~3u) | 0xffff0000; /* a device may leave the upper half out */
        want.kind     = KIND_IO;
        want.size     = (uint64_t)(uint32_t)~bits + 1;
    } else {
        uint64_t bits = (mask & ~15u) | 0xffffffff00000000;
        want.is64     = (mask & 6) == PCI_BAR_TYPE_64;
        want.kind     = mask & PCI_BAR_PREFETCH ? KIND_PREF : KIND_MEM;
        if (want.is64) {
            set(s, bus, devfn, reg + 4, 4, 0xffffffff);
            bits = (mask & ~15u) | (uint64_t)get(s, bus, devfn, reg + 4, 4) << 32;
            set(s, bus, devfn, reg + 4, 4, 0);
        }
        want.size = ~bits + 1;
    }
    want.align = want.size;
    if (is_power_of_two(want.size)) {
        g_array_append_val(plan->wants, want);
    }
    return want.is64 ? 2 : 1;
}

static void size_rom(Setup *s, BusPlan *plan, uint8_t devfn, unsigned reg)
{
    set(s, plan->number, devfn, reg, 4, (uint32_t)PCI_ROM_ADDRESS_MASK);
    uint32_t mask = get(s, plan->number, devfn, reg, 4) & (uint32_t)PCI_ROM_ADDRESS_MASK;
    set(s, plan->number, devfn, reg, 4, 0);
    if (mask) {
        uint32_t size = ~mask + 1;
        Want     want = {
                .kind = KIND_MEM, .size = size, .align = size, .bus = plan->number, .devfn = devfn, .reg = (uint8_t)reg
        };
        g_array_append_val(plan->wants, want);
    }
}

static gint by_alignment(gconstpointer a, gconstpointer b)
{
    const Want *x = a, *y = b;
    return x->align < y->align ? 1 : x->align > y->align ? -1 : 0;
}

/* What the window of a bridge for this kind must hold. */
static void add_window(Setup *s, BusPlan *plan, BusPlan *behind, uint8_t devfn, Kind kind)
{
    Want     window = { .kind = kind, .bus = plan->number, .devfn = devfn, .bridge = behind };
    uint64_t unit   = kind == KIND_IO ? BRIDGE_IO_UNIT : BRIDGE_MEM_UNIT;

    window.align = unit;
    window.is64  = kind == KIND_PREF && (get(s, plan->number, devfn, PCI_PREFETCH_BASE, 2) & PREF_64);
    for (guint i = 0; i < behind->wants->len; i++) {
        const Want *w = &g_array_index(behind->wants, Want, i);
        if (w->kind != kind) {
            continue;
        }
        window.size  = align_up(window.size, w->align) + w->size;
        window.align = MAX(window.align, w->align);
        window.is64  = window.is64 && w->is64;
    }
    if (window.size) {
        window.size = align_up(window.size, unit);
        g_array_append_val(plan->wants, window);
    }
}

static void set_interrupt(Setup *s, BusPlan *plan, uint8_t devfn, unsigned swizzle)
{
    unsigned pin = get(s, plan->number, devfn, PCI_INTERRUPT_PIN, 1);
    if (pin == 0 || pin > 4) {
        return;
    }
    /* `swizzle` holds what the bridges above add, the slot of the outermost one in front. */
    unsigned slot = swizzle ? swizzle >> 8 : PCI_SLOT(devfn);
    unsigned line = s->wiring->pirq(slot, (pin - 1 + (swizzle ? (swizzle & 0xff) + PCI_SLOT(devfn) : 0)) & 3);
    bool     sci  = !swizzle && s->wiring->sci_devfn && devfn == s->wiring->sci_devfn;
    set(s, plan->number, devfn, PCI_INTERRUPT_LINE, 1, sci ? PC_SCI_IRQ : s->wiring->irqs[line]);
}

static void scan_bus(Setup *s, BusPlan *plan, unsigned swizzle, unsigned depth);

static void scan_bridge(Setup *s, BusPlan *plan, uint8_t devfn, unsigned swizzle, unsigned depth)
{
    if (depth == MAX_DEPTH || s->last_bus == 255) {
        return;
    }
    BusPlan *behind = plan_new(plan, (uint8_t)++s->last_bus);
    set(s, plan->number, devfn, PCI_PRIMARY_BUS, 1, plan->number);
    set(s, plan->number, devfn, PCI_SECONDARY_BUS, 1, behind->number);
    set(s, plan->number, devfn, PCI_SUBORDINATE_BUS, 1, 255);
    unsigned slot = swizzle ? swizzle >> 8 : PCI_SLOT(devfn);
    unsigned add  = swizzle ? (swizzle & 0xff) + PCI_SLOT(devfn) : 0;
    scan_bus(s, behind, 0x10000 | slot << 8 | (add & 3), depth + 1);
    set(s, plan->number, devfn, PCI_SUBORDINATE_BUS, 1, s->last_bus);
    g_array_sort(behind->wants, by_alignment);
    for (Kind kind = 0; kind < N_KINDS; kind++) {
        add_window(s, plan, behind, devfn, kind);
    }
}

static void scan_function(Setup *s, BusPlan *plan, uint8_t devfn, unsigned swizzle, unsigned depth)
{
    uint8_t type   = (uint8_t)get(s, plan->number, devfn, PCI_HEADER_TYPE, 1) & 0x7f;
    bool    bridge = type == PCI_HEADER_TYPE_BRIDGE;

    if (type > PCI_HEADER_TYPE_BRIDGE) {
        return;
    }
    for (unsigned i = 0; i < (bridge ? BRIDGE_BARS : DEVICE_BARS);) {
        i += size_bar(s, plan, devfn, PCI_BAR0 + 4 * i);
    }
    size_rom(s, plan, devfn, bridge ? PCI_BRIDGE_ROM_ADDRESS : PCI_ROM_ADDRESS);
    set_interrupt(s, plan, devfn, swizzle);
    if (bridge) {
        scan_bridge(s, plan, devfn, swizzle, depth);
    }
}

static void scan_bus(Setup *s, BusPlan *plan, unsigned swizzle, unsigned depth)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        bool many = false;
        for (unsigned fn = 0; fn < 8; fn++) {
            uint8_t devfn = PCI_DEVFN(slot, fn);
            if (get(s, plan->number, devfn, PCI_VENDOR_ID, 2) == 0xffff) {
                if (fn == 0) {
                    break;
                }
                continue;
            }
            if (fn == 0) {
                many = get(s, plan->number, devfn, PCI_HEADER_TYPE, 1) & PCI_HEADER_MULTIFUNCTION;
            }
            scan_function(s, plan, devfn, swizzle, depth);
            if (!many) {
                break;
            }
        }
    }
}

/* ---- Second pass ---- */

/* Programs one window of a bridge; an empty one has its base above its limit. */
static void set_window(Setup *s, uint8_t bus, uint8_t devfn, Kind kind, uint64_t first, uint64_t last)
{
    bool wide;

    switch (kind) {
    case KIND_IO:
        set(s, bus, devfn, PCI_IO_BASE, 1, (uint32_t)(first >> 8));
        set(s, bus, devfn, PCI_IO_LIMIT, 1, (uint32_t)(last >> 8));
        set(s, bus, devfn, PCI_IO_BASE_UPPER, 2, (uint32_t)(first >> 16));
        set(s, bus, devfn, PCI_IO_LIMIT_UPPER, 2, (uint32_t)(last >> 16));
        break;
    case KIND_MEM:
        set(s, bus, devfn, PCI_MEMORY_BASE, 2, (uint32_t)(first >> 16));
        set(s, bus, devfn, PCI_MEMORY_LIMIT, 2, (uint32_t)(last >> 16));
        break;
    default:
        wide = get(s, bus, devfn, PCI_PREFETCH_BASE, 2) & PREF_64;
        set(s, bus, devfn, PCI_PREFETCH_BASE, 2, (uint32_t)(first >> 16));
        set(s, bus, devfn, PCI_PREFETCH_LIMIT, 2, (uint32_t)(last >> 16));
        if (wide) {
            set(s, bus, devfn, PCI_PREFETCH_BASE_UPPER, 4, (uint32_t)(first >> 32));
            set(s, bus, devfn, PCI_PREFETCH_LIMIT_UPPER, 4, (uint32_t)(last >> 32));
        }
    }
}

static void close_windows(Setup *s, const BusPlan *plan)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned fn = 0; fn < 8; fn++) {
            uint8_t devfn = PCI_DEVFN(slot, fn);
            if (get(s, plan->number, devfn, PCI_VENDOR_ID, 2) != 0xffff &&
                (get(s, plan->number, devfn, PCI_HEADER_TYPE, 1) & 0x7f) == PCI_HEADER_TYPE_BRIDGE) {
                set_window(s, plan->number, devfn, KIND_IO, 0xf000, 0);
                set_window(s, plan->number, devfn, KIND_MEM, 0xfff00000, 0);
                set_window(s, plan->number, devfn, KIND_PREF, 0xfff00000, 0);
            }
        }
    }
}

static void enable(Setup *s, const Want *w)
{
    uint32_t command = get(s, w->bus, w->devfn, PCI_COMMAND, 2);
    command |= w->kind == KIND_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    command |= w->bridge ? PCI_COMMAND_MASTER : 0;
    set(s, w->bus, w->devfn, PCI_COMMAND, 2, command);
}

static bool is_rom(const Want *w)
{
    return !w->bridge && (w->reg == PCI_ROM_ADDRESS || w->reg == PCI_BRIDGE_ROM_ADDRESS);
}

typedef struct Space {
    uint64_t next, last;
} Space;

/* Takes a piece of the space; false: it is full. */
static bool take(Space *space, const Want *w, uint64_t *addr)
{
    uint64_t at;
    if (!checked_add(space->next, w->align - 1, &at)) {
        return false;
    }
    at = align_down(at, w->align);
    if (at > space->last || w->size - 1 > space->last - at) {
        return false;
    }
    *addr       = at;
    space->next = at + w->size;
    return true;
}

static void assign(Setup *s, BusPlan *plan, Kind kind, Space *space, Space *space64, bool use64);

static void assign_one(Setup *s, const Want *w, uint64_t addr)
{
    if (w->bridge) {
        Space inner = { addr, addr + w->size - 1 };
        set_window(s, w->bus, w->devfn, w->kind, addr, addr + w->size - 1);
        assign(s, w->bridge, w->kind, &inner, NULL, false);
    } else {
        set(s, w->bus, w->devfn, w->reg, 4, (uint32_t)addr);
        if (w->is64) {
            set(s, w->bus, w->devfn, w->reg + 4u, 4, (uint32_t)(addr >> 32));
        }
    }
    if (!is_rom(w)) {
        enable(s, w);
    }
}

static void assign(Setup *s, BusPlan *plan, Kind kind, Space *space, Space *space64, bool use64)
{
    for (guint i = 0; i < plan->wants->len; i++) {
        const Want *w = &g_array_index(plan->wants, Want, i);
        uint64_t    addr;
        if (w->kind != kind) {
            continue;
        }
        if (take(use64 && w->is64 && kind == KIND_PREF && space64 ? space64 : space, w, &addr)) {
            assign_one(s, w, addr);
        } else {
            log_print(s->log, LOG_GUEST_ERRORS, "PCI %02x:%02x.%x: no room for %" G_GUINT64_FORMAT " bytes of %s\n",
                      w->bus, PCI_SLOT(w->devfn), PCI_FUNC(w->devfn), w->size, kind == KIND_IO ? "ports" : "memory");
        }
    }
}

/* Does all memory of the root bus fit below 4 GiB? */
static bool fits(const BusPlan *plan, Space space)
{
    for (Kind kind = KIND_MEM; kind <= KIND_PREF; kind++) {
        for (guint i = 0; i < plan->wants->len; i++) {
            const Want *w = &g_array_index(plan->wants, Want, i);
            uint64_t    addr;
            if (w->kind == kind && !take(&space, w, &addr)) {
                return false;
            }
        }
    }
    return true;
}

static void close_all_windows(Setup *s, BusPlan *plan)
{
    for (guint i = 0; i < plan->children->len; i++) {
        close_all_windows(s, plan->children->pdata[i]);
    }
    if (plan->children->len) {
        close_windows(s, plan);
    }
}

void pci_setup(PciBus *root, const PciWindows *windows, const PcWiring *wiring, const Log *log)
{
    Setup    s     = { .root = root, .wiring = wiring, .log = log };
    BusPlan *plan  = plan_new(NULL, 0);
    Space    io    = { windows->io_first, windows->io_last };
    Space    mem   = { windows->mem_first, windows->mem_last };
    Space    mem64 = { windows->mem64_first, windows->mem64_last };

    scan_bus(&s, plan, 0, 0);
    close_all_windows(&s, plan);
    g_array_sort(plan->wants, by_alignment);
    bool use64 = windows->mem64_last && !fits(plan, mem);
    assign(&s, plan, KIND_IO, &io, NULL, false);
    assign(&s, plan, KIND_MEM, &mem, NULL, false);
    assign(&s, plan, KIND_PREF, &mem, &mem64, use64);
    plan_free(plan);
}
