/* The device-test protocol of -qtest: text lines that poke ports, memory, clock and interrupt pins.
 * Main loop; machine lock held. */

#ifndef QUERN_DEBUG_QTEST_H
#define QUERN_DEBUG_QTEST_H

#include "machine/machine.h"

typedef struct QTest QTest;

/* Serves the protocol on `chr`; log_path (may be NULL) gets a copy of both directions. */
QTest *qtest_new(Machine *m, Chardev *chr, const char *log_path, Error *err);
void   qtest_free(QTest *qtest);

#endif
