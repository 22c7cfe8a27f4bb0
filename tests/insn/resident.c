/* The translator's loop, kept: see resident.h. */

#include "resident.h"

#include <glib.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_SIZE = 32 << 20 };

typedef struct Resident {
    ucontext_t  here, loop;
    Dbt        *dbt;
    X86Cpu     *cpu;
    void       *stack;
    X86Exit     exit;
    bool        leave;
    const void *here_bottom; /* of the stack that runs begin on, as AddressSanitizer knows it */
    size_t      here_size;
} Resident;

static Resident resident;

/* To the other stack and back. */
static void change(ucontext_t *from, ucontext_t *to, bool for_good)
{
#ifdef __SANITIZE_ADDRESS__
    Resident   *r      = &resident;
    bool        inward = to == &r->loop;
    void       *fake   = NULL;
    const void *bottom;
    size_t      size;
    __sanitizer_start_switch_fiber(for_good ? NULL : &fake, inward ? r->stack : r->here_bottom,
                                   inward ? STACK_SIZE : r->here_size);
    swapcontext(from, to);
    __sanitizer_finish_switch_fiber(fake, &bottom, &size);
    if (!inward) { /* the loop goes on: who called? */
        r->here_bottom = bottom;
        r->here_size   = size;
    }
#else
    (void)for_good;
    swapcontext(from, to);
#endif
}

static bool exited(void *opaque, X86Exit exit)
{
    Resident *r = opaque;
    r->exit     = exit;
    change(&r->loop, &r->here, false);
    return !r->leave;
}

static void loop(void)
{
    Resident *r = &resident;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &r->here_bottom, &r->here_size);
#endif
    dbt_loop(r->dbt, r->cpu, &(DbtHost){ .exited = exited, .opaque = r });
    change(&r->loop, &r->here, true);
}

X86Exit resident_run(Dbt *dbt, X86Cpu *cpu)
{
    Resident *r = &resident;
    if (!r->stack) {
        r->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        g_assert(r->stack != MAP_FAILED);
        r->dbt = dbt;
        r->cpu = cpu;
        getcontext(&r->loop);
        r->loop.uc_stack = (stack_t){ .ss_sp = r->stack, .ss_size = STACK_SIZE };
        makecontext(&r->loop, loop, 0);
    }
    g_assert(r->dbt == dbt && r->cpu == cpu);
    change(&r->here, &r->loop, false);
    return r->exit;
}

void resident_end(void)
{
    Resident *r = &resident;
    if (r->stack) {
        r->leave = true;
        change(&r->here, &r->loop, false);
        munmap(r->stack, STACK_SIZE);
        r->stack = NULL;
    }
}
