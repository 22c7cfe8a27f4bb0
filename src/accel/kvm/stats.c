/* The kernel's statistics of a VM and of its vCPUs.
 * Specification: Linux, Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD. Machine lock held. */

#include "accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* More than any kernel has: what is read comes from the host, but from a file. */
enum { NAME_MAX_SIZE = 4096, DESCRIPTORS_MAX = 4096, VALUES_MAX = 4096 };

typedef struct Stats {
    int                     fd;
    struct kvm_stats_header header;
    char                   *descriptors; /* header.num_desc of them, each with its name, desc_size apart */
    size_t                  desc_size;
} Stats;

static void stats_close(Stats *s)
{
    g_free(s->descriptors);
    if (s->fd >= 0) {
        close(s->fd);
    }
}

static bool read_at(int fd, void *to, size_t len, uint64_t offset)
{
    return pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

/* Of a VM's or a vCPU's descriptor. To be closed in any case. */
static bool stats_open(Stats *s, int of, Error *err)
{
    *s = (Stats){ .fd = kvm_ioctl(of, KVM_GET_STATS_FD, NULL) };
    if (s->fd < 0) {
        return error_set_errno(err, errno, "KVM does not give its statistics");
    }
    struct kvm_stats_header *h = &s->header;
    if (!read_at(s->fd, h, sizeof *h, 0) || h->name_size > NAME_MAX_SIZE || h->num_desc > DESCRIPTORS_MAX) {
        return error_set(err, "KVM's statistics have a header that cannot be");
    }
    s->desc_size   = sizeof(struct kvm_stats_desc) + h->name_size;
    s->descriptors = g_malloc0(s->desc_size * h->num_desc + 1);
    return read_at(s->fd, s->descriptors, s->desc_size * h->num_desc, h->desc_offset) ||
           error_set_errno(err, errno, "KVM's statistics cannot be read");
}

static const struct kvm_stats_desc *descriptor(const Stats *s, unsigned i)
{
    return (const void *)(s->descriptors + i * s->desc_size);
}

/* One without a terminating zero has the whole field. */
static char *name_of(const Stats *s, unsigned i)
{
    return g_strndup(s->descriptors + i * s->desc_size + sizeof(struct kvm_stats_desc), s->header.name_size);
}

static unsigned type_of(const struct kvm_stats_desc *d)
{
    return (d->flags & KVM_STATS_TYPE_MASK) >> KVM_STATS_TYPE_SHIFT;
}

static unsigned unit_of(const struct kvm_stats_desc *d)
{
    return (d->flags & KVM_STATS_UNIT_MASK) >> KVM_STATS_UNIT_SHIFT;
}

static const char *const types[] = { "cumulative", "instant", "peak", "linear-histogram", "log2-histogram" };
static const char *const units[] = { NULL, "bytes", "seconds", "cycles", "boolean" };

/* Kinds that a newer kernel may have are left out. */
static bool is_known(const struct kvm_stats_desc *d)
{
    return type_of(d) < G_N_ELEMENTS(types) && unit_of(d) < G_N_ELEMENTS(units) && d->size && d->size <= VALUES_MAX;
}

static Json *schema_of(const Stats *s, unsigned i)
{
    const struct kvm_stats_desc *d     = descriptor(s, i);
    unsigned                     base  = (d->flags & KVM_STATS_BASE_MASK) >> KVM_STATS_BASE_SHIFT;
    g_autofree char             *name  = name_of(s, i);
    Json                        *entry = json_new_object();
    json_add(entry, "name", json_new_string(name));
    json_add(entry, "type", json_new_string(types[type_of(d)]));
    if (units[unit_of(d)]) {
        json_add(entry, "unit", json_new_string(units[unit_of(d)]));
    }
    if (d->exponent) {
        json_add(entry, "base", json_new_int(base == KVM_STATS_BASE_POW2 >> KVM_STATS_BASE_SHIFT ? 2 : 10));
    }
    json_add(entry, "exponent", json_new_int(d->exponent));
    if (type_of(d) == KVM_STATS_TYPE_LINEAR_HIST >> KVM_STATS_TYPE_SHIFT) {
        json_add(entry, "bucket-size", json_new_int(d->bucket_size));
    }
    return entry;
}

static Json *value_of(const Stats *s, unsigned i)
{
    const struct kvm_stats_desc *d      = descriptor(s, i);
    g_autofree uint64_t         *values = g_new0(uint64_t, d->size);
    if (!read_at(s->fd, values, d->size * sizeof *values, (uint64_t)s->header.data_offset + d->offset)) {
        return NULL;
    }
    Json *value;
    if (d->size > 1) {
        value = json_new_list();
        for (unsigned k = 0; k < d->size; k++) {
            json_append(value, json_new_int((int64_t)values[k]));
        }
    } else if (unit_of(d) == KVM_STATS_UNIT_BOOLEAN >> KVM_STATS_UNIT_SHIFT) {
        value = json_new_bool(values[0] != 0);
    } else {
        value = json_new_int((int64_t)values[0]);
    }
    g_autofree char *name  = name_of(s, i);
    Json            *entry = json_new_object();
    json_add(entry, "name", json_new_string(name));
    json_add(entry, "value", value);
    return entry;
}

Json *kvm_stats(Accel *accel, X86Cpu *cpu, bool schema, Error *err)
{
    Kvm *kvm = kvm_of(accel);
    if (!kvm_check(kvm, KVM_CAP_BINARY_STATS_FD)) {
        return json_new_list(); /* Linux before 5.14 */
    }
    Stats s;
    Json *list = NULL;
    if (stats_open(&s, cpu ? kvm_vcpu(cpu)->fd : kvm->vm, err)) {
        list = json_new_list();
        for (unsigned i = 0; i < s.header.num_desc; i++) {
            Json *entry = !is_known(descriptor(&s, i)) ? NULL : schema ? schema_of(&s, i) : value_of(&s, i);
            if (entry) {
                json_append(list, entry);
            }
        }
    }
    stats_close(&s);
    return list;
}
