/* A Timer in a table of saved state: its deadline on its own clock, -1 while it does not run. */

#include "desc/field.h"
#include "loop/clock.h"

static bool parse_timer(const Field *field, void *member, const Json *value, Error *err)
{
    Timer *timer = member;
    if (value->kind != JSON_INT || value->integer < -1) {
        return error_set(err, "not a deadline");
    }
    if (value->integer < 0) {
        timer_cancel(timer);
    } else {
        timer_set(timer, value->integer);
    }
    return true;
}

static Json *print_timer(const Field *field, const void *member)
{
    const Timer *timer = member;
    return json_new_int(timer_armed(timer) ? timer->deadline : -1);
}

const FieldCustom timer_field = { .type_name = "timer", .parse = parse_timer, .print = print_timer };
