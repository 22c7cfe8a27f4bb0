/* The device-test protocol of -qtest, without a machine: lines in, lines out. Machine lock held. */

#ifndef QUERN_DEBUG_QTEST_PROTOCOL_H
#define QUERN_DEBUG_QTEST_PROTOCOL_H

#include "base/error.h"

#include <stdint.h>

/* What the protocol acts on. Memory accesses cannot fail: what is not there reads as ones. */
typedef struct QTestTarget {
    void *opaque;
    uint64_t (*load)(void *opaque, bool io, uint64_t addr, unsigned size);
    void (*store)(void *opaque, bool io, uint64_t addr, uint64_t value, unsigned size);
    void (*read)(void *opaque, uint64_t addr, void *buf, size_t len);
    void (*write)(void *opaque, uint64_t addr, const void *buf, size_t len);
    bool (*clock_step)(void *opaque, int64_t ns, int64_t *now, Error *err); /* ns < 0: to the next deadline */
    bool (*clock_set)(void *opaque, int64_t ns, int64_t *now, Error *err);
    bool (*intercept)(void *opaque, bool inputs, const char *path, const char *group, Error *err);
    bool (*set_irq_in)(void *opaque, const char *path, const char *group, unsigned n, int level, Error *err);
    void (*send)(void *opaque, const char *line);                /* an answer, with its newline */
    void (*log)(void *opaque, char direction, const char *line); /* 'R' or 'S'; without newline */
} QTestTarget;

typedef struct QTestProtocol {
    const QTestTarget *target;
    GString           *line;     /* so far */
    bool               too_long; /* the rest of this line is skipped */
} QTestProtocol;

void qtest_protocol_init(QTestProtocol *p, const QTestTarget *target);
void qtest_protocol_clear(QTestProtocol *p);
void qtest_protocol_take(QTestProtocol *p, const uint8_t *data, size_t len);

/* "IRQ raise 4", "IRQ lower 4". */
void qtest_protocol_send_irq(QTestProtocol *p, int n, int level);

#endif
