/* Long mode: what each level of the page tables allows, accessed and dirty bits, stale entries, over tables of the
 * checks' own. */

#include "check.h"

enum { PML4E, PDPTE, PDE, PTE, N_LEVELS };
static const char *const level_names[] = { "pml4e", "pdpte", "pde", "pte" };
enum { READS, WRITES, FETCHES };
#define LINEAR 0x8000000000ull /* the second entry of the PML4 */
#define LARGE  0x4000000ull    /* physical, 2 MiB of RAM that nothing else uses */

static u64  frame;
static u64 *entries[N_LEVELS];

/* Page tables of all levels down to `leaf`, which maps RAM full of INT3. */
static void build(unsigned leaf)
{
    static u64 tables[N_LEVELS];
    if (!frame) {
        frame = page();
        for (unsigned i = 1; i < N_LEVELS; i++) {
            tables[i] = page();
        }
    }
    entries[PML4E] = &pml4[LINEAR >> 39];
    for (unsigned i = PDPTE; i < N_LEVELS; i++) {
        entries[i] = (u64 *)tables[i];
    }
    u64 physical = leaf == PTE ? frame : leaf == PDE ? LARGE : 0;
    for (unsigned i = PML4E; i <= leaf; i++) {
        *entries[i] = (i == leaf ? physical : tables[i + 1]) | P | W | U | (i == leaf && leaf != PTE ? PS : 0);
    }
    memset((void *)(leaf == PDPTE ? (u64)frame : physical), 0xcc, PAGE);
    WRITE_CR(3, pml4);
}
/* Where in the mapping that RAM is. */
static u64 address(unsigned leaf)
{
    return LINEAR + (leaf == PDPTE ? frame : 0);
}

static unsigned access(unsigned mode, unsigned kind, u64 at, Frame *f)
{
    static const char *const code[] = { "\x8b\x06\xcc", "\x88\x06\xcc", "\xff\xe6\xcc" };
    static const u8          len[]  = { 3, 3, 3 };
    frame_in(mode, code[kind], len[kind], f);
    f->rsi      = at;
    f->rax      = 0xcc;
    cpus[0].cr2 = 0;
    __asm__ volatile("mov %0, %%cr2" : : "r"(0ull));
    return run(f);
}

static const char *join(const char *a, const char *b, const char *c)
{
    static char text[64];
    char       *at = text;
    for (const char *const *s = (const char *const[]){ a, b, c, NULL }; *s; s++) {
        for (const char *from = *s; *from;) {
            *at++ = *from++;
        }
    }
    *at = 0;
    return text;
}

typedef struct Kind {
    const char *name, *text;
    u64         clear, set;
    bool        absent, reserved, no_nxe;
} Kind;

/* Six accesses through the mapping as it is; all as the entry's change demands? */
static bool as_expected(const Kind *k, unsigned leaf)
{
    bool ok = true;
    u64  at = address(leaf);
    WRITE_CR(3, pml4);
    for (unsigned i = 0; i < 6; i++) {
        unsigned mode = i < 3 ? L3 : L0, kind = i % 3;
        bool     fault = k->absent || k->reserved || (k->clear & W && kind == WRITES) || (k->clear & U && mode == L3) ||
                     (k->set & NX && kind == FETCHES);
        u32 error = (k->absent ? 0 : 1) | (kind == WRITES ? 2 : 0) | (mode == L3 ? 4 : 0) | (k->reserved ? 8 : 0) |
                    (kind == FETCHES && !k->no_nxe ? 0x10 : 0);
        Frame    f;
        unsigned vector = access(mode, kind, at, &f);
        bool     good   = fault ? vector == 14 && f.error == error && cpus[0].cr2 == at : vector == 3;
        if (!good) {
            print("# access %u in mode %u: vector %u error %lx cr2 %lx; expected %u %x\n", kind, mode, vector, f.error,
                  cpus[0].cr2, fault ? 14 : 3, fault ? error : 0);
        }
        ok &= good;
    }
    return ok;
}

static void check_level(unsigned leaf, unsigned level, const Kind *k, const char *where)
{
    build(leaf);
    *entries[level] = (*entries[level] & ~k->clear) | k->set;
    if (k->no_nxe) {
        wrmsr(EFER, rdmsr(EFER) & ~(u64)EFER_NXE);
    }
    static const char *const prefixes[] = { "", "walk1g.", "walk2m.", "walk." };
    bool                     ok         = as_expected(k, leaf);
    if (k->no_nxe) {
        wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
    }
    check(ok, join(prefixes[leaf], level_names[level], k->name), k->text, where);
}

GROUP(walks)
{
    u64  above   = 1ull << (cpuid(0x80000008, 0).a & 0xff);
    u64  top     = 1ull << 51;
    Kind kinds[] = {
        { ".plain", "all accesses are allowed", .clear = 0 },
        { ".absent", "absent: a fault for all accesses", .clear = P, .absent = true },
        { ".absent-rest", "absent: other bits mean nothing", .clear = P, .set = top | PS, .absent = true },
        { ".read-only", "W clear: writes fault, the supervisor's too", .clear = W },
        { ".supervisor", "U clear: the user faults", .clear = U },
        { ".xd", "XD: fetches fault", .set = NX },
        { ".xd-reserved", "XD without EFER.NXE is reserved", .set = NX, .reserved = true, .no_nxe = true },
        { ".above", "the first address bit that is not there is reserved", .set = above, .reserved = true },
        { ".top", "bit 51 too", .set = top, .reserved = true },
        { ".ignored", "bits 52 to 58 and 9 to 11 are ignored", .set = 0x7full << 52 | 0xe00 },
    };
    if (above > top) {
        kinds[7].reserved = kinds[8].reserved = false;
        kinds[7].set = kinds[8].set = 0;
    }
    for (unsigned level = PML4E; level <= PTE; level++) {
        for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            check_level(PTE, level, &kinds[i], "SDM 3, 4.5.4, 4.6 and 4.7");
        }
    }
    Kind ps  = { ".ps", "PS is reserved there", .set = PS, .reserved = true };
    Kind g   = { ".g", "G is ignored or global", .set = G };
    Kind b12 = { ".pat", "bit 12 is PAT", .set = 0x1000 };
    Kind b13 = { ".13", "bit 13 is reserved", .set = 0x2000, .reserved = true };
    Kind b20 = { ".20", "bit 20 is reserved", .set = 0x100000, .reserved = true };
    Kind b29 = { ".29", "bit 29 is reserved", .set = 0x20000000, .reserved = true };
    Kind b7  = { ".pat", "bit 7 is PAT", .set = 0x80 };
    check_level(PTE, PML4E, &ps, "SDM 3, table 4-15");
    check_level(PTE, PTE, &b7, "SDM 3, table 4-20");
    check_level(PTE, PTE, &g, "SDM 3, table 4-20");
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (i != 2) {
            check_level(PDE, PDE, &kinds[i], "SDM 3, table 4-18");
        }
    }
    check_level(PDE, PDE, &b12, "SDM 3, table 4-18");
    check_level(PDE, PDE, &b13, "SDM 3, table 4-18");
    check_level(PDE, PDE, &b20, "SDM 3, table 4-18");
    if (offered(0x80000001, EDX, 26)) {
        for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            if (i != 2) {
                check_level(PDPTE, PDPTE, &kinds[i], "SDM 3, table 4-16");
            }
        }
        check_level(PDPTE, PDPTE, &b12, "SDM 3, table 4-16");
        check_level(PDPTE, PDPTE, &b13, "SDM 3, table 4-16");
        check_level(PDPTE, PDPTE, &b29, "SDM 3, table 4-16");
    } else {
        ps.text = "PS is reserved without 1 GiB pages";
        check_level(PTE, PDPTE, &ps, "SDM 3, table 4-16");
    }
    pml4[LINEAR >> 39] = 0;
    WRITE_CR(3, pml4);
}

/* --- accessed and dirty bits --- */

static bool bits(unsigned level, u64 want)
{
    return (*entries[level] & (A | D)) == want;
}
static bool upper_accessed(unsigned leaf)
{
    for (unsigned i = 0; i < leaf; i++) {
        if (!bits(i, A)) {
            return false;
        }
    }
    return true;
}
static const char bits_where[] = "SDM 3, 4.8";
GROUP(accessed_and_dirty)
{
    static const char *const names[] = { "", "1g", "2m", "4k" };
    Frame                    f;
    for (unsigned leaf = offered(0x80000001, EDX, 26) ? PDPTE : PDE; leaf <= PTE; leaf++) {
        build(leaf);
        access(L0, READS, address(leaf), &f);
        check(upper_accessed(leaf) && bits(leaf, A), join("ad.", names[leaf], ".read"), "a read sets A in each level",
              bits_where);
        access(L0, WRITES, address(leaf), &f);
        check(upper_accessed(leaf) && bits(leaf, A | D), join("ad.", names[leaf], ".write"),
              "a later write D in the last", bits_where);
        build(leaf);
        access(L3, WRITES, address(leaf), &f);
        check(upper_accessed(leaf) && bits(leaf, A | D), join("ad.", names[leaf], ".write-first"), "a first write both",
              bits_where);
        build(leaf);
        access(L3, FETCHES, address(leaf), &f);
        check(upper_accessed(leaf) && bits(leaf, A), join("ad.", names[leaf], ".fetch"), "a fetch sets A", bits_where);
        build(leaf);
        *entries[leaf] &= ~(u64)W;
        access(L3, WRITES, address(leaf), &f);
        check(!(*entries[leaf] & D), join("ad.", names[leaf], ".write-faults"), "a write that faults does not set D",
              bits_where);
        build(leaf);
        *entries[leaf] &= ~(u64)W;
        WRITE_CR(0, saved_cr0 & ~0x10000ull);
        access(L0, WRITES, address(leaf), &f);
        WRITE_CR(0, saved_cr0);
        check(bits(leaf, A | D), join("ad.", names[leaf], ".write-wp"), "one of the supervisor with WP clear does",
              bits_where);
    }
    pml4[LINEAR >> 39] = 0;
    WRITE_CR(3, pml4);
}

/* What else reads and writes. */
static void map_hole(Frame *f)
{
    map(A_HOLE, area_page, P | W | (f->cs & 3 ? U : 0));
}
AFTER(hole_none, !(*pte(A_HOLE) & (A | D)))
AFTER(hole_a, (*pte(A_HOLE) & (A | D)) == A)
AFTER(hole_ad, (*pte(A_HOLE) & (A | D)) == (A | D))
BEFORE(ldt_in_hole, *(u64 *)area_page = SEGMENT(0, 0xfffff, 0xc092); map(A_HOLE, area_page, P | W))
BEFORE(ldt_in_hole_accessed, *(u64 *)area_page = SEGMENT(0, 0xfffff, 0xc093); map(A_HOLE, area_page, P | W))
BEFORE(ldt_read_only, *(u64 *)area_page = SEGMENT(0, 0xfffff, 0xc092); map(A_HOLE, area_page, P))
BEFORE(two_pages, map(A_AREA + PAGE, code_page, P | W | U); map(A_AREA, area_page, P | W | U))
AFTER(two_dirty, (*pte(A_AREA) & D) && (*pte(A_AREA + PAGE) & D))
#define HOLE_AT "mov $A_HOLE, %ebx\n"
#define AD(id, text, mode, code, after_)                                                                               \
    CASE("ad." id, text, "SDM 3, 4.8", mode, HOLE_AT, code, NONE, .before = map_hole, .after = after_)
AD("cmp", "CMP reads", L3, "cmp %eax, (%rbx)", hole_a)
AD("cmpxchg", "CMPXCHG that does not exchange writes", L3, "mov $1, %eax\n cmpxchg %ecx, (%rbx)", hole_ad)
AD("cmpxchg8b", "CMPXCHG8B too", L3, "mov $1, %eax\n cmpxchg8b (%rbx)", hole_ad)
AD("cmpxchg16b", "CMPXCHG16B too", L3, "mov $1, %eax\n lock cmpxchg16b (%rbx)", hole_ad)
AD("xchg", "XCHG writes", L3, "xchg %eax, (%rbx)", hole_ad)
AD("bt", "BT reads", L3, "btl $1, (%rbx)", hole_a)
AD("bts", "BTS writes", L3, "btsl $1, (%rbx)", hole_ad)
AD("push", "PUSH", L3, "lea 0x100(%rbx), %rsp\n push %rax\n mov $STACK_TOP, %esp", hole_ad)
AD("pop", "POP reads", L3, "lea 0x100(%rbx), %rsp\n pop %rax\n mov $STACK_TOP, %esp", hole_a)
AD("movs", "the source of MOVS is read", L3, "mov %rbx, %rsi\n movsb", hole_a)
AD("stos", "STOS writes", L3, "mov %rbx, %rdi\n stosb", hole_ad)
AD("rep-none", "REP STOS with RCX 0 does not", L3, "mov %rbx, %rdi\n xor %ecx, %ecx\n rep stosb", hole_none)
AD("lea", "LEA does not touch memory", L3, "lea (%rbx), %rax", hole_none)
AD("fxsave", "FXSAVE", L3, "fxsave (%rbx)", hole_ad)
AD("movups", "a vector load", L3, "movups (%rbx), %xmm0", hole_a)
AD("movaps", "a vector store", L3, "movaps %xmm0, (%rbx)", hole_ad)
AD("movnti", "a non-temporal store", L3, "movnti %eax, (%rbx)", hole_ad)
AD("fst", "an x87 store", L3, "fninit\n fldz\n fstpl (%rbx)", hole_ad)
AD("sgdt", "SGDT", L3, "sgdt (%rbx)", hole_ad)
AD("setcc", "SETcc", L3, "setz (%rbx)", hole_ad)
AD("enter", "ENTER", L3, "lea 0x100(%rbx), %rsp\n enter $0, $0\n mov $STACK_TOP, %esp", hole_ad)
CASE("ad.gdt-read", "a descriptor's read sets A, and its accessed bit D", "SDM 3, 4.8", L0,
     "mov $S_T1, %eax\n lldt %ax\n mov $4, %eax", "mov %ax, %es", NONE, .t1 = SEGMENT(A_HOLE, 7, 0x82),
     .before = ldt_in_hole, .after = hole_ad)
CASE("ad.gdt-accessed", "which is not written when it is set already", "SDM 3, 3.4.5.1", L0,
     "mov $S_T1, %eax\n lldt %ax\n mov $4, %eax", "mov %ax, %es", NONE, .t1 = SEGMENT(A_HOLE, 7, 0x82),
     .before = ldt_in_hole_accessed, .after = hole_a)
CASE("ad.gdt-read-only", "one on a read-only page with its accessed bit clear is a page fault of a write", "SDM 3, 4.6",
     L0, "mov $S_T1, %eax\n lldt %ax\n mov $4, %eax", "mov %ax, %es", FAULT_E(14, 3), .t1 = SEGMENT(A_HOLE, 7, 0x82),
     .before = ldt_read_only)
CASE("ad.split", "a write on two pages sets D in both", "SDM 3, 4.8", L3, "", "mov %rax, 0xffc(%rdi)", NONE,
     .before = two_pages, .after = two_dirty)

/* --- stale entries --- */

#define READ_MAPPED(at) (*(volatile u32 *)(u64)(at))
GROUP(stale)
{
    static const char where[] = "SDM 3, 4.10.4.1";
    u64               other   = page();
    *(u32 *)other             = 0x22;

    build(PDE);
    *(u32 *)LARGE   = 0x11;
    u32 first       = READ_MAPPED(LINEAR);
    u32 far         = READ_MAPPED(LINEAR + 0x100000);
    *entries[PDE]   = (u64)entries[PTE] | P | W;
    entries[PTE][0] = other | P | W;
    invlpg(LINEAR + 0x100000);
    check(READ_MAPPED(LINEAR) == 0x22 && first == 0x11, "stale.2m-split",
          "INVLPG of any address in a 2 MiB page drops all of it", where);
    (void)far;
    build(PTE);
    *(u32 *)frame  = 0x11;
    first          = READ_MAPPED(LINEAR);
    u64 second     = page();
    *(u64 *)second = other | P | W;
    *entries[PDE]  = second | P | W;
    invlpg(LINEAR + 0x5000);
    invlpg(LINEAR);
    check(READ_MAPPED(LINEAR) == 0x22 && first == 0x11, "stale.pde", "INVLPG drops what was read from upper levels",
          where);
    build(PTE);
    first         = READ_MAPPED(LINEAR);
    *entries[PDE] = second | P | W;
    WRITE_CR(3, pml4);
    check(READ_MAPPED(LINEAR) == 0x22, "stale.pde-cr3", "so does MOV to CR3", where);

    WRITE_CR(4, saved_cr4 | CR4_PGE);
    build(PTE);
    *(u32 *)frame = 0x11;
    *entries[PTE] |= G;
    WRITE_CR(3, pml4);
    first         = READ_MAPPED(LINEAR);
    *entries[PTE] = other | P | W | G;
    WRITE_CR(4, saved_cr4);
    check(READ_MAPPED(LINEAR) == 0x22 && first == 0x11, "stale.global-pge", "a change of CR4.PGE drops global entries",
          where);
    *entries[PTE] = frame | P | W | G;
    WRITE_CR(4, saved_cr4 | CR4_PGE);
    first         = READ_MAPPED(LINEAR);
    *entries[PTE] = other | P | W | G;
    invlpg(LINEAR);
    check(READ_MAPPED(LINEAR) == 0x22 && first == 0x11, "stale.global-invlpg", "INVLPG does, too", where);
    if (offered(7, EBX, 20)) {
        *entries[PTE] = frame | P | W | G;
        invlpg(LINEAR);
        first         = READ_MAPPED(LINEAR);
        *entries[PTE] = other | P | W | G;
        WRITE_CR(4, saved_cr4 | CR4_PGE | CR4_SMEP);
        WRITE_CR(4, saved_cr4 | CR4_PGE);
        check(READ_MAPPED(LINEAR) == 0x22, "stale.smep", "setting CR4.SMEP drops everything", where);
    }
    *entries[PTE] = 0;
    WRITE_CR(4, saved_cr4);
    WRITE_CR(3, pml4);
    *entries[PTE] = other | P | W;
    check(READ_MAPPED(LINEAR) == 0x22, "stale.absent", "absent entries are not kept", "SDM 3, 4.10.2.3");

    /* More rights than before need no INVLPG: the fault drops the entry, and the retry sees it. */
    Frame f;
    build(PTE);
    *entries[PTE] &= ~(u64)W;
    invlpg(LINEAR);
    first = READ_MAPPED(LINEAR);
    *entries[PTE] |= W;
    unsigned vector = access(L0, WRITES, LINEAR, &f);
    if (vector == 14) {
        vector = access(L0, WRITES, LINEAR, &f);
    }
    check(vector == 3, "stale.rights", "more rights are seen without INVLPG, at the latest behind a page fault", where);
    build(PTE);
    *entries[PTE] |= NX;
    invlpg(LINEAR);
    access(L0, FETCHES, LINEAR, &f);
    *entries[PTE] &= ~NX;
    vector = access(L0, FETCHES, LINEAR, &f);
    if (vector == 14) {
        vector = access(L0, FETCHES, LINEAR, &f);
    }
    check(vector == 3, "stale.rights-fetch", "for fetches too", where);
    build(PTE);
    access(L3, WRITES, LINEAR, &f);
    *entries[PTE] &= ~(u64)D;
    invlpg(LINEAR);
    access(L3, WRITES, LINEAR, &f);
    check(*entries[PTE] & D, "stale.dirty", "D is set again behind INVLPG", "SDM 3, 4.8");
    pml4[LINEAR >> 39] = 0;
    WRITE_CR(3, pml4);
    vector = access(L0, READS, LINEAR, &f);
    check(vector == 14 && f.error == 0, "stale.pml4e", "an absent PML4E is seen behind MOV to CR3", where);
}

/* --- what INVPCID drops --- */

typedef struct InvpcidCase {
    const char *id, *text;
    u8          type, pcid;
    bool        global; /* the entry */
} InvpcidCase;
GROUP(invpcid)
{
    static const InvpcidCase rows[] = {
        { "invpcid.address", "type 0 drops an address of another PCID", 0, 5, false },
        { "invpcid.context", "type 1 all of a PCID", 1, 5, false },
        { "invpcid.all-global", "type 2 everything", 2, 0, true },
        { "invpcid.all", "type 3 all that is not global", 3, 0, false },
    };
    if (!offered(1, ECX, 17) || !offered(7, EBX, 10)) {
        return;
    }
    u64 other     = page();
    *(u32 *)other = 0x22;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const InvpcidCase *r = &rows[i];
        build(PTE);
        *(u32 *)frame = 0x11;
        *entries[PTE] |= r->global ? G : 0;
        WRITE_CR(4, saved_cr4 | CR4_PCIDE | CR4_PGE);
        WRITE_CR(3, (u64)pml4 | 5);
        u32 first     = READ_MAPPED(LINEAR);
        *entries[PTE] = other | P | W | (r->global ? G : 0);
        WRITE_CR(3, (u64)pml4 | 1);
        struct {
            u64 pcid, address;
        } what = { r->pcid, r->type ? 0 : LINEAR };
        __asm__ volatile("invpcid %0, %1" : : "m"(what), "r"((u64)r->type) : "memory");
        WRITE_CR(3, (u64)pml4 | 5 | 1ull << 63);
        check(READ_MAPPED(LINEAR) == 0x22 && first == 0x11, r->id, r->text, "SDM 2, INVPCID");
        WRITE_CR(3, (u64)pml4);
        WRITE_CR(4, saved_cr4);
    }
    WRITE_CR(4, saved_cr4 | CR4_PCIDE);
    WRITE_CR(3, (u64)pml4 | 5 | 1ull << 63);
    check(READ_CR(3) == ((u64)pml4 | 5), "pcid.bit-63", "bit 63 of CR3 is not kept", "SDM 3, 4.10.4.1");
    WRITE_CR(4, saved_cr4);
    check(READ_CR(3) == ((u64)pml4 | 5), "pcid.off", "clearing PCIDE leaves CR3 as it is", "SDM 3, 4.10.1");
    WRITE_CR(3, (u64)pml4);
    pml4[LINEAR >> 39] = 0;
    WRITE_CR(3, pml4);
}
CASE("pcid.cr3-63", "bit 63 of CR3 without PCIDE is #GP(0)", "SDM 2, MOV", L0, "mov %cr3, %rax\n bts $63, %rax",
     "mov %rax, %cr3", GP(0))
