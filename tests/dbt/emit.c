/* Translates what it reads and prints the host code by name, for test_snapshots.py.
 *
 * Each line of input is "64" or "32", options, "|", and bytes in hexadecimal; the answer is the listing and a line with
 * a dot. Options: live (flags are needed behind the code; else the next instruction overwrites them), plain (the
 * variant without groups), at=N (offset in the page, hexadecimal: the code may lie in two pages
 * then), high (at an address where code can be moved: addresses take eight bytes), kernel (CPL 0 instead of 3).
 *
 * With --check: exit status 77 when this host lacks a feature that the lists use, and which. */

#include "../unit/guest.h"
#include "accel/dbt/trace.h"

#include "cpu/x86/features.h"
#include "cpu/x86/vector.h"

#include <stdio.h>
#include <string.h>

/* Beyond x86-64-v2. */
static const X86Feature needed[] = {
    X86_FEATURE_ABM,  X86_FEATURE_BMI1, X86_FEATURE_BMI2, X86_FEATURE_MOVBE, X86_FEATURE_AVX,
    X86_FEATURE_AVX2, X86_FEATURE_FMA,  X86_FEATURE_F16C, X86_FEATURE_AES,   X86_FEATURE_PCLMULQDQ,
};

static Guest *guest;
static Dbt   *dbt;

static int check_host(void)
{
    uint32_t features[X86_N_WORDS];
    x86_host_features(features);
    memcpy(guest->cpus[0]->features, features, sizeof features);
    for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++) {
        if (!x86_has(guest->cpus[0], needed[i])) {
            printf("this host has no %s\n", x86_feature_name(needed[i]));
            return 77;
        }
    }
    return 0;
}

static void translate(char *line)
{
    X86Cpu     *cpu    = guest->cpus[0];
    const bool  is64   = line[0] == '6';
    char       *bytes  = strchr(line, '|');
    const char *at     = strstr(line, "at=");
    bool        live   = strstr(line, "live") != NULL;
    unsigned    offset = at ? (unsigned)strtoul(at + 3, NULL, 16) : 0, len = 0;
    uint8_t    *to = guest->host + GUEST_CODE + offset;
    DbtFetch    f  = { .groups = strstr(line, "plain") ? GROUPS_NONE : GROUPS_WIDE };

    g_assert_nonnull(bytes);
    memset(guest->host + GUEST_CODE, 0xf4, 2 * X86_PAGE_SIZE);
    for (char *p = bytes + 1, *end;; p = end) {
        unsigned long v = strtoul(p, &end, 16);
        if (end == p) {
            break;
        }
        to[len++] = (uint8_t)v;
    }
    if (!live) {
        to[len]     = 0x85; /* test eax, eax */
        to[len + 1] = 0xc0;
    }
    guest_set_mode(guest, 0,
                   is64                        ? GUEST_LONG64
                   : strstr(line, "protected") ? GUEST_PROTECTED32
                                               : GUEST_COMPAT32,
                   strstr(line, "kernel") ? 0 : 3);
    if (strstr(line, "based")) { /* segments with a base and a limit */
        static const uint8_t segments[] = { X86_SS, X86_DS, X86_ES };
        for (unsigned i = 0; i < G_N_ELEMENTS(segments); i++) {
            cpu->seg[segments[i]].base  = 0x1000;
            cpu->seg[segments[i]].limit = 0x12345;
        }
        x86_update_mode(cpu);
    }
    f.rip         = GUEST_CODE + offset + (strstr(line, "high") ? UINT64_C(0x7f0000000000) : 0);
    f.linear      = f.rip;
    f.page_offset = offset;
    f.key         = dbt_key_of(cpu);
    f.mode        = x86_tlb_mode(cpu);
    f.host        = to;
    f.ram         = guest->block;
    f.ram_offset  = GUEST_CODE + offset;
    f.limit       = UINT64_MAX;
    f.stop        = len;
    if (offset + len > X86_PAGE_SIZE) {
        f.host2       = guest->host + GUEST_CODE + X86_PAGE_SIZE;
        f.ram2        = guest->block;
        f.ram_offset2 = GUEST_CODE + X86_PAGE_SIZE;
        f.linear2     = (f.rip | X86_PAGE_MASK) + 1;
    }
    g_mutex_lock(&dbt->lock);
    DbtUnit *u = dbt_translate(dbt, cpu, &f);
    if (u) {
        g_autoptr(GString) text = g_string_new(NULL);
        dbt_list_code(text, dbt, u, is64 ? X86_CODE64 : X86_CODE32, 0);
        fputs(text->str, stdout);
        dbt_kill(dbt, u);
    } else {
        puts("no unit");
    }
    g_mutex_unlock(&dbt->lock);
    puts(".");
}

int main(int argc, char **argv)
{
    g_auto(Error) err = { 0 };
    char line[4096];

    guest = guest_new(1);
    dbt   = dbt_new(16 << 20, &err);
    if (!dbt || !x86_vector_init(&err)) {
        g_error("%s", err.text);
    }
    dbt->writes = DBT_USUAL_WRITES; /* whatever this host's are */
    int status  = check_host();
    if (!status && argc < 2) {
        while (fgets(line, sizeof line, stdin)) {
            translate(line);
        }
    }
    guest_free(guest);
    dbt_free(dbt);
    return status;
}
