/* Interrupt controllers in the kernel: which there are, how devices reach them, and carrying their state over.
 *
 *     kernel-irqchip=   8259, I/O APIC   local APIC   messages        ExtINT
 *     on                kernel           kernel       KVM_SIGNAL_MSI  kernel
 *     split             ours             kernel       KVM_SIGNAL_MSI  KVM_INTERRUPT, vcpu.c
 *     off               ours             ours         apic_bus.c      KVM_INTERRUPT, vcpu.c
 *
 * The 8254 is ours in all of them: it follows the virtual clock, and guests use it for a few milliseconds of their
 * lives. Controllers in the kernel hear of their pins and of messages at any time, also while the machine stands; their
 * state is put back only when somebody changed it meanwhile (a reset, loaded state), so that nothing gets lost.
 *
 * Machine lock held, but for messages and EOIs. */

#include "accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>

struct KvmIrqchips {
    ApicBus *apics;
    I8259   *pic;    /* NULL: none */
    IoApic  *ioapic; /* NULL: none */

    /* What the models made of the kernel's state when it was fetched. */
    I8259Chip   seen_chips[2];
    IoApicState seen_ioapic;
    bool        seen;
};

/* --- creating --- */

bool kvm_irqchip_create(Kvm *kvm, Error *err)
{
    kvm->chips = g_new0(KvmIrqchips, 1);
    if (kvm->irqchip == KVM_IRQCHIP_ON && kvm_ioctl(kvm->vm, KVM_CREATE_IRQCHIP, NULL) < 0) {
        return error_set_errno(err, errno, "kernel-irqchip=on: KVM makes no interrupt controllers");
    }
    if (kvm->irqchip == KVM_IRQCHIP_SPLIT) {
        struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { IOAPIC_PINS } };
        if (!kvm_check(kvm, KVM_CAP_SPLIT_IRQCHIP) || kvm_ioctl(kvm->vm, KVM_ENABLE_CAP, &cap) < 0) {
            return error_set(err, "kernel-irqchip=split: KVM on this host cannot do that (Linux 4.5 can)");
        }
    }
    if (kvm_local_apic_inside(kvm) && kvm_check(kvm, KVM_CAP_X2APIC_API)) {
        struct kvm_enable_cap cap = {
            .cap = KVM_CAP_X2APIC_API, .args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK }
        };
        if (kvm_ioctl(kvm->vm, KVM_ENABLE_CAP, &cap) < 0) {
            return error_set_errno(err, errno, "KVM does not take 32-bit APIC IDs");
        }
    }
    return true;
}

/* --- pins and messages --- */

static void set_gsi(Kvm *kvm, unsigned gsi, int level)
{
    struct kvm_irq_level irq = { .irq = gsi, .level = level != 0 };
    kvm_ioctl(kvm->vm, KVM_IRQ_LINE, &irq);
}

static void set_ioapic_pin(void *opaque, unsigned pin, int level)
{
    set_gsi(opaque, pin, level);
}

static void set_pic_input(void *opaque, unsigned input, int level)
{
    set_gsi(opaque, KVM_GSI_PIC + input, level);
}

static void send_message(void *opaque, uint64_t address, uint32_t data)
{
    kvm_send_msi(opaque, address, data);
}

/* kernel-irqchip=split: the kernel must know which vectors are level-triggered, so that it tells of their EOIs. */
static void entry_changed(void *opaque, unsigned pin, const ApicMessage *message)
{
    Kvm *kvm          = opaque;
    g_auto(Error) err = {};
    if (message) {
        uint32_t address = 0xfee00000 | (message->destination & 0xff) << 12 | (uint32_t)message->logical << 2;
        uint32_t data    = message->vector | (uint32_t)message->delivery << 8 | (message->level ? 3u << 14 : 0);
        kvm_route_msi(kvm, pin, address, data);
    } else {
        kvm_route_none(kvm, pin);
    }
    if (!kvm_routes_commit(kvm, &err)) {
        error_report(&err);
    }
}

void kvm_irqchip_eoi(Kvm *kvm, uint8_t vector)
{
    apic_bus_eoi(kvm->chips->apics, vector);
}

bool kvm_irqchip_attach(Kvm *kvm, const AccelBoard *board, Error *err)
{
    KvmIrqchips *c = kvm->chips;
    c->apics       = board->apics;
    c->pic         = board->pic;
    c->ioapic      = board->ioapic;
    if (kvm->irqchip == KVM_IRQCHIP_ON && c->ioapic && !c->pic) {
        return error_set(err,
                         "kernel-irqchip=on: KVM has no I/O APIC without the 8259 that pic=off takes away; split does");
    }
    if (!kvm_local_apic_inside(kvm)) {
        return true;
    }
    apic_bus_set_sink(c->apics, send_message, kvm);
    if (kvm->irqchip == KVM_IRQCHIP_SPLIT) {
        if (c->ioapic) {
            ioapic_on_change(c->ioapic, entry_changed, kvm);
        }
        return true;
    }
    for (unsigned pin = 0; c->ioapic && pin < IOAPIC_PINS; pin++) {
        kvm_route_chip(kvm, pin, KVM_IRQCHIP_IOAPIC, pin);
    }
    for (unsigned input = 0; c->pic && input < 16; input++) {
        kvm_route_chip(kvm, KVM_GSI_PIC + input, input < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, input % 8);
    }
    if (c->pic) {
        i8259_set_external(c->pic, set_pic_input, kvm);
    }
    if (c->ioapic) {
        ioapic_set_external(c->ioapic, set_ioapic_pin, kvm);
    }
    return kvm_routes_commit(kvm, err);
}

void kvm_irqchip_detach(Kvm *kvm)
{
    KvmIrqchips *c = kvm->chips;
    if (!c || !c->apics) {
        return;
    }
    apic_bus_set_sink(c->apics, NULL, NULL);
    if (c->pic) {
        i8259_set_external(c->pic, NULL, NULL);
    }
    if (c->ioapic) {
        ioapic_set_external(c->ioapic, NULL, NULL);
        ioapic_on_change(c->ioapic, NULL, NULL);
    }
    *c = (KvmIrqchips){};
}

void kvm_irqchip_free(Kvm *kvm)
{
    g_clear_pointer(&kvm->chips, g_free);
}

/* --- the 8259 pair --- */

static void pic_from_kernel(const struct kvm_pic_state *s, I8259Chip *c)
{
    *c = (I8259Chip){
        .irr          = s->irr,
        .isr          = s->isr,
        .imr          = s->imr,
        .elcr         = s->elcr,
        .icw1         = s->init4 ? 1 : 0,
        .expect       = s->init_state == 1   ? I8259_EXPECT_ICW2
                        : s->init_state == 2 ? I8259_EXPECT_ICW3
                        : s->init_state == 3 ? I8259_EXPECT_ICW4
                                             : I8259_EXPECT_OCW1,
        .base         = s->irq_base & 0xf8,
        .icw4         = (uint8_t)(1 | s->auto_eoi << 1 | s->special_fully_nested_mode << 4),
        .lowest       = (uint8_t)((s->priority_add - 1) & 7),
        .read_isr     = s->read_reg_select,
        .poll         = s->poll,
        .special_mask = s->special_mask,
        .rotate_aeoi  = s->rotate_on_auto_eoi,
    };
}

static void pic_to_kernel(const I8259Chip *c, struct kvm_pic_state *s, bool master)
{
    static const uint8_t init_states[] = {
        [I8259_EXPECT_OCW1] = 0, [I8259_EXPECT_ICW2] = 1, [I8259_EXPECT_ICW3] = 2, [I8259_EXPECT_ICW4] = 3
    };
    *s = (struct kvm_pic_state){
        .last_irr                  = c->lines,
        .irr                       = c->irr,
        .imr                       = c->imr,
        .isr                       = c->isr,
        .priority_add              = (uint8_t)((c->lowest + 1) & 7),
        .irq_base                  = c->base,
        .read_reg_select           = c->read_isr,
        .poll                      = c->poll,
        .special_mask              = c->special_mask,
        .init_state                = init_states[c->expect],
        .auto_eoi                  = c->icw4 >> 1 & 1,
        .rotate_on_auto_eoi        = c->rotate_aeoi,
        .special_fully_nested_mode = c->icw4 >> 4 & 1,
        .init4                     = c->icw1 & 1,
        .elcr                      = c->elcr,
        .elcr_mask                 = master ? 0xf8 : 0xde,
    };
}

static bool pic_get(Kvm *kvm)
{
    for (unsigned n = 0; n < 2; n++) {
        struct kvm_irqchip chip = { .chip_id = n ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER };
        I8259Chip          state;
        if (kvm_ioctl(kvm->vm, KVM_GET_IRQCHIP, &chip) < 0) {
            return false;
        }
        pic_from_kernel(&chip.chip.pic, &state);
        i8259_set_chip(kvm->chips->pic, n, &state);
        kvm->chips->seen_chips[n] = i8259_get_chip(kvm->chips->pic, n);
    }
    return true;
}

/* Levels are kept apart from the state. */
static bool same_chip(const I8259Chip *a, const I8259Chip *b)
{
    I8259Chip x = *a, y = *b;
    x.lines = y.lines = 0;
    return memcmp(&x, &y, sizeof x) == 0;
}

static bool pic_put(Kvm *kvm)
{
    for (unsigned n = 0; n < 2; n++) {
        I8259Chip state = i8259_get_chip(kvm->chips->pic, n);
        if (kvm->chips->seen && same_chip(&state, &kvm->chips->seen_chips[n])) {
            continue;
        }
        struct kvm_irqchip chip = { .chip_id = n ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER };
        pic_to_kernel(&state, &chip.chip.pic, n == 0);
        if (kvm_ioctl(kvm->vm, KVM_SET_IRQCHIP, &chip) < 0) {
            return false;
        }
    }
    return true;
}

/* --- the I/O APIC --- */

static bool ioapic_get(Kvm *kvm)
{
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
    if (kvm_ioctl(kvm->vm, KVM_GET_IRQCHIP, &chip) < 0) {
        return false;
    }
    const struct kvm_ioapic_state *s     = &chip.chip.ioapic;
    IoApicState                    state = { .ioregsel = (uint8_t)s->ioregsel, .apic_id = s->id << 24 };
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        state.rte[pin] = s->redirtbl[pin].bits;
    }
    ioapic_set_state(kvm->chips->ioapic, &state);
    kvm->chips->seen_ioapic = ioapic_get_state(kvm->chips->ioapic);
    return true;
}

static bool ioapic_put(Kvm *kvm)
{
    IoApicState        state = ioapic_get_state(kvm->chips->ioapic), *seen = &kvm->chips->seen_ioapic;
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
    if (kvm->chips->seen && state.ioregsel == seen->ioregsel && state.apic_id == seen->apic_id &&
        memcmp(state.rte, seen->rte, sizeof state.rte) == 0) {
        return true;
    }
    struct kvm_ioapic_state *s = &chip.chip.ioapic;
    s->base_address            = IOAPIC_ADDRESS;
    s->ioregsel                = state.ioregsel;
    s->id                      = state.apic_id >> 24;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        s->redirtbl[pin].bits = state.rte[pin];
        /* The kernel takes what stands here for a new interrupt: right for a level, wrong for an edge that was. */
        if (ioapic_get_lines(kvm->chips->ioapic) >> pin & 1 && state.rte[pin] >> 15 & 1) {
            s->irr |= 1u << pin;
        }
    }
    return kvm_ioctl(kvm->vm, KVM_SET_IRQCHIP, &chip) == 0;
}

/* --- all --- */

bool kvm_irqchip_get(Kvm *kvm)
{
    KvmIrqchips *c = kvm->chips;
    if (kvm->irqchip != KVM_IRQCHIP_ON) {
        return true;
    }
    bool ok = (!c->pic || pic_get(kvm)) && (!c->ioapic || ioapic_get(kvm));
    c->seen = ok;
    return ok;
}

bool kvm_irqchip_put(Kvm *kvm)
{
    KvmIrqchips *c = kvm->chips;
    return kvm->irqchip != KVM_IRQCHIP_ON || ((!c->pic || pic_put(kvm)) && (!c->ioapic || ioapic_put(kvm)));
}
