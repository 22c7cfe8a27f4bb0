/* Paging in legacy modes (32-bit, PSE, PAE), and control registers, MSRs and SMM. */

#include "check.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100, FRAME0 = 0x90000, FRAME1 = 0x91000 };
#define PAGE1 "A_WINDOW+0x1000"

static void map1(u32 entry)
{
    *pte(A_WINDOW + 0x1000) = entry;
    *mem32(FRAME0)          = 0x11;
    *mem32(FRAME1)          = 0x22;
    invlpg(A_WINDOW + 0x1000);
}
static void map_pde(u32 pde, u32 entry)
{
    map1(entry);
    page_directory[A_WINDOW >> 22] = (u32)window_table | pde;
    WRITE_CR(3, page_directory);
}
#define WP_OFF WRITE_CR(0, READ_CR(0) & ~0x10000u)
BEFORE(absent, map1(0))
BEFORE(absent_all_ones, map1(0xfffffffe))
BEFORE(user_rw, map1(FRAME0 | P | W | U))
BEFORE(user_ro, map1(FRAME0 | P | U))
BEFORE(super_rw, map1(FRAME0 | P | W))
BEFORE(user_ro_wp0, map1(FRAME0 | P | U); WP_OFF)
BEFORE(super_ro_wp0, map1(FRAME0 | P); WP_OFF)
BEFORE(pde_super, map_pde(P | W, FRAME0 | P | W | U))
BEFORE(pde_ro, map_pde(P | U, FRAME0 | P | W | U))
BEFORE(pde_absent, map_pde(W | U, FRAME0 | P | W | U))
AFTER(bits_none, (*pte(A_WINDOW + 0x1000) & (A | D)) == 0)
AFTER(bits_a, (*pte(A_WINDOW + 0x1000) & (A | D)) == A)
AFTER(bits_ad, (*pte(A_WINDOW + 0x1000) & (A | D)) == (A | D))
AFTER(pde_a, (page_directory[A_WINDOW >> 22] & A) != 0)

CASE("page.absent-read", "a read of an absent page by the user: error 4", "SDM 3, 4.7", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(4, A_WINDOW + 0x1000), .before = absent)
CASE("page.absent-write", "a write: 6", "SDM 3, 4.7", R3, "", "mov %eax, " PAGE1, PAGE_FAULT(6, A_WINDOW + 0x1000),
     .before = absent)
CASE("page.absent-super", "by the supervisor: 0", "SDM 3, 4.7", R0, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(0, A_WINDOW + 0x1000), .before = absent)
CASE("page.absent-bits", "other bits of an absent entry mean nothing", "SDM 3, 4.7", R0, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(0, A_WINDOW + 0x1000), .before = absent_all_ones)
CASE("page.super-by-user", "a supervisor page by the user: 5", "SDM 3, 4.7", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(5, A_WINDOW + 0x1000), .before = super_rw)
CASE("page.ro-by-user", "a write to a read-only page by the user: 7", "SDM 3, 4.7", R3, "", "mov %eax, " PAGE1,
     PAGE_FAULT(7, A_WINDOW + 0x1000), .before = user_ro)
CASE("page.ro-by-super", "by the supervisor with WP: 3", "SDM 3, 4.6.1", R0, "", "mov %eax, " PAGE1,
     PAGE_FAULT(3, A_WINDOW + 0x1000), .before = user_ro)
CASE("page.ro-wp-clear", "without WP the supervisor writes", "SDM 3, 4.6.1", R0, "", "mov %eax, " PAGE1, NONE,
     .before = user_ro_wp0, .after = bits_ad)
CASE("page.ro-wp-clear-super", "supervisor pages too", "SDM 3, 4.6.1", R0, "", "mov %eax, " PAGE1, NONE,
     .before = super_ro_wp0)
CASE("page.ro-wp-clear-user", "the user does not, without WP either", "SDM 3, 4.6.1", R3, "", "mov %eax, " PAGE1,
     PAGE_FAULT(7, A_WINDOW + 0x1000), .before = user_ro_wp0)
CASE("page.pde-super", "rights are those of all levels: U", "SDM 3, 4.6", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(5, A_WINDOW + 0x1000), .before = pde_super)
CASE("page.pde-ro", "and W", "SDM 3, 4.6", R3, "", "mov %eax, " PAGE1, PAGE_FAULT(7, A_WINDOW + 0x1000),
     .before = pde_ro)
CASE("page.pde-absent", "an absent directory entry", "SDM 3, 4.7", R3, "", "mov %eax, " PAGE1,
     PAGE_FAULT(6, A_WINDOW + 0x1000), .before = pde_absent)
CASE("page.accessed", "a read sets A in both levels, not D", "SDM 3, 4.8", R0, "", "mov " PAGE1 ", %eax", NONE,
     .before = user_rw, .after = bits_a)
CASE("page.accessed-pde", "in the directory", "SDM 3, 4.8", R0, "", "mov " PAGE1 ", %eax", NONE, .before = pde_ro,
     .after = pde_a)
CASE("page.dirty", "a write sets A and D", "SDM 3, 4.8", R0, "", "mov %eax, " PAGE1, NONE, .before = user_rw,
     .after = bits_ad)
CASE("page.dirty-later", "a write after a read sets D", "SDM 3, 4.8", R0, "mov " PAGE1 ", %eax", "mov %eax, " PAGE1,
     NONE, .before = user_rw, .after = bits_ad)
CASE("page.dirty-fault", "an access that faults sets nothing in the last level", "SDM 3, 4.8", R3, "",
     "mov %eax, " PAGE1, PAGE_FAULT(7, A_WINDOW + 0x1000), .before = user_ro, .after = bits_none)
CASE("page.dirty-cmpxchg", "CMPXCHG that does not exchange writes, and sets D", "SDM 2, CMPXCHG", R0,
     "mov $0x5555, %eax", "lock cmpxchg %ecx, " PAGE1, NONE, .before = user_rw, .after = bits_ad)
CASE("page.dirty-call", "the access by a PUSH", "SDM 3, 4.8", R3, "mov $" PAGE1 "+0x100, %esp",
     "push %eax\n mov $A_STACK, %esp", NONE, .before = user_rw, .after = bits_ad)
CASE("page.fetch", "a fetch of an absent page: error 4, without NX", "SDM 3, 4.7", R3, "", "jmp " PAGE1, .vector = 14,
     .error = 4, .at = AT_ANY, .check_cr2 = true, .address = A_WINDOW + 0x1000, .before = absent)
CASE("page.fetch-super", "a fetch from a supervisor page by the user: 5", "SDM 3, 4.7", R3, "", "jmp " PAGE1,
     .vector = 14, .error = 5, .at = AT_ANY, .check_cr2 = true, .address = A_WINDOW + 0x1000, .before = super_rw)
CASE("page.split-second", "an access on two pages: CR2 is in the second when that one is absent", "SDM 3, 4.7", R3, "",
     "mov " PAGE1 "+0xffe, %eax", PAGE_FAULT(4, A_WINDOW + 0x2000), .before = user_rw)
CASE("page.split-first", "and the access's address when the first one is", "SDM 3, 4.7", R3, "",
     "mov " PAGE1 "-2, %eax", PAGE_FAULT(4, A_WINDOW + 0xffe), .before = user_rw)
CASE("page.implicit", "descriptor reads are supervisor reads, also from ring 3", "SDM 3, 4.6", R3, "",
     "mov $S_T1+3, %eax\n mov %ax, %fs", NONE, .t1 = SEGMENT(0, 0xfffff, 0xc0f3))
CASE("page.implicit-gdt", "a fault on the GDT: error 0", "SDM 3, 4.7", R3, "", "mov $0xb8, %eax\n mov %ax, %fs",
     .vector = 13, .error = 0xb8, .at = AT_ANY)

/* --- stale entries --- */

CASE("tlb.invlpg", "INVLPG makes a changed entry visible", "SDM 3, 4.10.4.1", R0,
     "mov " PAGE1 ", %eax\n movl $0x91007, window_table+4\n invlpg " PAGE1, "mov " PAGE1 ", %eax", VALUE(0x22),
     .before = user_rw)
CASE("tlb.cr3", "so does MOV to CR3", "SDM 3, 4.10.4.1", R0,
     "mov " PAGE1 ", %eax\n movl $0x91007, window_table+4\n mov %cr3, %eax\n mov %eax, %cr3", "mov " PAGE1 ", %eax",
     VALUE(0x22), .before = user_rw)
CASE("tlb.cr0", "MOV to CR0 that changes PG", "SDM 3, 4.10.4.1", R0,
     "mov " PAGE1 ", %eax\n movl $0x91007, window_table+4\n mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n "
     "or $0x80000000, %eax\n mov %eax, %cr0",
     "mov " PAGE1 ", %eax", VALUE(0x22), .before = user_rw)
CASE("tlb.cr4-pse", "MOV to CR4 that changes PGE", "SDM 3, 4.10.4.1", R0,
     "mov " PAGE1 ", %eax\n movl $0x91007, window_table+4\n mov %cr4, %eax\n xor $0x80, %eax\n mov %eax, %cr4\n xor "
     "$0x80, %eax\n mov %eax, %cr4",
     "mov " PAGE1 ", %eax", VALUE(0x22), .before = user_rw)
CASE("tlb.page-fault", "a page fault drops the entry: more rights are seen at once", "SDM 3, 4.10.4.1", R0,
     "mov " PAGE1 ", %eax\n orl $2, window_table+4", "mov %eax, " PAGE1, NONE, .before = user_ro)
CASE("tlb.absent-not-cached", "what was absent may be mapped without INVLPG", "SDM 3, 4.10.2.3", R0,
     "movl $0x90007, window_table+4", "mov " PAGE1 ", %eax", VALUE(0x11), .before = absent)
BEFORE(global, map1(FRAME0 | P | W | U | G); WRITE_CR(4, READ_CR(4) | 0x80); WRITE_CR(3, page_directory))
CASE("tlb.global-invlpg", "INVLPG drops global entries", "SDM 3, 4.10.4.1", R0,
     "mov " PAGE1 ", %eax\n movl $0x91107, window_table+4\n invlpg " PAGE1, "mov " PAGE1 ", %eax", VALUE(0x22),
     .before = global)
CASE("tlb.global-cr4", "and so does a change of PGE", "SDM 3, 4.10.4.1", R0,
     "mov " PAGE1 ", %eax\n movl $0x91107, window_table+4\n mov %cr4, %eax\n xor $0x80, %eax\n mov %eax, %cr4",
     "mov " PAGE1 ", %eax", VALUE(0x22), .before = global)
CASE("tlb.invlpg-ring3", "INVLPG in ring 3 is #GP(0)", "SDM 2, INVLPG", R3, "", "invlpg 0", GP(0))
CASE("tlb.invlpg-register", "INVLPG of a register is #UD", "SDM 2, INVLPG", R0, "", ".byte 0x0f, 1, 0xff", UD)

/* --- PSE --- */

static void pse(u32 entry)
{
    page_directory[A_WINDOW >> 22] = entry;
    WRITE_CR(3, page_directory);
}
BEFORE(pse_reserved, pse(P | W | U | PS | 1 << 21))
BEFORE(pse_plain, pse(P | W | U | PS); *mem32(0x1000) = 0x77)
AFTER(pse_ad, (page_directory[A_WINDOW >> 22] & (A | D)) == (A | D))
CASE("pse.reserved", "bit 21 of a 4 MiB page is reserved: error 0Dh", "SDM 3, table 4-4", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(0xd, A_WINDOW + 0x1000), .before = pse_reserved)
CASE("pse.reads", "a 4 MiB page", "SDM 3, 4.3", R3, "", "mov " PAGE1 ", %eax", VALUE(0x77), .before = pse_plain)
CASE("pse.dirty", "its entry has A and D", "SDM 3, 4.8", R3, "", "mov %eax, " PAGE1 "+0x700", NONE, .before = pse_plain,
     .after = pse_ad)

/* --- PAE --- */

static u64 pdpt[4] __attribute__((aligned(32)));
static u64 pds[4][512] __attribute__((aligned(4096)));
static u64 pae_table[512] __attribute__((aligned(4096)));

/* The same map as ever in PAE's format; the window's second page is `entry`. */
static void pae(u64 entry)
{
    for (u32 i = 0; i < 2048; i++) {
        pds[i >> 9][i & 511] = (u64)i << 21 | 0x87;
    }
    for (u32 i = 0; i < 4; i++) {
        pdpt[i] = (u32)pds[i] | 1;
    }
    pds[1][0]      = (u32)pae_table | 7;
    pae_table[1]   = entry;
    *mem32(FRAME0) = 0x11;
    *mem32(FRAME1) = 0x22;
    WRITE_CR(0, READ_CR(0) & 0x7fffffff);
    WRITE_CR(3, pdpt);
    WRITE_CR(4, READ_CR(4) | 0x20);
    WRITE_CR(0, READ_CR(0) | 0x80000000);
}
#define NXE    wrmsr(0xc0000080, 0x800)
#define NX_BIT (1ull << 63)
BEFORE(pae_plain, pae(FRAME0 | 7))
BEFORE(pae_reserved, pae(1ull << 52 | FRAME0 | 7))
BEFORE(pae_phys, pae(1ull << 51 | FRAME0 | 7))
BEFORE(pae_nx_off, pae(NX_BIT | FRAME0 | 7))
BEFORE(pae_nx, NXE; pae(NX_BIT | FRAME0 | 7); *mem32(FRAME0) = 0xcccccccc)
BEFORE(pae_large_reserved, pae(FRAME0 | 7); pds[1][0] = 0x2000 | 0x87; WRITE_CR(3, pdpt))
BEFORE(pae_pdpte_absent, pae(FRAME0 | 7); pdpt[1] &= ~1ull; WRITE_CR(3, pdpt))
AFTER(nxe_off, (wrmsr(0xc0000080, 0), true))
CASE("pae.reads", "PAE paging", "SDM 3, 4.4", R3, "", "mov " PAGE1 ", %eax", VALUE(0x11), .before = pae_plain)
CASE("pae.reserved", "bits 52 to 62 are reserved: error 0Dh", "SDM 3, table 4-11", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(0xd, A_WINDOW + 0x1000), .before = pae_reserved)
CASE("pae.phys-bits", "and address bits that the processor does not have", "SDM 3, table 4-11", R3, "",
     "mov " PAGE1 ", %eax", PAGE_FAULT(0xd, A_WINDOW + 0x1000), .before = pae_phys)
CASE("pae.nx-off", "bit 63 without EFER.NXE", "SDM 3, table 4-11", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(0xd, A_WINDOW + 0x1000), .before = pae_nx_off)
CASE("pae.nx-read", "with NXE it forbids fetches: a read is fine", "SDM 3, 4.6", R3, "", "mov " PAGE1 ", %eax",
     VALUE(0xcccccccc), .before = pae_nx, .after = nxe_off)
CASE("pae.nx-fetch", "a fetch is error 15h", "SDM 3, 4.7", R3, "", "jmp " PAGE1, .vector = 14, .error = 0x15,
     .at = AT_ANY, .check_cr2 = true, .address = A_WINDOW + 0x1000, .before = pae_nx, .after = nxe_off)
CASE("pae.large-reserved", "a 2 MiB page's bits 13 to 20", "SDM 3, table 4-9", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(0xd, A_WINDOW + 0x1000), .before = pae_large_reserved)
CASE("pae.pdpte-absent", "an absent PDPTE", "SDM 3, 4.4.1", R3, "", "mov " PAGE1 ", %eax",
     PAGE_FAULT(4, A_WINDOW + 0x1000), .before = pae_pdpte_absent)
CASE("pae.pdpte-cached", "PDPTEs are read by MOV to CR3 only", "SDM 3, 4.4.1", R0,
     "movl $0, pae_pdpt+8\n invlpg " PAGE1, "mov " PAGE1 ", %eax", VALUE(0x11), .before = pae_plain)
CASE("pae.pdpte-loaded", "which sees the change", "SDM 3, 4.4.1", R0,
     "movl $0, pae_pdpt+8\n mov %cr3, %eax\n mov %eax, %cr3", "mov " PAGE1 ", %eax", PAGE_FAULT(0, A_WINDOW + 0x1000),
     .before = pae_plain)
CASE("pae.pdpte-reserved", "MOV to CR3 with a reserved bit set in a PDPTE is #GP(0)", "SDM 3, 4.4.1", R0,
     "orl $2, pae_pdpt+8\n mov %cr3, %eax", "mov %eax, %cr3", GP(0), .before = pae_plain)
CASE("pae.pdpte-reserved-absent", "unless that one is absent", "SDM 3, 4.4.1", R0,
     "movl $2, pae_pdpt+8\n mov %cr3, %eax", "mov %eax, %cr3", NONE, .before = pae_plain)
CASE("pae.pdpte-cr4", "MOV to CR4 that changes PGE loads them too", "SDM 3, 4.4.1", R0,
     "orl $2, pae_pdpt+8\n mov %cr4, %eax\n xor $0x80, %eax", "mov %eax, %cr4", GP(0), .before = pae_plain)
CASE("pae.pdpte-cr0", "and MOV to CR0 that changes CD", "SDM 3, 4.4.1", R0,
     "orl $2, pae_pdpt+8\n mov %cr0, %eax\n xor $0x40000000, %eax", "mov %eax, %cr0", GP(0), .before = pae_plain)
__asm__(".set pae_pdpt, pdpt");

/* --- control registers --- */

BEFORE(tsd, WRITE_CR(4, READ_CR(4) | 4))
BEFORE(
    umip, if (cpuid(7, 0).c & 4) { WRITE_CR(4, READ_CR(4) | 0x800); })
CASE("cr.pg-without-pe", "PG without PE is #GP(0)", "SDM 2, MOV", R0, "mov $0x80000010, %eax", "mov %eax, %cr0", GP(0))
CASE("cr.nw-without-cd", "NW without CD is #GP(0)", "SDM 2, MOV", R0, "mov $0xa0010033, %eax", "mov %eax, %cr0", GP(0))
CASE("cr.et", "ET reads as one", "SDM 3, 2.5", R0, "mov %cr0, %eax\n and $~0x10, %eax\n mov %eax, %cr0",
     "mov %cr0, %eax\n and $0x10, %eax", VALUE(0x10))
CASE("cr.reserved", "reserved bits of CR0 cannot be set", "SDM 3, 2.5", R0,
     "mov %cr0, %eax\n or $0x1ff8ff40, %eax\n and $~0x20000000, %eax\n mov %eax, %cr0",
     "mov %cr0, %eax\n and $0x1ffaffc0, %eax", VALUE(0))
CASE("cr.cr4-reserved", "reserved bits of CR4 are #GP(0)", "SDM 2, MOV", R0, "mov %cr4, %eax\n or $0x80000000, %eax",
     "mov %eax, %cr4", GP(0))
CASE("cr.pcide", "PCIDE outside of IA-32e mode is #GP(0)", "SDM 2, MOV", R0, "mov %cr4, %eax\n or $0x20000, %eax",
     "mov %eax, %cr4", GP(0))
CASE("cr.ring3", "MOV from CR0 in ring 3 is #GP(0)", "SDM 2, MOV", R3, "", "mov %cr0, %eax", GP(0))
CASE("cr.ring1", "and in ring 1", "SDM 2, MOV", R1, "", "mov %cr0, %eax", GP(0))
CASE("cr.lmsw-pe", "LMSW cannot clear PE", "SDM 2, LMSW", R0, "xor %eax, %eax\n lmsw %ax", "smsw %eax\n and $1, %eax",
     VALUE(1))
CASE("cr.lmsw-ts", "LMSW sets TS, EM and MP", "SDM 2, LMSW", R0, "mov $0xf, %eax\n lmsw %ax",
     "smsw %eax\n and $0xf, %eax\n clts", VALUE(0xf))
CASE("cr.smsw-32", "SMSW to a 32-bit register gives all of CR0", "SDM 2, SMSW", R0, "mov %cr0, %ecx",
     "smsw %eax\n sub %ecx, %eax", VALUE(0))
CASE("cr.tsd", "RDTSC in ring 3 with TSD is #GP(0)", "SDM 2, RDTSC", R3, "", "rdtsc", GP(0), .before = tsd)
CASE("cr.pce", "RDPMC in ring 3 without PCE is #GP(0)", "SDM 2, RDPMC", R3, "", "rdpmc", GP(0))
CASE("cr.hlt", "HLT in ring 3 is #GP(0)", "SDM 2, HLT", R3, "", "hlt", GP(0))
CASE("cr.wbinvd", "WBINVD in ring 3 is #GP(0)", "SDM 2, WBINVD", R3, "", "wbinvd", GP(0))
CASE("cr.lidt", "LIDT in ring 3 is #GP(0)", "SDM 2, LIDT", R3, "", "lidt A_AREA", GP(0))
CASE("cr.lgdt-register", "LGDT with a register is #UD", "SDM 2, LGDT", R0, "", ".byte 0x0f, 1, 0xd1", UD)
CASE("cr.lgdt-16", "LGDT with a 16-bit operand loads 24 bits of base", "SDM 2, LGDT", R0,
     "movw $0xaf, A_AREA\n movl $gdt, A_AREA+2\n movb $0x55, A_AREA+5",
     ".byte 0x66\n lgdt A_AREA\n sgdt A_AREA+0x10\n lgdt gdt_pointer\n movl A_AREA+0x12, %eax\n sub $gdt, %eax",
     VALUE(0))
CASE("cr.umip", "with UMIP SGDT in ring 3 is #GP(0)", "SDM 2, SGDT", R3, "", "sgdt A_AREA", GP(0), .before = umip)

/* --- MSRs --- */

CASE("msr.unknown-read", "RDMSR of what is not there is #GP(0)", "SDM 2, RDMSR", R0, "mov $0x12345678, %ecx", "rdmsr",
     GP(0))
CASE("msr.unknown-write", "so is WRMSR", "SDM 2, WRMSR", R0, "mov $0x12345678, %ecx", "wrmsr", GP(0))
CASE("msr.ring3", "RDMSR in ring 3 is #GP(0)", "SDM 2, RDMSR", R3, "mov $0x10, %ecx", "rdmsr", GP(0))
CASE("msr.pat-reserved", "a reserved type in PAT is #GP(0)", "SDM 3, 12.12.2", R0,
     "mov $0x277, %ecx\n mov $2, %eax\n xor %edx, %edx", "wrmsr", GP(0))
CASE("msr.pat-high", "in the upper half too", "SDM 3, 12.12.2", R0,
     "mov $0x277, %ecx\n xor %eax, %eax\n mov $0x08000000, %edx", "wrmsr", GP(0))
CASE("msr.pat-value", "PAT as at reset", "SDM 3, table 12-12", R0, "mov $0x277, %ecx", "rdmsr", VALUE(0x00070406))
CASE("msr.mtrr-type", "a reserved type in MTRRdefType is #GP(0)", "SDM 3, 12.11.2.1", R0,
     "mov $0x2ff, %ecx\n mov $2, %eax\n xor %edx, %edx", "wrmsr", GP(0))
CASE("msr.mtrr-fixed-type", "in a fixed-range MTRR", "SDM 3, 12.11.2.2", R0,
     "mov $0x250, %ecx\n mov $3, %eax\n xor %edx, %edx", "wrmsr", GP(0))
CASE("msr.mtrr-base-type", "in a base", "SDM 3, 12.11.2.3", R0, "mov $0x200, %ecx\n mov $7, %eax\n xor %edx, %edx",
     "wrmsr", GP(0))
CASE("msr.mtrr-base-reserved", "reserved bits of a base", "SDM 3, 12.11.2.3", R0,
     "mov $0x200, %ecx\n mov $0x100, %eax\n xor %edx, %edx", "wrmsr", GP(0))
CASE("msr.mtrr-mask-phys", "address bits that are not there", "SDM 3, 12.11.2.3", R0,
     "mov $0x201, %ecx\n mov $0x800, %eax\n mov $0xfff00000, %edx", "wrmsr", GP(0))
CASE("msr.mtrr-keeps", "an MTRR keeps its value", "SDM 3, 12.11.2.3", R0,
     "mov $0x202, %ecx\n mov $0x40000006, %eax\n xor %edx, %edx\n wrmsr\n xor %eax, %eax\n rdmsr", "nop",
     VALUE(0x40000006))
CASE("msr.mtrrcap-write", "MTRRCAP is read-only", "SDM 4, table 2-2", R0, "mov $0xfe, %ecx\n rdmsr", "wrmsr", GP(0))
CASE("msr.efer-reserved", "reserved bits of EFER are #GP(0)", "SDM 3, 2.2.1", R0,
     "mov $0xc0000080, %ecx\n xor %edx, %edx\n mov $0x2, %eax", "wrmsr", GP(0))
CASE("msr.efer-lma", "EFER.LMA is ignored or #GP(0): it does not change", "AMD APM 2, 3.1.7", R0,
     "mov $0xc0000080, %ecx\n rdmsr", "nop\n and $0x400, %eax", VALUE(0))
CASE("msr.sysenter-eip", "SYSENTER_EIP keeps 64 bits", "SDM 4, table 2-2", R0,
     "mov $0x176, %ecx\n mov $0x7fff, %edx\n mov $5, %eax\n wrmsr\n rdmsr\n mov %edx, %eax", "nop", VALUE(0x7fff))
CASE("msr.sysenter-canonical", "and must be canonical", "SDM 2, WRMSR", R0,
     "mov $0x176, %ecx\n mov $0x8000, %edx\n xor %eax, %eax", "wrmsr", GP(0))
CASE("msr.apic-base-reserved", "reserved bits of APIC_BASE are #GP(0)", "SDM 3, 11.4.4", R0,
     "mov $0x1b, %ecx\n rdmsr\n or $1, %eax", "wrmsr", GP(0))
CASE("msr.apic-base-phys", "address bits that are not there too", "SDM 3, 11.4.4", R0,
     "mov $0x1b, %ecx\n rdmsr\n or $0x80000000, %edx", "wrmsr", GP(0))
CASE("msr.mcg-cap", "MCG_CAP's count is at least 1", "SDM 3, 16.3.1.1", R0,
     "mov $0x179, %ecx\n rdmsr\n and $0xff, %eax\n mov $1, %ecx\n test %eax, %eax\n cmovnz %ecx, %eax", "nop", VALUE(1))
CASE("msr.mc-status-clear", "MC0_STATUS may be cleared", "SDM 3, 16.3.2.2", R0,
     "mov $0x401, %ecx\n xor %eax, %eax\n xor %edx, %edx", "wrmsr", NONE)
CASE("msr.mc-status-set", "and only cleared", "SDM 3, 16.3.2.2", R0, "mov $0x401, %ecx\n mov $1, %eax\n xor %edx, %edx",
     "wrmsr", GP(0))
CASE("msr.mcg-status", "MCG_STATUS's reserved bits are #GP(0)", "SDM 3, 16.3.1.2", R0,
     "mov $0x17a, %ecx\n mov $0x100, %eax\n xor %edx, %edx", "wrmsr", GP(0))
CASE("msr.tsc-write", "the TSC may be written", "SDM 3, 18.17.3", R0,
     "mov $0x10, %ecx\n mov $0x1000, %edx\n xor %eax, %eax\n wrmsr\n rdtsc\n mov %edx, %eax", "nop", VALUE(0x1000))

/* --- SYSENTER --- */

SNIPPET(sysenter_target, R0, "mov %cs, %eax\n shl $16, %eax\n mov %ss, %ecx\n add %ecx, %eax\n")
BEFORE(sysenter_set, wrmsr(0x174, S_CODE); wrmsr(0x175, A_STACK1); wrmsr(0x176, (u32)sysenter_target))
BEFORE(sysenter_null, wrmsr(0x174, 3))
AFTER(sysenter_clear, (wrmsr(0x174, 0), true))
CASE("sysenter.enters", "SYSENTER loads CS and SS from its MSR", "SDM 2, SYSENTER", R3, "", "sysenter", .vector = 3,
     .at = AT_ANY, .check_ax = true, .ax = S_CODE << 16 | S_DATA, .before = sysenter_set, .after = sysenter_clear)
CASE("sysenter.v86", "from virtual-8086 mode too", "SDM 2, SYSENTER", V86, "", "sysenter", .vector = 3, .at = AT_ANY,
     .check_ax = true, .ax = S_CODE << 16 | S_DATA, .before = sysenter_set, .after = sysenter_clear)
CASE("sysenter.null", "with a null CS #GP(0)", "SDM 2, SYSENTER", R3, "", "sysenter", GP(0), .before = sysenter_null)
CASE("sysenter.real", "in real mode #GP(0)", "SDM 2, SYSENTER", REAL, "", "sysenter", FAULT(13))
CASE("sysexit.ring3", "SYSEXIT in ring 3 is #GP(0)", "SDM 2, SYSEXIT", R3, "", "sysexit", GP(0), .before = sysenter_set,
     .after = sysenter_clear)

/* --- SMM: an SMI by the local APIC; SMBASE is 30000h, in plain RAM --- */

__asm__(".pushsection .rodata\n smm_code: .code16\n"
        "movl $0x5313d00d, %ds:0x9000\n"
        "movw %cs, %ds:0x9004\n"
        "movl %cr0, %eax\n movl %eax, %ds:0x9008\n"
        "movl %cr4, %eax\n movl %eax, %ds:0x900c\n"
        "pushfl\n popl %ds:0x9010\n"
        "movl %db7, %eax\n movl %eax, %ds:0x9014\n"
        "incl %ds:0x9018\n"
        "cmpl $0, %ds:0x901c\n je 1f\n"
        "movl %ds:0x901c, %eax\n movl %eax, %cs:0xff00\n movl $0, %ds:0x901c\n" /* SMBASE, AMD's area */
        "1: rsm\n smm_code_end: .code32\n .popsection");
extern const u8 smm_code[], smm_code_end[];
static void     smm(Frame *f)
{
    memcpy(mem32(A_SMBASE + 0x8000), smm_code, (size_t)(smm_code_end - smm_code));
    memset(mem32(0x9000), 0, 0x100);
}
static void smm_moves(Frame *f)
{
    smm(f);
    *mem32(0x901c) = 0x70000;
    memcpy(mem32(0x78000), smm_code, (size_t)(smm_code_end - smm_code));
}
static void smm_back(Frame *f)
{
    smm(f);
    *mem32(0x901c) = A_SMBASE;
    memcpy(mem32(0x78000), smm_code, (size_t)(smm_code_end - smm_code));
}
#define SEND_SMI "movl A_APIC+0x20, %ecx\n movl %ecx, A_APIC+0x310\n movl $0x4200, A_APIC+0x300\n nop\n nop\n nop\n"
AFTER(smm_seen, *mem32(0x9000) == 0x5313d00d && *mem32(0x9018) == 1)
AFTER(smm_cs, *mem16(0x9004) == A_SMBASE >> 4)
AFTER(smm_cr0, (*mem32(0x9008) & 0x8000000d) == 0 && *mem32(0x900c) == 0)
AFTER(smm_flags, *mem32(0x9010) == 2 && *mem32(0x9014) == 0x400)
AFTER(smm_moved, *mem32(0x9018) == 1)
AFTER(smm_new_base, *mem32(0x9018) == 1 && *mem16(0x9004) == 0x7000)
CASE("smm.enters", "an SMI runs code at SMBASE + 8000h, and RSM comes back", "SDM 3, 32.4", R0, "mov $0x1234, %eax",
     SEND_SMI, VALUE(0x1234), .before = smm, .after = smm_seen)
CASE("smm.cs", "CS is SMBASE / 16", "SDM 3, table 32-4", R0, "", SEND_SMI, NONE, .before = smm, .after = smm_cs)
CASE("smm.cr0", "PE, EM, TS and PG are clear, CR4 is 0", "SDM 3, table 32-4", R0, "", SEND_SMI, NONE, .before = smm,
     .after = smm_cr0)
CASE("smm.flags", "EFLAGS is 2, DR7 400h", "SDM 3, table 32-4", R0, "push $0xcd7\n popf", SEND_SMI, NONE, .before = smm,
     .after = smm_flags)
CASE("smm.keeps-flags", "RSM restores flags", "SDM 3, 32.4", R0, SEND_SMI "stc", SEND_SMI "setc %al", VALUE(1),
     .before = smm)
CASE("smm.v86", "RSM comes back to virtual-8086 mode", "SDM 3, 32.4", R0,
     SEND_SMI "push $0x4000\n push $0x4000\n push $0x4000\n push $0x4000\n push $0x4000\n push $0x100\n push "
              "$0x20002\n push $0x900\n push $0x80\n movl $0xccd88c, 0x9080",
     "movl $0x4200, A_APIC+0x300\n iret", .vector = 3, .at = AT_ANY, .check_ax = true, .ax = 0x4000, .before = smm)
CASE("smm.moves", "SMBASE can be moved in the save area", "SDM 3, 32.11", R0, "", SEND_SMI, NONE, .before = smm_moves,
     .after = smm_moved)
CASE("smm.moved", "the next SMI goes to the new one", "SDM 3, 32.11", R0, "", SEND_SMI, NONE, .before = smm_back,
     .after = smm_new_base)
CASE("smm.step", "TF set before: the trap comes after the instruction, not in SMM", "SDM 3, 32.8", R0, "push $0x102\n",
     "popf\n nop", TRAP(1), .before = smm)
