/* Interrupt pins and lines of devices, by group, and listening in on them. Machine lock held throughout. */

#include "devices/device.h"
#include "devices/private.h"

#include <string.h>

/* One intercepted pin: hears, then passes on. Stands between an IrqLine and its pin, or in an input pin's place. */
typedef struct PinTap {
    PinHook *hook;
    void    *opaque;
    IrqPin   pin;      /* outputs: where the line leads now */
    IrqPin  *to;       /* outputs: where it led; may be NULL */
    IrqPin   original; /* inputs: what the pin did */
    int      n;
} PinTap;

/* A named group: inputs own their pins, outputs point at the device's lines. */
typedef struct PinGroup {
    char    *name;
    IrqPin  *pins;
    IrqLine *lines;
    unsigned n;
    PinTap  *taps;
} PinGroup;

static PinGroup *find_group(GPtrArray *groups, const char *name)
{
    for (guint i = 0; i < groups->len; i++) {
        PinGroup *group = groups->pdata[i];
        if (!g_strcmp0(group->name, name)) {
            return group;
        }
    }
    return NULL;
}

static PinGroup *add_group(GPtrArray *groups, const char *name, unsigned n)
{
    g_assert(!find_group(groups, name));
    PinGroup *group = g_new0(PinGroup, 1);
    group->name     = g_strdup(name);
    group->n        = n;
    g_ptr_array_add(groups, group);
    return group;
}

static void free_groups(GPtrArray *groups)
{
    for (guint i = 0; i < groups->len; i++) {
        PinGroup *group = groups->pdata[i];
        g_free(group->name);
        g_free(group->pins);
        g_free(group->taps);
        g_free(group);
    }
    g_ptr_array_unref(groups);
}

void device_free_pins(Device *dev)
{
    g_clear_pointer(&dev->inputs, free_groups);
    g_clear_pointer(&dev->outputs, free_groups);
}

void device_add_inputs(Device *dev, const char *name, unsigned n, void (*set)(void *dev, int n, int level))
{
    PinGroup *group = add_group(dev->inputs, name, n);
    group->pins     = g_new(IrqPin, n);
    for (unsigned i = 0; i < n; i++) {
        group->pins[i] = (IrqPin){ .set = set, .opaque = dev, .n = (int)i };
    }
}

void device_inputs_hear(Device *dev, const char *name, IrqHearing (*hearing)(void *dev, int n, const IrqTaken *taken))
{
    PinGroup *group = find_group(dev->inputs, name);
    g_assert(group);
    for (unsigned i = 0; i < group->n; i++) {
        group->pins[i].hearing = hearing;
    }
}

IrqPin *device_find_input(Device *dev, const char *name, unsigned n)
{
    PinGroup *group = find_group(dev->inputs, name);
    return group && n < group->n ? &group->pins[n] : NULL;
}

IrqPin *device_input(Device *dev, const char *name, unsigned n)
{
    IrqPin *pin = device_find_input(dev, name, n);
    g_assert(pin);
    return pin;
}

void device_add_outputs(Device *dev, const char *name, IrqLine *lines, unsigned n)
{
    add_group(dev->outputs, name, n)->lines = lines;
}

void device_foreach_pins(Device *dev, void (*visit)(const char *name, bool input, unsigned n, void *opaque),
                         void   *opaque)
{
    GPtrArray *sides[] = { dev->inputs, dev->outputs };
    for (unsigned side = 0; side < G_N_ELEMENTS(sides); side++) {
        for (guint i = 0; sides[side] && i < sides[side]->len; i++) {
            const PinGroup *group = sides[side]->pdata[i];
            visit(group->name, side == 0, group->n, opaque);
        }
    }
}

static void hear_input(void *opaque, int n, int level)
{
    PinTap *tap = opaque;
    tap->hook(tap->opaque, tap->n, level);
    tap->original.set(tap->original.opaque, n, level);
}

static void hear_output(void *opaque, int n, int level)
{
    PinTap *tap = opaque;
    tap->hook(tap->opaque, n, level);
    if (tap->to) {
        tap->to->set(tap->to->opaque, tap->to->n, level);
    }
}

bool device_intercept_inputs(Device *dev, const char *name, PinHook *hook, void *opaque)
{
    PinGroup *group = find_group(dev->inputs, name);
    if (!group || group->taps) {
        return false;
    }
    group->taps = g_new0(PinTap, group->n);
    for (unsigned i = 0; i < group->n; i++) {
        group->taps[i]        = (PinTap){ .hook = hook, .opaque = opaque, .original = group->pins[i], .n = (int)i };
        group->pins[i].set    = hear_input;
        group->pins[i].opaque = &group->taps[i];
    }
    return true;
}

bool device_intercept_outputs(Device *dev, const char *name, PinHook *hook, void *opaque)
{
    PinGroup *group = find_group(dev->outputs, name);
    if (!group || group->taps) {
        return false;
    }
    group->taps = g_new0(PinTap, group->n);
    for (unsigned i = 0; i < group->n; i++) {
        PinTap *tap        = &group->taps[i];
        *tap               = (PinTap){ .hook = hook, .opaque = opaque, .to = group->lines[i].to };
        tap->pin           = (IrqPin){ .set = hear_output, .opaque = tap, .n = (int)i };
        group->lines[i].to = &tap->pin;
    }
    return true;
}
