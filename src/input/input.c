/* Who hears keys and pointers. See input.h. */

#include "input/input.h"

void input_add(InputHub *hub, InputHandler *handler)
{
    InputHandler **at = &hub->first;
    while (*at) {
        at = &(*at)->next;
    }
    handler->next  = NULL;
    handler->told  = false;
    handler->index = ++hub->count;
    *at            = handler;
}

void input_remove(InputHub *hub, InputHandler *handler)
{
    for (InputHandler **at = &hub->first; *at; at = &(*at)->next) {
        if (*at == handler) {
            *at = handler->next;
            return;
        }
    }
}

InputHandler *input_handler(const InputHub *hub, InputKind kind)
{
    for (InputHandler *h = hub->first; h; h = h->next) {
        if (h->kinds & 1u << kind) {
            return h;
        }
    }
    return NULL;
}

bool input_select(InputHub *hub, unsigned index, Error *err)
{
    for (InputHandler *h = hub->first; h; h = h->next) {
        if (h->index == index && input_is_pointer(h)) {
            input_remove(hub, h);
            h->next    = hub->first;
            hub->first = h;
            return true;
        }
    }
    return error_set(err, "no mouse has index %u", index);
}

static void remember_button(InputHub *hub, const InputEvent *event)
{
    if (event->kind == INPUT_BUTTON) {
        unsigned bit = 1u << event->code;
        hub->buttons = event->value ? hub->buttons | bit : hub->buttons & ~bit;
    }
}

bool input_send(InputHub *hub, const InputEvent *events, size_t n, Error *err)
{
    static const char *const kinds[] = { "key", "btn", "rel", "abs" };
    bool                     ok      = true;
    for (size_t i = 0; i < n; i++) {
        if (!input_handler(hub, events[i].kind)) {
            return error_set(err, "no device hears events of type '%s'", kinds[events[i].kind]);
        }
    }
    for (size_t i = 0; i < n && ok; i++) {
        InputHandler *h = input_handler(hub, events[i].kind);
        h->told         = true;
        remember_button(hub, &events[i]);
        ok = h->event(h->opaque, &events[i]) || error_set(err, "%s: too many events wait already", h->name);
    }
    for (InputHandler *h = hub->first; h; h = h->next) {
        if (h->told && h->sync) {
            h->sync(h->opaque);
        }
        h->told = false;
    }
    return ok;
}
