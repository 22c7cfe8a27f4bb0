/* A random block: items that follow each other, most of them instances of forms, some made here (branches, code that
 * patches code, loads of addresses). It can be laid out without some of its items. */

#ifndef QUERN_TESTS_BLOCK_H
#define QUERN_TESTS_BLOCK_H

#include "insn.h"

enum {
    BLOCK_INSNS = 20, /* at most, not counting what items need before them */
    BLOCK_ITEMS = 3 * BLOCK_INSNS,
};

/* A field of an item that depends on where things lie. */
typedef enum Fixup {
    FIX_NONE,
    FIX_DATA,     /* RIP-relative: `target` is an address */
    FIX_CODE,     /* distance to an item */
    FIX_ABSOLUTE, /* address of an item */
} Fixup;

typedef struct Item {
    uint8_t     code[15];
    uint8_t     len;
    uint8_t     at, size; /* the field */
    Fixup       fixup;
    uint64_t    target;
    unsigned    to, to_offset; /* item, and byte in it */
    const Form *form;          /* NULL: made here */
    unsigned    group;         /* not 0: useless without the others of this number */
    bool        inner;         /* no branch leads here */
} Item;

typedef struct Block {
    Mode     mode;
    uint64_t rip;
    uint8_t  loops; /* runs of the whole; 0: once, without a loop */
    unsigned n;
    Item     items[BLOCK_ITEMS];
    State    before;
} Block;

/* Forms that blocks are made of, by how often they are met. */
typedef struct BlockForms {
    Mode       mode;
    GPtrArray *all; /* owns them */
    GPtrArray *common, *integer, *x87, *vector;
} BlockForms;

void block_forms_init(BlockForms *f, Mode mode, const char *filter);
void block_forms_free(BlockForms *f);

void block_random(Block *b, const BlockForms *forms, GRand *random);

/* Puts the items that are not dropped (NULL: all are kept) into `code`; offset[i] is where item i lies, offset[n] the
 * end. */
void block_layout(const Block *b, const bool *dropped, Code *code, unsigned offset[BLOCK_ITEMS + 1]);

#endif
