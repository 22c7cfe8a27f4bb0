/* The server side of the GDB remote serial protocol, on anything that has CPUs, registers and memory.
 * Machine lock held. */

#ifndef QUERN_DEBUG_GDB_SERVER_H
#define QUERN_DEBUG_GDB_SERVER_H

#include "debug/gdb_packet.h"

typedef enum GdbAction { GDB_STAY, GDB_CONTINUE, GDB_STEP } GdbAction;

enum { GDB_REGISTER_MAX = 16, GDB_CPUS_MAX = 4096 }; /* bytes of one register */

/* Signals as stop replies name them. */
enum { GDB_SIGNAL_INT = 2, GDB_SIGNAL_QUIT = 3, GDB_SIGNAL_TRAP = 5, GDB_SIGNAL_ABORT = 6 };

/* CPUs count from 0. All run control is for stopped CPUs but stop(), which comes back when all have stopped. */
typedef struct GdbTarget {
    void       *opaque;
    const char *description; /* target.xml */
    unsigned    n_registers;
    unsigned (*n_cpus)(void *opaque);            /* they have numbers below it */
    bool (*has_cpu)(void *opaque, unsigned cpu); /* NULL: all of them are there */
    bool (*is_halted)(void *opaque, unsigned cpu);
    unsigned (*register_size)(void *opaque, unsigned reg);                           /* bytes */
    void (*read_register)(void *opaque, unsigned cpu, unsigned reg, uint8_t *value); /* as in memory */
    bool (*write_register)(void *opaque, unsigned cpu, unsigned reg, const uint8_t *value);
    /* Return how many bytes from the beginning could be had. */
    size_t (*read_memory)(void *opaque, unsigned cpu, bool physical, uint64_t addr, void *buf, size_t len);
    size_t (*write_memory)(void *opaque, unsigned cpu, bool physical, uint64_t addr, const void *buf, size_t len);
    void (*insert_breakpoint)(void *opaque, uint64_t addr);
    void (*remove_breakpoint)(void *opaque, uint64_t addr);
    uint64_t (*program_counter)(void *opaque, unsigned cpu); /* as breakpoints are compared with */
    bool (*is_running)(void *opaque);
    void (*stop)(void *opaque);
    void (*resume)(void *opaque, const GdbAction *actions); /* one a CPU */
    void (*kill)(void *opaque);
    /* A monitor command; the answer is text with newlines. False: no such command. */
    bool (*command)(void *opaque, const char *line, GString *answer);
    void (*send)(void *opaque, const void *data, size_t len);
} GdbTarget;

typedef struct GdbServer GdbServer;

GdbServer *gdb_server_new(const GdbTarget *target);
void       gdb_server_free(GdbServer *s);

/* A debugger has connected to a machine that is stopped; or has gone: its breakpoints are removed. */
void gdb_server_connected(GdbServer *s);
void gdb_server_disconnected(GdbServer *s);

void gdb_server_take(GdbServer *s, const uint8_t *data, size_t len);

/* The machine has stopped: for a debugger that waits for it. */
void gdb_server_stopped(GdbServer *s, unsigned cpu, int signal);

/* The program ends. */
void gdb_server_exited(GdbServer *s, int status);

#endif
