/* The gdb remote stub: one connection on a chardev controls the machine. Machine lock held; main loop. */

#ifndef QUERN_DEBUG_GDBSTUB_H
#define QUERN_DEBUG_GDBSTUB_H

#include "machine/machine.h"

typedef struct GdbStub GdbStub;

/* The chardev in short form that -gdb DEVICE stands for: TCP listens. The caller frees. */
char *gdb_stub_device(const char *device);

/* Serves gdb on `chr`, which it takes as its front end. It does not stop the guest until gdb attaches. */
GdbStub *gdb_stub_new(Machine *m, Chardev *chr, Error *err);
void     gdb_stub_free(GdbStub *stub);

#endif
