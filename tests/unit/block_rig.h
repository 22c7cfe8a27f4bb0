/* A block layer for tests: a hub on a loop, in an empty folder, without a machine. */

#ifndef QUERN_TESTS_BLOCK_RIG_H
#define QUERN_TESTS_BLOCK_RIG_H

#include "block/driver.h"

typedef struct BlockRig {
    MachineLock lock;
    Loop       *loop;
    BlockHub   *hub;
    char       *folder;
    BlockUser   user;
    unsigned    stops;     /* calls of BlockHost.stop */
    int         last_stop; /* with that error */
} BlockRig;

void block_rig_setup(BlockRig *rig);
void block_rig_teardown(BlockRig *rig); /* detaches the user; the folder goes too */

/* "FOLDER/name"; valid until the rig goes. */
const char *block_rig_path(BlockRig *rig, const char *name);

/* Makes a file of `size` bytes, every one `fill`. */
void block_rig_make_file(BlockRig *rig, const char *name, uint64_t size, uint8_t fill);

/* -drive with @ in the text standing for "FOLDER/". */
Drive *block_rig_drive(BlockRig *rig, const char *text, Error *err);
void   block_rig_refuse(BlockRig *rig, const char *text, const char *words);

/* Adds a drive d0 (if=none) of `text`, and attaches the rig's user to it. */
void block_rig_attach(BlockRig *rig, const char *text);

/* Submits, and runs the loop until it is done. Returns the error. */
int block_rig_run(BlockRig *rig, BlockOp op, uint64_t offset, void *buf, uint64_t size);

/* Runs a program of the host's without output ("qemu-img", "check", ...), NULL-terminated; arguments that begin with @
 * lie in the folder. Returns its exit status, -1 when there is no such program. */
int block_rig_program(BlockRig *rig, const char *const *argv);

#endif
