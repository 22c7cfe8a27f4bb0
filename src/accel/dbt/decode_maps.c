/* The translator's decoder: the maps behind 0Fh, and VEX. See decode.h. */

#include "accel/dbt/decode_private.h"

uint8_t dbt_condition_flags(unsigned cc)
{
    static const uint8_t flags[8] = { FL_OF, FL_CF, FL_ZF,         FL_CF | FL_ZF,
                                      FL_SF, FL_PF, FL_SF | FL_OF, FL_SF | FL_OF | FL_ZF };
    return flags[cc >> 1 & 7];
}

static bool decode_0f38_integer(DbtCursor *c, uint8_t op)
{
    DbtInsn *in = c->in;

    in->map = 2;
    in->op  = op;
    if ((op == 0xf0 || op == 0xf1) && c->repne && c->mode->crc32) {
        in->prefix    = 0xf2;
        in->rm_size   = op == 0xf0 ? 1 : in->opsize;
        unsigned wide = in->opsize;
        dec_gen(c, G_RM_R | G_REG_R | G_REG_W, 0, 0);
        in->opsize = wide == 8 ? 8 : 4;
        if (in->rm_size == 2 || (!in->memory && in->rm_size == 1 && dec_byte_register(c, in->rm) >= DBT_HIGH)) {
            return dec_other(c);
        }
        return true;
    }
    if ((op == 0xf0 || op == 0xf1) && !c->rep && !c->repne && c->mode->movbe) {
        dec_gen(c, op == 0xf0 ? G_RM_R | G_REG_W : G_RM_W | G_REG_R, 0, 0);
        return in->memory && in->opsize != 2 ? true : dec_other(c);
    }
    return dec_other(c);
}

bool dec_map_0f(DbtCursor *c)
{
    DbtInsn       *in   = c->in;
    const DbtMode *mode = c->mode;
    uint8_t        op   = *c->p++;

    in->map = 1;
    in->op  = op;
    switch (op) {
    case 0x01: {
        uint8_t b = *c->p++;
        if (c->o16) {
            return dec_other(c);
        }
        if (b == 0xf8 && mode->code == 8 && mode->kernel) {
            in->t = T_SWAPGS;
            return true;
        }
        if (!c->rep && !c->repne && b == 0xca && mode->stac) {
            in->t = T_NOP; /* AC is clear */
            return true;
        }
        if (!c->rep && !c->repne && (b == 0xca ? mode->clac : b == 0xcb && mode->stac)) {
            in->t = b == 0xca ? T_CLAC : T_STAC;
            return true;
        }
        if (b == 0xe8 && mode->serialize && !c->rep && !c->repne) {
            in->t         = T_JMP; /* to the next instruction: another vCPU may have written it */
            in->serialize = true;
            return true;
        }
        if (b == 0xf9 && mode->rdtscp) {
            in->t      = T_RDTSC;
            in->map    = 2;
            in->faults = !mode->kernel;
            return true;
        }
        return dec_other(c);
    }
    case 0x05:
        in->t      = T_SYSCALL;
        in->faults = true;
        return mode->code == 8 && mode->user && !c->o16 ? true : dec_other(c);
    case 0x07:
        in->t      = T_SYSRET;
        in->faults = true;
        return mode->code == 8 && mode->kernel && c->rex & 8 && !c->o16 ? true : dec_other(c);
    case 0x31:
        in->t      = T_RDTSC;
        in->faults = !mode->kernel;
        return true;
    case 0x0d:
    case 0x18:
    case 0x19:
    case 0x1c:
    case 0x1d:
    case 0x1e:
    case 0x1f:
        dec_modrm(c);
        in->t      = T_NOP;
        in->faults = false;
        return op == 0x0d && !in->memory ? dec_other(c) : true; /* AMD's have no such NOP */
    case 0x38: return decode_0f38_integer(c, *c->p++);
    case 0x40 ... 0x4f: dec_gen(c, G_RM_R | G_REG_R | G_REG_W, dbt_condition_flags(op & 15), 0); return true;
    case 0x80 ... 0x8f:
        if (dec_odd_branch(c)) {
            return dec_other(c);
        }
        in->t    = T_JCC;
        in->read = dbt_condition_flags(op & 15);
        dec_imm_z(c);
        return true;
    case 0x90 ... 0x9f:
        in->opsize = 1;
        dec_gen_ext(c, G_RM_W, dbt_condition_flags(op & 15), 0);
        in->reg = 0;
        return true;
    case 0xa0:
    case 0xa8: return dec_segment_on_stack(c, true, op == 0xa0 ? 4 : 5);
    case 0xa1:
    case 0xa9: return dec_segment_on_stack(c, false, op == 0xa1 ? 4 : 5);
    case 0xb4:
    case 0xb5: return dec_load_segment(c, true, op & 1 ? 5 : 4);
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
        dec_gen(c, G_RM_R | (op == 0xa3 ? 0 : G_RM_W) | G_REG_R, 0, FL_CF);
        if (in->memory) {
            in->t = T_BITMEM;
        }
        return true;
    case 0xba:
        if (dec_peek_ext(c) < 4) {
            return dec_other(c);
        }
        dec_gen_ext(c, G_RM_R | (dec_peek_ext(c) == 4 ? 0 : G_RM_W), 0, FL_CF);
        dec_imm(c, 1);
        return true;
    case 0xa4:
    case 0xac:
        dec_gen(c, G_RM_R | G_RM_W | G_REG_R, 0, FL_ALL);
        dec_imm(c, 1);
        return in->opsize == 2 || !(in->imm & (in->opsize == 8 ? 63 : 31)) ? dec_other(c) : true;
    case 0xa5:
    case 0xad:
        dec_gen(c, G_RM_R | G_RM_W | G_REG_R, 0, 0); /* a count of 0 leaves the flags */
        in->t = T_SHDCL;
        return in->opsize == 2 ? dec_other(c) : true;
    case 0xae:
        if (c->rep && *c->p >= 0xc0 && *c->p < 0xe0 && mode->code == 8 && !c->o16) {
            in->prefix = 0xf3;
            in->t      = T_BASE;
            dec_modrm(c);
            in->reg &= 7;
            in->faults = true;
            return c->rex & 4 ? dec_other(c) : true;
        }
        if (*c->p >= 0xe8 && !c->rep && !c->repne && !c->o16) {
            in->t   = T_FENCE;
            in->reg = *c->p++ >> 3 & 7;
            return true;
        }
        return dec_other(c);
    case 0xaf: dec_gen(c, G_RM_R | G_REG_R | G_REG_W, 0, mode->writes.mul); return true;
    case 0xb0:
    case 0xb1:
        in->opsize = op == 0xb0 ? 1 : in->opsize;
        dec_gen(c, G_RM_R | G_RM_W | G_REG_R, 0, FL_ALL);
        in->t = T_CMPXCHG;
        return true;
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
        in->rm_size = op & 1 ? 2 : 1;
        dec_gen(c, G_RM_R | G_REG_W, 0, 0);
        if (in->rm_size == 1 && !in->memory) {
            in->rm = dec_byte_register(c, in->rm);
        }
        return true;
    case 0xb8:
        if (!c->rep || !mode->popcnt || in->opsize == 2) {
            return dec_other(c);
        }
        in->prefix = 0xf3;
        dec_gen(c, G_RM_R | G_REG_W, 0, FL_ALL);
        return true;
    case 0xbc:
    case 0xbd:
        if (c->rep && (op == 0xbc ? mode->tzcnt : mode->lzcnt)) {
            in->prefix = 0xf3;
            dec_gen(c, G_RM_R | G_REG_W, 0, op == 0xbc ? mode->writes.tzcnt : mode->writes.lzcnt);
            return in->opsize == 2 ? dec_other(c) : true;
        }
        dec_gen(c, G_RM_R | G_REG_R | G_REG_W, 0, FL_ALL); /* a source of 0 leaves the register */
        return true;
    case 0xc0:
    case 0xc1:
        in->opsize = op == 0xc0 ? 1 : in->opsize;
        dec_gen(c, G_RM_R | G_RM_W | G_REG_R | G_REG_W, 0, FL_ALL);
        return in->memory ? true : dec_other(c);
    case 0xc3:
        if (c->o16 || c->rep || c->repne || in->opsize == 2) { /* MOVNTI has no 16-bit form */
            return dec_other(c);
        }
        dec_gen(c, G_RM_W | G_REG_R, 0, 0);
        return in->memory ? true : dec_other(c);
    case 0xc7:
        if (dec_peek_ext(c) != 1 || !(c->rex & 8) || !mode->cx16) {
            return dec_other(c);
        }
        dec_gen_ext(c, G_RM_R | G_RM_W, 0, FL_ZF);
        in->t       = T_CMPXCHG16;
        in->rm_size = 16;
        return in->memory ? true : dec_other(c);
    case 0xc8 ... 0xcf:
        in->t  = T_BSWAP;
        in->rm = (uint8_t)((op & 7) | (c->rex & 1) << 3);
        return in->opsize == 2 ? dec_other(c) : true;
    default: return dec_other(c);
    }
}

/* VEX instructions on general registers: BMI1 and BMI2. `c->p` is behind C4h or C5h. */
bool dec_vex(DbtCursor *c, uint8_t first)
{
    DbtInsn *in = c->in;
    uint8_t  b1 = *c->p++, b2 = 0;

    if (first == 0xc5 || c->mode->code != 8 || c->o16 || c->rep || c->repne || c->has_rex || in->lock) {
        return dec_other(c);
    }
    b2                       = *c->p++;
    unsigned             map = b1 & 31, pp = b2 & 3;
    uint8_t              op          = *c->p++;
    static const uint8_t prefixes[4] = { 0, 0x66, 0xf3, 0xf2 };

    c->rex     = (uint8_t)((~b1 >> 5 & 7) | (b2 >> 4 & 8)); /* R X B, and W */
    in->map    = (uint8_t)map;
    in->op     = op;
    in->prefix = prefixes[pp];
    in->w      = b2 >> 7;
    in->vvvv   = (uint8_t)(~b2 >> 3 & 15);
    in->opsize = in->w ? 8 : 4;
    if (b2 & 4) {
        return dec_other(c);
    }
    if (map == 2 && op == 0xf2 && pp == 0 && c->mode->bmi1) {
        dec_modrm(c); /* ANDN */
        in->access = G_RM_R | G_REG_W;
        in->write  = FL_ALL;
    } else if (map == 2 && op == 0xf7 && pp == 0 && c->mode->bmi1) {
        dec_modrm(c); /* BEXTR */
        in->access = G_RM_R | G_REG_W;
        in->write  = FL_ALL;
    } else if (map == 2 && op == 0xf7 && pp != 0 && c->mode->bmi2) {
        dec_modrm(c); /* SHLX, SARX, SHRX */
        in->access = G_RM_R | G_REG_W;
    } else if (map == 2 && op == 0xf5 && pp == 0 && c->mode->bmi2) {
        dec_modrm(c); /* BZHI */
        in->access = G_RM_R | G_REG_W;
        in->write  = FL_ALL;
    } else if (map == 2 && op == 0xf5 && pp >= 2 && c->mode->bmi2) {
        dec_modrm(c); /* PEXT, PDEP */
        in->access = G_RM_R | G_REG_W;
    } else if (map == 3 && op == 0xf0 && pp == 3 && c->mode->bmi2 && in->vvvv == 0) {
        dec_modrm(c); /* RORX */
        in->access = G_RM_R | G_REG_W;
        in->vvvv   = DBT_NO_REG;
        dec_imm(c, 1);
    } else {
        return dec_other(c);
    }
    in->t = T_BMI;
    return true;
}
