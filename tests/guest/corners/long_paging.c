/* Long mode: what page tables allow, SMEP, SMAP, XD, reserved bits, PCID, and accesses on two pages. */

#include "check.h"

/* --- SMEP, SMAP, NX, reserved bits, PCID --- */

BEFORE(smep, map(A_HOLE, area_page, P | W | U); WRITE_CR(4, saved_cr4 | CR4_SMEP))
BEFORE(smap, map(A_HOLE, area_page, P | W | U); WRITE_CR(4, saved_cr4 | CR4_SMAP))
BEFORE(smap_ac, smap(f); f->rflags |= AC)
BEFORE(nx, map(A_HOLE, area_page, P | W | U | NX))
BEFORE(nx_off, map(A_HOLE, area_page, P | W | U | NX); wrmsr(EFER, saved_efer & ~0x800ull))
BEFORE(reserved51, map(A_HOLE, area_page | 1ull << 51, P | W | U))
BEFORE(ignored52, map(A_HOLE, area_page | 1ull << 52 | 0xe00, P | W | U))
CASE("smep.fetch", "a fetch from a user page in ring 0 is error 11h", "SDM 3, 4.6", L0, "mov $A_HOLE, %eax",
     "jmp *%rax", .vector = 14, .error = 0x11, .at = AT_ANY, .check_cr2 = true, .address = A_HOLE, .before = smep)
CASE("smap.read", "a read of a user page in ring 0 is error 1", "SDM 3, 4.6", L0, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", PAGE_FAULT(1, A_HOLE), .before = smap)
CASE("smap.write", "a write is error 3", "SDM 3, 4.6", L0, "mov $A_HOLE, %ecx", "mov %eax, (%rcx)",
     PAGE_FAULT(3, A_HOLE), .before = smap)
CASE("smap.ac", "with AC it is allowed", "SDM 3, 4.6", L0, "mov $A_HOLE, %ecx", "mov (%rcx), %eax", NONE,
     .before = smap_ac)
CASE("smap.stac", "STAC and CLAC", "SDM 2, STAC", L0, "mov $A_HOLE, %ecx\n stac\n mov (%rcx), %eax\n clac",
     "mov (%rcx), %eax", PAGE_FAULT(1, A_HOLE), .before = smap)
CASE("smap.popf", "POPF changes it as well", "SDM 3, 4.6", L0,
     "mov $A_HOLE, %ecx\n push $0x40002\n popfq\n mov (%rcx), %eax\n push $2\n popfq", "mov (%rcx), %eax",
     PAGE_FAULT(1, A_HOLE), .before = smap)
CASE("nx.fetch", "a fetch of a page with XD is error 15h in ring 3", "SDM 3, 4.7", L3, "mov $A_HOLE, %eax", "jmp *%rax",
     .vector = 14, .error = 0x15, .at = AT_ANY, .check_cr2 = true, .address = A_HOLE, .before = nx)
CASE("nx.read", "a read is fine", "SDM 3, 4.6", L3, "mov $A_HOLE, %ecx", "mov (%rcx), %eax", NONE, .before = nx)
CASE("nx.reserved", "without NXE bit 63 is reserved: error 0Dh", "SDM 3, table 4-20", L3, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", PAGE_FAULT(0xd, A_HOLE), .before = nx_off)
CASE("rsvd.bit51", "a reserved address bit: error 0Dh", "SDM 3, table 4-20", L3, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", PAGE_FAULT(0xd, A_HOLE), .before = reserved51)
CASE("rsvd.write", "on a write 0Fh", "SDM 3, 4.7", L3, "mov $A_HOLE, %ecx", "mov %eax, (%rcx)", PAGE_FAULT(0xf, A_HOLE),
     .before = reserved51)
CASE("rsvd.ignored", "bits 9 to 11 and 52 to 58 are ignored", "SDM 3, table 4-20", L3, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", NONE, .before = ignored52)
CASE("split.fault", "an access on two pages writes nothing when the second faults", "SDM 3, 4.7", L3, "mov $-1, %rax",
     "mov %rax, 0xffc(%rdi)", PAGE_FAULT(6, A_AREA + PAGE))
AFTER(not_written, *(u32 *)(area_page + 0xffc) == 0)
CASE("split.not-written", "the first page is as it was", "SDM 3, 6.5", L3, "mov $-1, %rax", "mov %rax, 0xffc(%rdi)",
     PAGE_FAULT(6, A_AREA + PAGE), .after = not_written)
CASE("split.push", "a push on two pages", "SDM 3, 6.5", L3, "lea 0x1004(%rdi), %rsp\n mov $-1, %rax", "push %rax",
     PAGE_FAULT(6, A_AREA + PAGE), .after = not_written)
CASE("split.lock", "a locked one", "SDM 3, 9.1.2.2", L3, "mov $-1, %rax", "lock xadd %rax, 0xffc(%rdi)",
     PAGE_FAULT(6, A_AREA + PAGE), .after = not_written)
CASE("split.xsave", "XSAVE at a bad alignment is #GP(0)", "SDM 2, XSAVE", L3, "mov $7, %eax\n xor %edx, %edx",
     "xsave 8(%rdi)", GP(0))
CASE("split.xrstor-header", "XRSTOR with reserved header bits is #GP(0)", "SDM 2, XRSTOR", L3,
     "mov $7, %eax\n xor %edx, %edx\n movl $0x80, 0x210(%rdi)", "xrstor (%rdi)", GP(0))
CASE("xsetbv.ring3", "XSETBV in ring 3 is #GP(0)", "SDM 2, XSETBV", L3,
     "xor %ecx, %ecx\n mov $7, %eax\n xor %edx, %edx", "xsetbv", GP(0))
CASE("xsetbv.x87", "XCR0 without x87 is #GP(0)", "SDM 2, XSETBV", L0, "xor %ecx, %ecx\n mov $2, %eax\n xor %edx, %edx",
     "xsetbv", GP(0))
CASE("xsetbv.avx-sse", "AVX without SSE is #GP(0)", "SDM 2, XSETBV", L0,
     "xor %ecx, %ecx\n mov $5, %eax\n xor %edx, %edx", "xsetbv", GP(0))
CASE("xsetbv.index", "XCR1 is #GP(0)", "SDM 2, XSETBV", L0, "mov $1, %ecx\n mov $7, %eax\n xor %edx, %edx", "xsetbv",
     GP(0))
CASE("mxcsr.reserved", "LDMXCSR with reserved bits is #GP(0)", "SDM 2, LDMXCSR", L3, "movl $0x80001f80, (%rdi)",
     "ldmxcsr (%rdi)", GP(0))
CASE("sse.align", "MOVAPS at 8 is #GP(0)", "SDM 2, MOVAPS", L3, "", "movaps 8(%rdi), %xmm0", GP(0))

static bool has_pcid(void)
{
    return cpuid(1, 0).c >> 17 & 1;
}
static u64 second_pml4;
GROUP(pcid)
{
    if (!has_pcid()) {
        return;
    }
    if (!second_pml4) {
        second_pml4 = page();
    }
    u64 a = page(), b = page();
    *(u32 *)a = 0x11;
    *(u32 *)b = 0x22;
    memcpy((void *)second_pml4, pml4, PAGE);
    volatile u32 *hole = (volatile u32 *)(u64)A_HOLE;
    map(A_HOLE, a, P | W);
    WRITE_CR(4, READ_CR(4) | CR4_PCIDE);
    u32 first    = *hole;
    *pte(A_HOLE) = b | P | W; /* no INVLPG: the entry of PCID 0 may be stale */
    WRITE_CR(3, second_pml4 | 5);
    check(*hole == 0x22, "pcid.other", "another PCID does not use the entries of PCID 0", "SDM 3, 4.10.1");
    *pte(A_HOLE) = a | P | W;
    invlpg(A_HOLE);
    check(*hole == 0x11, "pcid.invlpg", "INVLPG drops the entry of the current PCID", "SDM 3, 4.10.4.1");
    WRITE_CR(3, (u64)pml4);
    check(*hole == 0x11 && first == 0x11, "pcid.cr3", "MOV to CR3 with bit 63 clear drops the entries of the new PCID",
          "SDM 3, 4.10.4.1");
    *pte(A_HOLE) = b | P | W;
    struct {
        u64 pcid, address;
    } what = { 5, A_HOLE };
    if (cpuid(7, 0).b >> 10 & 1) {
        __asm__ volatile("invpcid %0, %1" : : "m"(what), "r"(2ull) : "memory");
        check(*hole == 0x22, "pcid.invpcid", "INVPCID of all contexts", "SDM 2, INVPCID");
    }
    WRITE_CR(4, READ_CR(4) & ~CR4_PCIDE);
    map(A_HOLE, 0, 0);
}
BEFORE(
    pcid_on, if (has_pcid()) { WRITE_CR(4, saved_cr4 | CR4_PCIDE); })
static bool has_invpcid(void)
{
    return offered(7, EBX, 10);
}
CASE("pcid.enable-nonzero", "CR4.PCIDE with CR3's low bits set is #GP(0)", "SDM 3, 4.10.1", L0,
     "mov %cr3, %rbx\n lea 8(%rbx), %rax\n mov %rax, %cr3\n mov %cr4, %rax\n bts $17, %rax", "mov %rax, %cr4\n", GP(0),
     .when = has_pcid)
CASE("pcid.invpcid-type", "INVPCID of type 4 is #GP(0)", "SDM 2, INVPCID", L0, "mov $4, %eax", "invpcid (%rdi), %rax",
     GP(0), .when = has_invpcid)
CASE("pcid.invpcid-reserved", "with reserved bits in the descriptor #GP(0)", "SDM 2, INVPCID", L0,
     "mov $2, %eax\n mov $1, %eax\n movl $0x1000, (%rdi)", "invpcid (%rdi), %rax", GP(0), .when = has_invpcid)
CASE("pcid.invpcid-canonical", "type 0 of an address that is not canonical #GP(0)", "SDM 2, INVPCID", L0,
     BAD "mov %rbx, 8(%rdi)\n xor %eax, %eax", "invpcid (%rdi), %rax", GP(0), .when = has_invpcid)
CASE("pcid.invpcid-ring3", "in ring 3 #GP(0)", "SDM 2, INVPCID", L3, "mov $2, %eax", "invpcid (%rdi), %rax", GP(0),
     .when = has_invpcid)
CASE("pcid.paging-off", "clearing PG with PCIDE from compatibility mode is #GP(0)", "SDM 2, MOV", C0,
     "mov %cr0, %eax\n and $0x7fffffff, %eax", "mov %eax, %cr0", GP(0), .before = pcid_on, .when = has_pcid)
