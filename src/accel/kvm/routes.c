/* What GSIs do, and what raises them without a thread of ours: messages, irqfds, ioeventfds.
 *
 * Any thread; `mutex` guards the table. */

#include "accel/kvm/kvm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct KvmRoutes {
    GMutex  mutex;
    GArray *entries; /* struct kvm_irq_routing_entry, at most one for each GSI */
    bool    changed; /* since the kernel was told */
    int     max;     /* the kernel's number of routes */
};

/* --- the table; with the mutex held --- */

static struct kvm_irq_routing_entry *find(KvmRoutes *r, unsigned gsi)
{
    for (guint i = 0; i < r->entries->len; i++) {
        struct kvm_irq_routing_entry *e = &g_array_index(r->entries, struct kvm_irq_routing_entry, i);
        if (e->gsi == gsi) {
            return e;
        }
    }
    return NULL;
}

static bool same_entry(const struct kvm_irq_routing_entry *a, const struct kvm_irq_routing_entry *b)
{
    if (a->type != b->type) {
        return false;
    }
    return a->type == KVM_IRQ_ROUTING_MSI
               ? a->u.msi.address_lo == b->u.msi.address_lo && a->u.msi.address_hi == b->u.msi.address_hi &&
                     a->u.msi.data == b->u.msi.data
               : a->u.irqchip.irqchip == b->u.irqchip.irqchip && a->u.irqchip.pin == b->u.irqchip.pin;
}

static void set_entry(KvmRoutes *r, const struct kvm_irq_routing_entry *entry)
{
    struct kvm_irq_routing_entry *old = find(r, entry->gsi);
    if (old && same_entry(old, entry)) {
        return;
    }
    if (old) {
        *old = *entry;
    } else {
        g_array_append_val(r->entries, *entry);
    }
    r->changed = true;
}

static void remove_entry(KvmRoutes *r, unsigned gsi)
{
    for (guint i = r->entries->len; i-- > 0;) {
        if (g_array_index(r->entries, struct kvm_irq_routing_entry, i).gsi == gsi) {
            g_array_remove_index_fast(r->entries, i);
            r->changed = true;
        }
    }
}

static bool commit(Kvm *kvm)
{
    KvmRoutes *r = kvm->routes;
    if (!r->changed) {
        return true;
    }
    size_t                             size  = r->entries->len * sizeof(struct kvm_irq_routing_entry);
    g_autofree struct kvm_irq_routing *table = g_malloc0(sizeof *table + size);
    table->nr                                = r->entries->len;
    if (size) {
        memcpy(table->entries, r->entries->data, size);
    }
    r->changed = kvm_ioctl(kvm->vm, KVM_SET_GSI_ROUTING, table) < 0;
    return !r->changed;
}

static struct kvm_irq_routing_entry msi_entry(unsigned gsi, uint64_t address, uint32_t data)
{
    return (struct kvm_irq_routing_entry){
        .gsi   = gsi,
        .type  = KVM_IRQ_ROUTING_MSI,
        .u.msi = { .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data }
    };
}

/* --- routes --- */

KvmRoutes *kvm_routes_new(Kvm *kvm)
{
    KvmRoutes *r = g_new0(KvmRoutes, 1);
    r->entries   = g_array_new(false, true, sizeof(struct kvm_irq_routing_entry));
    r->max       = kvm_check(kvm, KVM_CAP_IRQ_ROUTING);
    g_mutex_init(&r->mutex);
    return r;
}

void kvm_routes_free(KvmRoutes *r)
{
    if (r) {
        g_array_unref(r->entries);
        g_mutex_clear(&r->mutex);
        g_free(r);
    }
}

void kvm_route_chip(Kvm *kvm, unsigned gsi, unsigned chip, unsigned pin)
{
    struct kvm_irq_routing_entry entry = { .gsi       = gsi,
                                           .type      = KVM_IRQ_ROUTING_IRQCHIP,
                                           .u.irqchip = { .irqchip = chip, .pin = pin } };
    g_mutex_lock(&kvm->routes->mutex);
    set_entry(kvm->routes, &entry);
    g_mutex_unlock(&kvm->routes->mutex);
}

void kvm_route_msi(Kvm *kvm, unsigned gsi, uint64_t address, uint32_t data)
{
    struct kvm_irq_routing_entry entry = msi_entry(gsi, address, data);
    g_mutex_lock(&kvm->routes->mutex);
    set_entry(kvm->routes, &entry);
    g_mutex_unlock(&kvm->routes->mutex);
}

void kvm_route_none(Kvm *kvm, unsigned gsi)
{
    g_mutex_lock(&kvm->routes->mutex);
    remove_entry(kvm->routes, gsi);
    g_mutex_unlock(&kvm->routes->mutex);
}

bool kvm_routes_commit(Kvm *kvm, Error *err)
{
    g_mutex_lock(&kvm->routes->mutex);
    bool ok   = commit(kvm);
    int  code = errno;
    g_mutex_unlock(&kvm->routes->mutex);
    return ok || error_set_errno(err, code, "KVM does not take the routes of interrupts");
}

int kvm_msi_gsi_new(Kvm *kvm, uint64_t address, uint32_t data, Error *err)
{
    KvmRoutes *r   = kvm->routes;
    unsigned   gsi = KVM_GSI_MSI;
    if (!kvm_local_apic_inside(kvm)) {
        error_set(err, "interrupts cannot be routed in the kernel with kernel-irqchip=off");
        return -1;
    }
    g_mutex_lock(&r->mutex);
    while (find(r, gsi)) {
        gsi++;
    }
    bool room = (int)gsi < r->max;
    if (room) {
        struct kvm_irq_routing_entry entry = msi_entry(gsi, address, data);
        set_entry(r, &entry);
        room = commit(kvm);
        if (!room) {
            remove_entry(r, gsi);
        }
    }
    g_mutex_unlock(&r->mutex);
    if (!room) {
        error_set(err, "KVM has no room for another route of an interrupt (it has %d)", r->max);
        return -1;
    }
    return (int)gsi;
}

bool kvm_msi_gsi_update(Kvm *kvm, int gsi, uint64_t address, uint32_t data, Error *err)
{
    kvm_route_msi(kvm, (unsigned)gsi, address, data);
    return kvm_routes_commit(kvm, err);
}

void kvm_msi_gsi_free(Kvm *kvm, int gsi)
{
    g_auto(Error) ignored = {};
    kvm_route_none(kvm, (unsigned)gsi);
    kvm_routes_commit(kvm, &ignored);
}

void kvm_send_msi(Kvm *kvm, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = { .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data };
    if (kvm_ioctl(kvm->vm, KVM_SIGNAL_MSI, &msi) < 0) {
        const VcpuGroup *group = kvm->accel.group;
        const Log       *log   = vcpu_group_size(group) ? vcpu_group_get(group, 0)->log : NULL;
        log_print(log, LOG_GUEST_ERRORS, "kvm: a message to 0x%" PRIx64 " (data 0x%x) reaches nobody\n", address, data);
    }
}

/* --- eventfds --- */

bool kvm_irqfd_add(Kvm *kvm, int gsi, int fd, int resample, Error *err)
{
    struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = (uint32_t)gsi };
    if (resample >= 0) {
        irqfd.flags      = KVM_IRQFD_FLAG_RESAMPLE;
        irqfd.resamplefd = (uint32_t)resample;
    }
    return kvm_ioctl(kvm->vm, KVM_IRQFD, &irqfd) == 0 ||
           error_set_errno(err, errno, "KVM does not connect an eventfd with interrupt %d", gsi);
}

void kvm_irqfd_remove(Kvm *kvm, int gsi, int fd)
{
    struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = (uint32_t)gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN };
    kvm_ioctl(kvm->vm, KVM_IRQFD, &irqfd);
}

static int change_ioeventfd(Kvm *kvm, const KvmIoEvent *event, uint32_t flags)
{
    struct kvm_ioeventfd io = {
        .datamatch = event->value,
        .addr      = event->address,
        .len       = event->size,
        .fd        = event->fd,
        .flags = flags | (event->port ? KVM_IOEVENTFD_FLAG_PIO : 0) | (event->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
    };
    return kvm_ioctl(kvm->vm, KVM_IOEVENTFD, &io);
}

bool kvm_ioeventfd_add(Kvm *kvm, const KvmIoEvent *event, Error *err)
{
    return change_ioeventfd(kvm, event, 0) == 0 ||
           error_set_errno(err, errno, "KVM does not connect an eventfd with writes to 0x%" PRIx64, event->address);
}

void kvm_ioeventfd_remove(Kvm *kvm, const KvmIoEvent *event)
{
    change_ioeventfd(kvm, event, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
