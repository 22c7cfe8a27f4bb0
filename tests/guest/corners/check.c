/* See check.h. */

#include "check.h"

extern const Case          __start_cases[], __stop_cases[];
typedef unsigned long long Long;
static unsigned            n_checks, n_bad;

bool check(bool ok, const char *id, const char *text, const char *where)
{
    n_bad += !ok;
    print("%s %u - %s: %s [%s]\n", ok ? "ok" : "not ok", ++n_checks, id, text, where);
    return ok;
}

static void run_case(const Case *c)
{
    Frame f;
    Word  start;
    if (c->when && !c->when()) {
        print("ok %u - %s: %s # SKIP not for this processor\n", ++n_checks, c->id, c->text);
        return;
    }
    case_frame(c, &f, &start);
    FRAME_FLAGS(&f) |= c->flags;
    if (c->before) {
        c->before(&f);
    }
    unsigned vector = run(&f);
    Word     want   = start + (Word)(c->at == AT_INSN ? c->insn - c->code : c->end - c->code) + (c->at == AT_BREAK);
    bool     ok     = vector == c->vector && (c->any_error || (u32)f.error == c->error);
    ok &= c->at == AT_ANY || FRAME_IP(&f) == want;
    ok &= !c->check_ax || FRAME_AX(&f) == c->ax;
    ok &= !c->check_cr2 || cpus[0].cr2 == c->address;
    bool after = !ok || !c->after || c->after(&f);
    if (!check(ok && after, c->id, c->text, c->where)) {
        print("# vector %u error %x ip %llx ax %llx flags %x; expected %u %x %llx", vector, (u32)f.error,
              (Long)FRAME_IP(&f), (Long)FRAME_AX(&f), (u32)FRAME_FLAGS(&f), c->vector, c->error, (Long)want);
        if (c->check_ax) {
            print(" ax %llx", (Long)c->ax);
        }
        if (c->check_cr2 || vector == 14) {
            print(" cr2 %llx, expected %llx", (Long)cpus[0].cr2, (Long)c->address);
        }
        print("%s\n", after ? "" : "; what is looked at afterwards is wrong");
    }
}

unsigned run_checks(void)
{
    bool     trace = option("trace", 0);
    unsigned index = 0, from = (unsigned)option("from", 0);
    for (const Case *c = __start_cases; c < __stop_cases; c++, index++) {
        if (index < from) {
            continue;
        }
        if (trace) {
            print("# case %u %s\n", index, c->id);
        }
        case_tables(c);
        if (c->run) {
            check(c->run(), c->id, c->text, c->where);
        } else if (c->group) {
            c->group();
        } else {
            run_case(c);
        }
    }
    print("1..%u\n", n_checks);
    return n_bad;
}
