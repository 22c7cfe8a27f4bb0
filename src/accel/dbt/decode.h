/* The translator's decoder: integer instructions that have a template, from bytes to fields. Everything else (system,
 * string, x87, vector instructions, rare forms, anything invalid) comes out as T_OTHER, for Zydis to look at.
 *
 * Specification: Intel SDM volume 2 (December 2023), chapter 2 and appendix A. Pure functions; any thread. */

#ifndef QUERN_ACCEL_DBT_DECODE_H
#define QUERN_ACCEL_DBT_DECODE_H

#include <stdbool.h>
#include <stdint.h>

/* Arithmetic flags as a set. */
enum {
    FL_CF   = 1,
    FL_PF   = 2,
    FL_AF   = 4,
    FL_ZF   = 8,
    FL_SF   = 16,
    FL_OF   = 32,
    FL_ALL  = 63,
    FL_NONE = 0,
};

typedef enum DbtTemplate {
    T_OTHER, /* C semantics, or a vector instruction: see translate.c */
    T_GEN,   /* ModRM form that is encoded again as it is */
    T_MOVI,  /* MOV r, imm */
    T_LEA,
    T_PUSH,
    T_PUSHI,
    T_PUSHM, /* PUSHF too: op 9Ch */
    T_POP,
    T_LEAVE,
    T_CALL,
    T_CALLI,
    T_RET,
    T_JMP,
    T_JMPI,
    T_JCC,
    T_LOOP,   /* outside 64-bit mode; JCXZ and its like too */
    T_SHCL,   /* shift by CL */
    T_SHDCL,  /* SHLD, SHRD by CL */
    T_MULDIV, /* F6, F7 /4 to /7 */
    T_XCHG,   /* two registers */
    T_CMPXCHG,
    T_EXTEND, /* CBW, CWDE, CDQE */
    T_SPREAD, /* CWD, CDQ, CQO */
    T_BITMEM, /* BT, BTS, BTR, BTC with a register bit offset into memory */
    T_BSWAP,
    T_FLAG, /* CLC, STC, CMC */
    T_NOP,
    T_FENCE,
    T_PUSHSEG, /* PUSH of a segment register, outside 64-bit mode like all of these; ModRM.reg is which */
    T_STSEG,   /* MOV m, segment register */
    T_SETSEG,  /* MOV to ES, DS, FS or GS in real or virtual-8086 mode */
    T_POPSEG,  /* POP of one, the same */
    T_LSEG,    /* LES, LDS, LFS, LGS: seg_reg is which */
    T_SEGC,    /* a load of ES, DS, FS or GS by C, which may go on in the unit */
    T_SEGQ,    /* the same in protected mode, where quick.c may do it */
    T_FAR,     /* JMP, CALL and RET to another segment, INT n and IRET, the same; 16-bit */
    T_FARQ,    /* those of protected mode, and INT n of virtual-8086 mode, where quick.c may do it */
    T_STRING,  /* MOVS, STOS, LODS without REP, DF = 0 */
    T_REP,     /* REP MOVS, REP STOS, DF = 0; what is longer than a page goes to C */
    T_CLI,     /* in ring 0 */
    T_STI,     /* the same; not the last of a unit */
    T_SWAPGS,  /* the same */
    T_STAC,    /* in ring 0; changes the mode, and ends the unit */
    T_CLAC,    /* the same */
    T_SYSCALL, /* from ring 3 to ring 0, 64-bit */
    T_SYSRET,  /* the way back */
    T_BASE,    /* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE by ModRM.reg */
    T_RDSEG,   /* MOV r, segment register */
    T_RDTSC,   /* RDTSCP too: map 2 */
    T_CMPXCHG16,
    T_BMI,    /* VEX general-register instruction */
    T_VECTOR, /* filled in by vector.c */
    T_X87,    /* the same */
    T_C,      /* C semantics, decided */
} DbtTemplate;

/* Access bits of T_GEN. */
enum {
    G_RM_R  = 1,
    G_RM_W  = 2,
    G_REG_R = 4,
    G_REG_W = 8,
};

enum { DBT_NO_REG = 0xff };

typedef struct DbtInsn {
    uint16_t off; /* from the start of the unit */
    uint8_t  len;
    uint8_t  t;               /* DbtTemplate */
    uint8_t  map, op, prefix; /* for encoding it again; prefix: 0, 66h, F2h, F3h that belongs to the opcode */
    uint8_t  opsize;          /* 1, 2, 4, 8 */
    uint8_t  access;          /* G_* */
    uint8_t  addrsize;
    uint8_t  reg, rm; /* guest registers 0 to 15; 8-bit AH to BH are 16 to 19; reg may be an opcode extension */
    uint8_t  rm_size; /* size of a register or memory r/m operand: unlike opsize for MOVZX and its like */
    uint8_t  base, index, scale, seg;
    uint8_t  vvvv, w;
    uint8_t  seg_reg;
    uint8_t  read, write; /* FL_* read, and surely overwritten */
    uint8_t  imm_size;
    bool     memory, rip_relative, ext, lock;
    bool     faults;    /* may fault, or leave to C */
    bool     serialize; /* T_JMP that is SERIALIZE */
    bool     raises;    /* the host's units may raise an exception */
    uint8_t  extra;     /* number of its entry in the unit's table of C instructions or vector forms */
    int32_t  disp;
    int64_t  imm; /* sign-extended; branches: displacement from the end of the instruction */
} DbtInsn;

enum { DBT_HIGH = 16 }; /* DbtInsn.reg, rm: AH is 16 ... */

/* FL_* that the host's instructions surely overwrite, of those that leave some undefined. */
typedef struct DbtWrites {
    uint8_t mul, div, tzcnt, lzcnt;
} DbtWrites;

/* What most processors do. */
#define DBT_USUAL_WRITES ((DbtWrites){ .mul = FL_ALL, .tzcnt = FL_ALL, .lzcnt = FL_ALL })

/* What this one does. */
DbtWrites dbt_host_writes(void);

typedef struct DbtMode {
    uint8_t  code;  /* bytes of the default operand size: 2, 4, 8 (64-bit mode) */
    uint8_t  stack; /* 2, 4, 8 */
    bool     flat;
    uint8_t  seg[6];      /* outside 64-bit mode: X86SegmentKind, by number */
    uint32_t limit;       /* of CS, the same */
    bool     ints_by_c;   /* somebody logs INT n */
    bool protected;       /* protected or virtual-8086 mode, not long mode */
    bool      real, vm86; /* real or virtual-8086 mode, of the usual kind; the second of the two */
    bool      forward;    /* EFLAGS.DF = 0 */
    bool      kernel;     /* CPL 0 */
    bool      user;       /* CPL 3 */
    bool      stac;       /* 64-bit ring 0, SMAP is in force */
    bool      clac;       /* the same, and AC keeps it from being */
    bool      cx16, rdtscp, serialize;
    bool      popcnt, lzcnt, tzcnt, movbe, crc32, bmi1, bmi2; /* CPUID */
    DbtWrites writes;
} DbtMode;

/* Decodes from `bytes`, which has 16 readable bytes behind it of which `avail` count. Returns false when the
 * instruction does not end within avail. T_OTHER leaves len 0. */
bool dbt_decode(const DbtMode *mode, const uint8_t *bytes, unsigned avail, DbtInsn *in);

/* The flags that a condition looks at. */
uint8_t dbt_condition_flags(unsigned cc);

#endif
