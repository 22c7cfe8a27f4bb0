/* ELF notes with the registers of vCPUs: NT_PRSTATUS as Linux's cores have it, and the note "QEMU" in which debuggers
 * (crash) look for control registers and descriptor tables. Machine lock held, vCPUs standing.
 * Specification: ELF-64 Object File Format 1.5, notes; Linux <sys/procfs.h>. */

#include "machine/dump_private.h"

#include "cpu/x86/segment.h"

#include <elf.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

static void add_note(GByteArray *notes, const char *name, uint32_t type, const void *data, size_t len)
{
    static const uint8_t zeros[4];
    size_t               name_len = strlen(name) + 1;
    Elf64_Nhdr           header   = { .n_namesz = (uint32_t)name_len, .n_descsz = (uint32_t)len, .n_type = type };
    g_byte_array_append(notes, (const uint8_t *)&header, sizeof header);
    g_byte_array_append(notes, (const uint8_t *)name, (guint)name_len);
    g_byte_array_append(notes, zeros, (guint)(-name_len & 3));
    g_byte_array_append(notes, data, (guint)len);
    g_byte_array_append(notes, zeros, (guint)(-len & 3));
}

void dump_add_prstatus(GByteArray *notes, const X86Cpu *cpu)
{
    const uint64_t         *r      = cpu->gpr;
    struct elf_prstatus     status = { .pr_pid = cpu->vcpu.index + 1 };
    struct user_regs_struct regs   = {
          .r15      = r[X86_R15],
          .r14      = r[X86_R14],
          .r13      = r[X86_R13],
          .r12      = r[X86_R12],
          .rbp      = r[X86_RBP],
          .rbx      = r[X86_RBX],
          .r11      = r[X86_R11],
          .r10      = r[X86_R10],
          .r9       = r[X86_R9],
          .r8       = r[X86_R8],
          .rax      = r[X86_RAX],
          .rcx      = r[X86_RCX],
          .rdx      = r[X86_RDX],
          .rsi      = r[X86_RSI],
          .rdi      = r[X86_RDI],
          .orig_rax = 0,
          .rip      = cpu->rip,
          .rsp      = r[X86_RSP],
          .eflags   = x86_get_eflags(cpu),
          .cs       = cpu->seg[X86_CS].selector,
          .ss       = cpu->seg[X86_SS].selector,
          .ds       = cpu->seg[X86_DS].selector,
          .es       = cpu->seg[X86_ES].selector,
          .fs       = cpu->seg[X86_FS].selector,
          .gs       = cpu->seg[X86_GS].selector,
          .fs_base  = cpu->seg[X86_FS].base,
          .gs_base  = cpu->seg[X86_GS].base,
    };
    G_STATIC_ASSERT(sizeof regs == sizeof status.pr_reg);
    memcpy(&status.pr_reg, &regs, sizeof regs);
    add_note(notes, "CORE", NT_PRSTATUS, &status, sizeof status);
}

typedef struct NoteSegment {
    uint32_t selector, limit, flags, pad;
    uint64_t base;
} NoteSegment;

typedef struct NoteCpu {
    uint32_t    version, size;
    uint64_t    rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    uint64_t    r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t    rip, rflags;
    NoteSegment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
    uint64_t    cr[5];
    uint64_t    kernel_gs_base;
} NoteCpu;

static NoteSegment note_segment(const X86Segment *s)
{
    return (
        NoteSegment){ .selector = s->selector, .limit = s->limit, .flags = (uint32_t)s->attr << 8, .base = s->base };
}

void dump_add_state(GByteArray *notes, const X86Cpu *cpu)
{
    const uint64_t *r = cpu->gpr;
    NoteCpu         n = {
                .version        = 1,
                .size           = sizeof n,
                .rax            = r[X86_RAX],
                .rbx            = r[X86_RBX],
                .rcx            = r[X86_RCX],
                .rdx            = r[X86_RDX],
                .rsi            = r[X86_RSI],
                .rdi            = r[X86_RDI],
                .rsp            = r[X86_RSP],
                .rbp            = r[X86_RBP],
                .r8             = r[X86_R8],
                .r9             = r[X86_R9],
                .r10            = r[X86_R10],
                .r11            = r[X86_R11],
                .r12            = r[X86_R12],
                .r13            = r[X86_R13],
                .r14            = r[X86_R14],
                .r15            = r[X86_R15],
                .rip            = cpu->rip,
                .rflags         = x86_get_eflags(cpu),
                .cs             = note_segment(&cpu->seg[X86_CS]),
                .ds             = note_segment(&cpu->seg[X86_DS]),
                .es             = note_segment(&cpu->seg[X86_ES]),
                .fs             = note_segment(&cpu->seg[X86_FS]),
                .gs             = note_segment(&cpu->seg[X86_GS]),
                .ss             = note_segment(&cpu->seg[X86_SS]),
                .ldt            = note_segment(&cpu->ldt),
                .tr             = note_segment(&cpu->tr),
                .gdt            = { .limit = cpu->gdt.limit, .base = cpu->gdt.base },
                .idt            = { .limit = cpu->idt.limit, .base = cpu->idt.base },
                .cr             = { cpu->cr0, 0, cpu->cr2, cpu->cr3, cpu->cr4 },
                .kernel_gs_base = cpu->kernel_gs_base,
    };
    add_note(notes, "QEMU", 0, &n, sizeof n);
}
