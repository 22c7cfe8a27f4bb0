/* Guest memory as KVM knows it: slots of RAM and ROM, made of the flat map; everything else makes KVM_RUN return. And
 * which pages the guest has written: the kernel's bitmaps, or a ring for each vCPU.
 *
 * The map changes under the machine lock. A slot cannot change, so that it goes and comes back; meanwhile no vCPU may
 * run (they would find a hole where their code is): they are held in an exclusive section. `mutex` guards the slots
 * and rings against threads that only ask what was written; it is taken last. */

#include "accel/kvm/kvm.h"

#include "base/checked.h"
#include "memory/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    /* RAM is cut here, so that what lies above stays when the chipset moves ROMs and shadow RAM about below. */
    CUT = 1 << 20,
    /* One slot's limit in the kernel, rounded down: KVM_MEM_MAX_NR_PAGES. */
    MAX_SLOT_PAGES = 1 << 30,
};

typedef struct Slot {
    uint64_t  addr, size;
    RamBlock *ram; /* referenced while the kernel has the slot */
    uint64_t  ram_offset;
    bool      readonly, logged;
    uint32_t  id;
} Slot;

struct KvmMemory {
    Kvm           *kvm;
    AddressSpace  *as;
    MemoryListener listener;
    GMutex         mutex;
    GArray        *slots;  /* Slot, by address */
    GArray        *logged; /* RamBlock *: writes are tracked */
    unsigned       max_slots;
    bool           has_readonly;
};

/* --- what there should be --- */

static bool is_logged(const KvmMemory *m, const RamBlock *ram)
{
    for (guint i = 0; i < m->logged->len; i++) {
        if (g_array_index(m->logged, RamBlock *, i) == ram) {
            return true;
        }
    }
    return false;
}

/* Adds whole pages of one stretch. */
static void add_stretch(const KvmMemory *m, GArray *slots, uint64_t addr, uint64_t last, const MemTarget *t)
{
    uint64_t first = align_up(addr, RAM_PAGE_SIZE), end = align_down(last + 1, RAM_PAGE_SIZE);
    if (last == UINT64_MAX || end <= first || (!t->writable && !m->has_readonly) ||
        (t->ram_offset - addr) % RAM_PAGE_SIZE) {
        return;
    }
    Slot slot = { .addr       = first,
                  .size       = end - first,
                  .ram        = t->ram,
                  .ram_offset = t->ram_offset + (first - addr),
                  .readonly   = !t->writable,
                  .logged     = t->writable && is_logged(m, t->ram) };
    while (slot.size) {
        Slot part = slot;
        if (part.addr < CUT && part.addr + part.size > CUT) {
            part.size = CUT - part.addr;
        }
        part.size = MIN(part.size, (uint64_t)MAX_SLOT_PAGES * RAM_PAGE_SIZE);
        g_array_append_val(slots, part);
        slot.addr += part.size;
        slot.ram_offset += part.size;
        slot.size -= part.size;
    }
}

static GArray *wanted_slots(const KvmMemory *m)
{
    GArray  *slots = g_array_new(false, true, sizeof(Slot));
    uint64_t addr  = 0;
    for (;;) {
        MemTarget t    = address_space_lookup(m->as, addr);
        uint64_t  last = t.len == UINT64_MAX ? UINT64_MAX : addr + (t.len - 1);
        if (t.host) {
            add_stretch(m, slots, addr, last, &t);
        }
        if (last == UINT64_MAX || last < addr) {
            return slots;
        }
        addr = last + 1;
    }
}

/* --- the kernel's --- */

static bool set_slot(const KvmMemory *m, const Slot *slot, bool exists)
{
    struct kvm_userspace_memory_region region = {
        .slot            = slot->id,
        .guest_phys_addr = slot->addr,
        .memory_size     = exists ? slot->size : 0,
        .userspace_addr  = (uintptr_t)(slot->ram->host + slot->ram_offset),
        .flags           = (slot->readonly ? KVM_MEM_READONLY : 0) | (slot->logged ? KVM_MEM_LOG_DIRTY_PAGES : 0),
    };
    return kvm_ioctl(m->kvm->vm, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static bool same_place(const Slot *a, const Slot *b)
{
    return a->addr == b->addr && a->size == b->size && a->ram == b->ram && a->ram_offset == b->ram_offset &&
           a->readonly == b->readonly;
}

static Slot *find_same(GArray *slots, const Slot *wanted)
{
    for (guint i = 0; i < slots->len; i++) {
        Slot *slot = &g_array_index(slots, Slot, i);
        if (same_place(slot, wanted)) {
            return slot;
        }
    }
    return NULL;
}

static uint32_t free_id(const KvmMemory *m, const GArray *slots)
{
    for (uint32_t id = 0;; id++) {
        bool used = false;
        for (guint i = 0; i < slots->len && !used; i++) {
            used = g_array_index(slots, Slot, i).id == id;
        }
        if (!used) {
            return id;
        }
    }
}

static void collect_bitmap(KvmMemory *m, const Slot *slot);

/* Takes away what is not wanted any more. true: something was. */
static void drop_unwanted(KvmMemory *m, GArray *wanted)
{
    for (guint i = m->slots->len; i-- > 0;) {
        Slot *slot = &g_array_index(m->slots, Slot, i);
        if (find_same(wanted, slot)) {
            continue;
        }
        if (slot->logged) {
            collect_bitmap(m, slot);
        }
        if (!set_slot(m, slot, false)) {
            kvm_note_failure(m->kvm, "KVM does not give a memory slot back");
        }
        ram_block_unref(slot->ram);
        g_array_remove_index(m->slots, i);
    }
}

static void add_wanted(KvmMemory *m, GArray *wanted)
{
    for (guint i = 0; i < wanted->len; i++) {
        Slot *want = &g_array_index(wanted, Slot, i);
        Slot *have = find_same(m->slots, want);
        if (have && have->logged == want->logged) {
            continue;
        }
        want->id = have ? have->id : free_id(m, m->slots);
        if (have && have->logged) {
            collect_bitmap(m, have);
        }
        if (want->id >= m->max_slots || !set_slot(m, want, true)) {
            kvm_note_failure(m->kvm, "KVM does not take the map of guest memory");
            continue;
        }
        if (have) {
            have->logged = want->logged;
        } else {
            ram_block_ref(want->ram);
            g_array_append_val(m->slots, *want);
        }
    }
}

static bool loses_slots(const KvmMemory *m, GArray *wanted)
{
    for (guint i = 0; i < m->slots->len; i++) {
        if (!find_same(wanted, &g_array_index(m->slots, Slot, i))) {
            return true;
        }
    }
    return false;
}

static void update(KvmMemory *m)
{
    GArray *wanted = wanted_slots(m);
    bool    hold   = m->kvm->running && loses_slots(m, wanted);
    if (hold) {
        vcpu_exclusive_begin(m->kvm->accel.group, NULL);
    }
    g_mutex_lock(&m->mutex);
    drop_unwanted(m, wanted);
    add_wanted(m, wanted);
    g_mutex_unlock(&m->mutex);
    if (hold) {
        vcpu_exclusive_end(m->kvm->accel.group, NULL);
    }
    g_array_unref(wanted);
}

static void map_changed(MemoryListener *self, AddressSpace *as)
{
    update(self->opaque);
}

/* --- dirty pages --- */

static void mark_dirty(RamBlock *ram, uint64_t page)
{
    uint32_t clients = atomic_load_explicit(&ram->dirty_clients, memory_order_relaxed);
    atomic_fetch_or_explicit(&ram->pages[page].dirty, clients, memory_order_relaxed);
}

/* With the mutex held. */
static void collect_bitmap(KvmMemory *m, const Slot *slot)
{
    uint64_t pages = slot->size / RAM_PAGE_SIZE, first = slot->ram_offset / RAM_PAGE_SIZE;
    if (m->kvm->dirty_ring_size) {
        return; /* what was written is in the rings */
    }
    uint64_t            *bits = g_new0(uint64_t, (pages + 63) / 64);
    struct kvm_dirty_log log  = { .slot = slot->id, .dirty_bitmap = bits };
    if (kvm_ioctl(m->kvm->vm, KVM_GET_DIRTY_LOG, &log) < 0) {
        kvm_note_failure(m->kvm, "KVM does not say which pages were written");
        pages = 0;
    }
    for (uint64_t i = 0; i < (pages + 63) / 64; i++) {
        for (uint64_t word = bits[i]; word; word &= word - 1) {
            mark_dirty(slot->ram, first + 64 * i + (unsigned)__builtin_ctzll(word));
        }
    }
    g_free(bits);
}

/* With the mutex held. */
static const Slot *slot_by_id(const KvmMemory *m, uint32_t id)
{
    for (guint i = 0; i < m->slots->len; i++) {
        const Slot *slot = &g_array_index(m->slots, Slot, i);
        if (slot->id == id) {
            return slot;
        }
    }
    return NULL;
}

/* With the mutex held: takes what is in one ring, and gives its entries back. */
static bool collect_ring(KvmMemory *m, KvmVcpu *k)
{
    bool any = false;
    for (uint32_t n = 0; k->ring && n < m->kvm->dirty_ring_size; n++) {
        struct kvm_dirty_gfn *entry = &k->ring[k->ring_next % m->kvm->dirty_ring_size];
        if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY)) {
            break;
        }
        const Slot *slot = slot_by_id(m, entry->slot & 0xffff);
        if (slot && entry->offset < slot->size / RAM_PAGE_SIZE) {
            mark_dirty(slot->ram, slot->ram_offset / RAM_PAGE_SIZE + entry->offset);
        }
        __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        k->ring_next++;
        any = true;
    }
    return any;
}

void kvm_dirty_ring_collect(KvmMemory *m)
{
    VcpuGroup *group = m->kvm->accel.group;
    bool       any   = false;
    g_mutex_lock(&m->mutex);
    for (unsigned i = 0; i < vcpu_group_size(group); i++) {
        KvmVcpu *k = kvm_vcpu(x86_cpu(vcpu_group_get(group, i)));
        any |= k && collect_ring(m, k);
    }
    if (any && kvm_ioctl(m->kvm->vm, KVM_RESET_DIRTY_RINGS, NULL) < 0) {
        kvm_note_failure(m->kvm, "KVM does not take its dirty rings back");
    }
    g_mutex_unlock(&m->mutex);
}

bool kvm_dirty_log(Accel *accel, RamBlock *ram, bool on, Error *err)
{
    KvmMemory *m = kvm_of(accel)->memory;
    if (on == is_logged(m, ram)) {
        return true;
    }
    if (on) {
        g_array_append_val(m->logged, ram);
    } else {
        kvm_dirty_sync(accel, ram);
        for (guint i = m->logged->len; i-- > 0;) {
            if (g_array_index(m->logged, RamBlock *, i) == ram) {
                g_array_remove_index_fast(m->logged, i);
            }
        }
    }
    if (m->as) {
        update(m);
    }
    return true;
}

void kvm_dirty_sync(Accel *accel, RamBlock *ram)
{
    Kvm       *kvm = kvm_of(accel);
    KvmMemory *m   = kvm->memory;
    if (kvm->dirty_ring_size) {
        /* What the hardware has noted is in the ring once the vCPU is out of the guest. */
        if (kvm->running) {
            vcpu_exclusive_begin(accel->group, NULL);
        }
        kvm_dirty_ring_collect(m);
        if (kvm->running) {
            vcpu_exclusive_end(accel->group, NULL);
        }
        return;
    }
    g_mutex_lock(&m->mutex);
    for (guint i = 0; i < m->slots->len; i++) {
        const Slot *slot = &g_array_index(m->slots, Slot, i);
        if (slot->ram == ram && slot->logged) {
            collect_bitmap(m, slot);
        }
    }
    g_mutex_unlock(&m->mutex);
}

/* --- life --- */

KvmMemory *kvm_memory_new(Kvm *kvm)
{
    KvmMemory *m    = g_new0(KvmMemory, 1);
    int        max  = kvm_check(kvm, KVM_CAP_NR_MEMSLOTS);
    m->kvm          = kvm;
    m->slots        = g_array_new(false, true, sizeof(Slot));
    m->logged       = g_array_new(false, true, sizeof(RamBlock *));
    m->max_slots    = max > 0 ? (unsigned)max : 32;
    m->has_readonly = kvm_check(kvm, KVM_CAP_READONLY_MEM);
    m->listener     = (MemoryListener){ .changed = map_changed, .opaque = m };
    g_mutex_init(&m->mutex);
    return m;
}

void kvm_memory_attach(KvmMemory *m, AddressSpace *as)
{
    m->as = as;
    address_space_add_listener(as, &m->listener);
    update(m);
}

void kvm_memory_detach(KvmMemory *m)
{
    if (!m->as) {
        return;
    }
    address_space_remove_listener(m->as, &m->listener);
    m->as = NULL;
    for (guint i = 0; i < m->slots->len; i++) {
        Slot *slot = &g_array_index(m->slots, Slot, i);
        set_slot(m, slot, false);
        ram_block_unref(slot->ram);
    }
    g_array_set_size(m->slots, 0);
}

void kvm_memory_free(KvmMemory *m)
{
    if (m) {
        kvm_memory_detach(m);
        g_array_unref(m->slots);
        g_array_unref(m->logged);
        g_mutex_clear(&m->mutex);
        g_free(m);
    }
}
