/* HMP: guest memory, I/O ports and expressions: x, xp, print, i, o, sum, gva2gpa ...
 * Layouts are those that tools which read QEMU's output know. */

#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"
#include "memory/dma.h"
#include "memory/ram.h"
#include "monitor/hmp_command.h"

#include "base/bytes.h"

#include <Zydis/Zydis.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { ROW = 16, PAGE = 4096, INSN_MAX = 15 };

/* --- numbers --- */

/* Widths of the columns, by size in bytes. */
static unsigned column_width(char format, unsigned size)
{
    switch (format) {
    case 'o': return (size * 8 + 2) / 3;
    case 'x': return 2 * size;
    default: return size == 8 ? 20 : (size * 8 * 10 + 32) / 33;
    }
}

static void print_character(Hmp *h, uint8_t c)
{
    hmp_print(h, "'");
    switch (c) {
    case '\n': hmp_print(h, "\\n"); break;
    case '\r': hmp_print(h, "\\r"); break;
    case '\'': hmp_print(h, "\\'"); break;
    case '\\': hmp_print(h, "\\\\"); break;
    default: hmp_print(h, c >= 32 && c < 127 ? "%c" : "\\x%02x", c); break;
    }
    hmp_print(h, "'");
}

static void print_item(Hmp *h, const HmpFormat *f, uint64_t value)
{
    int width = (int)column_width(f->format, f->size);
    hmp_print(h, " ");
    switch (f->format) {
    case 'o': hmp_print(h, "%#*" PRIo64, width, value); break;
    case 'x': hmp_print(h, "0x%0*" PRIx64, width, value); break;
    case 'u': hmp_print(h, "%*" PRIu64, width, value); break;
    case 'd': hmp_print(h, "%*" PRId64, width, (int64_t)value); break;
    case 'c': print_character(h, (uint8_t)value); break;
    default: g_assert_not_reached();
    }
}

/* --- x, xp --- */

/* All or nothing. */
static bool read_memory(X86Cpu *cpu, AddressSpace *as, bool physical, uint64_t addr, uint8_t *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        uint64_t at    = addr + done;
        size_t   chunk = MIN(len - done, PAGE - at % PAGE);
        if (!physical && !x86_debug_translate(cpu, at, &at)) {
            return false;
        }
        if (address_space_read(as, at, buf + done, chunk) != MEM_OK) {
            return false;
        }
        done += chunk;
    }
    return true;
}

static void dump_memory(Hmp *h, X86Cpu *cpu, AddressSpace *as, bool physical, uint64_t addr)
{
    HmpFormat f     = h->args.format;
    size_t    total = (size_t)f.count * f.size;
    /* Characters are bytes, whatever their size; so are addresses of bytes counted in eights. */
    unsigned step = f.format == 'c' ? 1 : f.size, row = f.format != 'c' && f.size == 1 ? 8 : ROW;
    for (size_t done = 0; done < total; done += row) {
        uint8_t bytes[ROW];
        size_t  len = MIN(total - done, row);
        hmp_print(h, "%016" PRIx64 ":", addr + done);
        if (!read_memory(cpu, as, physical, addr + done, bytes, len)) {
            hmp_print(h, " Cannot access memory\n");
            return;
        }
        for (size_t i = 0; i < len; i += step) {
            print_item(h, &f, load_le(bytes + i, step));
        }
        hmp_print(h, "\n");
    }
}

/* As many bytes as there are, up to the longest instruction. */
static unsigned read_code(X86Cpu *cpu, AddressSpace *as, bool physical, uint64_t addr, uint8_t code[INSN_MAX])
{
    unsigned n = 0;
    while (n < INSN_MAX && read_memory(cpu, as, physical, addr + n, code + n, 1)) {
        n++;
    }
    return n;
}

/* Not the executor's own: other accelerators have none. */
static ZydisDecoder decoder_of(const X86Cpu *cpu)
{
    static const struct {
        ZydisMachineMode mode;
        ZydisStackWidth  width;
    } modes[] = {
        [X86_CODE16] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
        [X86_CODE32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
        [X86_CODE64] = { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
    };
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, modes[cpu->code_size].mode, modes[cpu->code_size].width);
    return decoder;
}

static void list_code(Hmp *h, X86Cpu *cpu, AddressSpace *as, bool physical, uint64_t addr)
{
    ZydisDecoder   decoder = decoder_of(cpu);
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, false);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE, ZYDIS_PADDING_DISABLED);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED);
    for (unsigned i = 0; i < h->args.format.count; i++) {
        ZydisDecodedInstruction z;
        ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
        uint8_t                 code[INSN_MAX];
        char                    text[128];
        unsigned                n = read_code(cpu, as, physical, addr, code), len = 1;
        if (n == 0) {
            hmp_print(h, "0x%08" PRIx64 ": unable to read memory\n", addr);
            return;
        }
        bool ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, n, &z, op)) &&
                  ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &z, op, z.operand_count_visible, text,
                                                               sizeof text, addr, NULL));
        hmp_print(h, "0x%08" PRIx64 ": ", addr);
        len = ok ? z.length : 1;
        for (unsigned k = 0; k < len; k++) {
            hmp_print(h, " %02x", code[k]);
        }
        hmp_print(h, "%*s", len < 8 ? 3 * (int)(8 - len) + 1 : 1, "");
        char *space = ok ? strchr(text, ' ') : NULL;
        if (!ok) {
            hmp_print(h, " .byte    0x%02x\n", code[0]);
        } else if (space) {
            hmp_print(h, " %-8.*s %s\n", (int)(space - text), text, space + 1);
        } else {
            hmp_print(h, " %s\n", text);
        }
        addr += len;
    }
}

static void show_memory(Hmp *h, X86Cpu *cpu, AddressSpace *as, bool physical)
{
    uint64_t addr = (uint64_t)hmp_number(h, "addr");
    if (h->args.format.format == 'i') {
        list_code(h, cpu, as, physical, addr);
    } else {
        dump_memory(h, cpu, as, physical, addr);
    }
}

static bool cmd_x(Hmp *h, Error *err)
{
    X86Cpu *cpu = hmp_cpu(h, err);
    if (!cpu) {
        return false;
    }
    HmpPause pause = hmp_pause(h->machine);
    show_memory(h, cpu, cpu->vcpu.memory, false);
    hmp_unpause(h->machine, pause);
    return true;
}

static bool cmd_xp(Hmp *h, Error *err)
{
    X86Cpu *cpu = NULL;
    if (h->args.format.format == 'i' && !(cpu = hmp_cpu(h, err))) {
        return false;
    }
    HmpPause pause = { 0 };
    if (cpu) {
        pause = hmp_pause(h->machine); /* in which mode it reads code */
    }
    show_memory(h, cpu, h->machine->platform.memory_space, true);
    hmp_unpause(h->machine, pause);
    return true;
}

static bool cmd_print(Hmp *h, Error *err)
{
    int64_t value = hmp_number(h, "expr");
    switch (h->args.format.format) {
    case 'o': hmp_print(h, "%#" PRIo64 "\n", value); break;
    case 'x': hmp_print(h, "%#" PRIx64 "\n", value); break;
    case 'u': hmp_print(h, "%" PRIu64 "\n", value); break;
    case 'c':
        print_character(h, (uint8_t)value);
        hmp_print(h, "\n");
        break;
    default: hmp_print(h, "%" PRId64 "\n", value); break;
    }
    return true;
}

/* --- ports --- */

static unsigned port_size(const Hmp *h)
{
    unsigned size = h->args.format.size;
    return size == 2 || size == 4 ? size : 1;
}

static bool cmd_in(Hmp *h, Error *err)
{
    static const char letters[] = { [1] = 'b', [2] = 'w', [4] = 'l' };
    unsigned          size      = port_size(h);
    uint16_t          port      = (uint16_t)hmp_number(h, "addr");
    if (hmp_given(h, "index")) {
        address_space_store(h->machine->platform.io_space, port, (uint8_t)hmp_number(h, "index"), 1);
        port++;
    }
    uint64_t value = address_space_load(h->machine->platform.io_space, port, size);
    hmp_print(h, "port%c[0x%04x] = 0x%0*" PRIx64 "\n", letters[size], port, 2 * (int)size, value);
    return true;
}

static bool cmd_out(Hmp *h, Error *err)
{
    address_space_store(h->machine->platform.io_space, (uint16_t)hmp_number(h, "addr"),
                        (uint64_t)hmp_number(h, "value"), port_size(h));
    return true;
}

/* --- sums and addresses --- */

/* The BSD checksum of 16 bits. What is not mapped counts as zeros: they only turn the sum. */
static bool cmd_sum(Hmp *h, Error *err)
{
    AddressSpace *as   = h->machine->platform.memory_space;
    uint64_t      addr = (uint64_t)hmp_number(h, "start"), size = (uint32_t)hmp_number(h, "size");
    uint16_t      sum = 0;
    uint8_t       bytes[PAGE];
    for (uint64_t done = 0, len; done < size; done += len) {
        MemTarget t = address_space_lookup(as, addr + done);
        len         = MIN(size - done, MAX(t.len, 1u));
        if (!t.region) {
            sum = (uint16_t)(sum >> len % 16 | sum << (16 - len % 16));
            continue;
        }
        len = MIN(len, sizeof bytes);
        address_space_read(as, addr + done, bytes, len);
        for (size_t i = 0; i < len; i++) {
            sum = (uint16_t)((sum >> 1 | sum << 15) + bytes[i]);
        }
    }
    hmp_print(h, "%05u\n", sum);
    return true;
}

static bool cmd_gva2gpa(Hmp *h, Error *err)
{
    X86Cpu  *cpu = hmp_cpu(h, err);
    uint64_t physical;
    if (!cpu) {
        return false;
    }
    HmpPause pause  = hmp_pause(h->machine);
    bool     mapped = x86_debug_translate(cpu, (uint64_t)hmp_number(h, "addr"), &physical);
    hmp_unpause(h->machine, pause);
    if (mapped) {
        hmp_print(h, "gpa: %#" PRIx64 "\n", physical);
    } else {
        hmp_print(h, "Unmapped\n");
    }
    return true;
}

/* Host memory at a guest-physical address. */
static uint8_t *host_memory(Hmp *h, uint64_t addr, const char **name, Error *err)
{
    MemTarget t = address_space_lookup(h->machine->platform.memory_space, addr);
    if (!t.region) {
        error_set(err, "No memory is mapped at address 0x%" PRIx64, addr);
        return NULL;
    }
    if (!t.host) {
        error_set(err, "Memory at address 0x%" PRIx64 " is not RAM", addr);
        return NULL;
    }
    *name = t.ram->name;
    return t.host;
}

static bool cmd_gpa2hva(Hmp *h, Error *err)
{
    uint64_t       addr = (uint64_t)hmp_number(h, "addr");
    const char    *name;
    const uint8_t *host = host_memory(h, addr, &name, err);
    if (host) {
        hmp_print(h, "Host virtual address for 0x%" PRIx64 " (%s) is %p\n", addr, name, (const void *)host);
    }
    return host;
}

static bool cmd_gpa2hpa(Hmp *h, Error *err)
{
    uint64_t       addr = (uint64_t)hmp_number(h, "addr"), entry;
    const char    *name;
    const uint8_t *host = host_memory(h, addr, &name, err);
    if (!host) {
        return false;
    }
    long     page = sysconf(_SC_PAGESIZE);
    int      fd   = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t at   = (uintptr_t)host / (uint64_t)page * sizeof entry;
    ssize_t  n    = fd < 0 ? -1 : pread(fd, &entry, sizeof entry, (off_t)at);
    if (fd >= 0) {
        close(fd);
    }
    if (n != sizeof entry) {
        return error_set_errno(err, errno, "cannot read /proc/self/pagemap");
    }
    if (!(entry >> 63)) {
        return error_set(err, "the page of 0x%" PRIx64 " is not in the host's memory now", addr);
    }
    uint64_t frame = entry & ((UINT64_C(1) << 55) - 1);
    if (!frame) {
        return error_set(err, "the host tells physical addresses to privileged processes only (CAP_SYS_ADMIN)");
    }
    hmp_print(h, "Host physical address for 0x%" PRIx64 " (%s) is 0x%" PRIx64 "\n", addr, name,
              frame * (uint64_t)page + (uintptr_t)host % (uint64_t)page);
    return true;
}

/* --- into files --- */

static bool save_memory(Hmp *h, bool physical, Error *err)
{
    Json *args = json_new_object();
    json_set(args, "val", json_new_uint((uint64_t)hmp_number(h, "val")));
    json_set(args, "size", json_new_int(hmp_number(h, "size")));
    json_set(args, "filename", json_new_string(hmp_text(h, "filename")));
    if (!physical) {
        json_set(args, "cpu-index", json_new_int(h->mon->cpu_index));
    }
    return hmp_do(h, physical ? "pmemsave" : "memsave", args, err);
}

static bool cmd_memsave(Hmp *h, Error *err)
{
    return save_memory(h, false, err);
}

static bool cmd_pmemsave(Hmp *h, Error *err)
{
    return save_memory(h, true, err);
}

static bool cmd_dump(Hmp *h, Error *err)
{
    static const struct {
        const char *flag, *format;
    } formats[] = {
        { "zlib", "kdump-zlib" }, { "lzo", "kdump-lzo" }, { "snappy", "kdump-snappy" }, { "windmp", "win-dmp" }
    };
    const char *format = "elf";
    unsigned    n      = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (hmp_given(h, formats[i].flag)) {
            format = formats[i].format;
            n++;
        }
    }
    if (n > 1) {
        return error_set(err, "only one of '-z|-l|-s|-w' can be set");
    }
    bool raw = hmp_given(h, "raw");
    if (raw && !g_str_has_prefix(format, "kdump-")) {
        return error_set(err, "'-R' goes with '-z', '-l' or '-s'");
    }
    const char *file = hmp_text(h, "filename");
    Json       *args = json_new_object();
    json_set(args, "paging", json_new_bool(hmp_given(h, "paging")));
    json_set(args, "protocol", json_new_format("file:%s", file));
    json_set(args, "format",
             raw ? json_new_format("kdump-raw-%s", format + strlen("kdump-")) : json_new_string(format));
    if (hmp_given(h, "detach")) {
        json_set(args, "detach", json_new_bool(true));
    }
    if (hmp_given(h, "begin")) {
        json_set(args, "begin", json_new_uint((uint64_t)hmp_number(h, "begin")));
    }
    if (hmp_given(h, "length")) {
        json_set(args, "length", json_new_int(hmp_number(h, "length")));
    }
    return hmp_do(h, "dump-guest-memory", args, err);
}

#define ADDRESS                                                                                                        \
    {                                                                                                                  \
        "addr", HMP_INT64                                                                                              \
    }

HMP_COMMANDS(memory) = {
    { .name   = "x",
      .params = "/fmt addr",
      .help   = "memory at a linear address of the current vCPU; fmt is COUNT, one of o x d u c i, one of b h w g",
      .args   = { { "fmt", HMP_FORMAT }, ADDRESS },
      .run    = cmd_x },
    { .name   = "xp",
      .params = "/fmt addr",
      .help   = "memory at a guest-physical address; fmt as for x",
      .args   = { { "fmt", HMP_FORMAT }, ADDRESS },
      .run    = cmd_xp },
    { .name   = "print|p",
      .params = "/fmt expr",
      .help   = "value of an expression; $reg is a register of the current vCPU",
      .args   = { { "fmt", HMP_FORMAT }, { "expr", HMP_INT64 } },
      .run    = cmd_print },
    { .name   = "i",
      .params = "/fmt addr",
      .help   = "reads an I/O port; fmt is b, h or w",
      .args   = { { "fmt", HMP_FORMAT }, { "addr", HMP_INT32 }, { "index", HMP_INT32, .optional = true } },
      .run    = cmd_in },
    { .name   = "o",
      .params = "/fmt addr value",
      .help   = "writes an I/O port; fmt is b, h or w",
      .args   = { { "fmt", HMP_FORMAT }, { "addr", HMP_INT32 }, { "value", HMP_INT32 } },
      .run    = cmd_out },
    { .name   = "sum",
      .params = "addr size",
      .help   = "16-bit checksum of guest-physical memory",
      .args   = { { "start", HMP_INT64 }, { "size", HMP_INT32 } },
      .run    = cmd_sum },
    { .name   = "gva2gpa",
      .params = "addr",
      .help   = "guest-physical address of a linear address of the current vCPU",
      .args   = { ADDRESS },
      .run    = cmd_gva2gpa },
    { .name   = "gpa2hva",
      .params = "addr",
      .help   = "address in this process of a guest-physical address",
      .args   = { ADDRESS },
      .run    = cmd_gpa2hva },
    { .name   = "gpa2hpa",
      .params = "addr",
      .help   = "host-physical address of a guest-physical address",
      .args   = { ADDRESS },
      .run    = cmd_gpa2hpa },
    { .name   = "memsave",
      .params = "addr size file",
      .help   = "writes memory at a linear address of the current vCPU into a file",
      .args   = { { "val", HMP_INT64 }, { "size", HMP_INT32 }, { "filename", HMP_FILE } },
      .run    = cmd_memsave },
    { .name   = "pmemsave",
      .params = "addr size file",
      .help   = "writes guest-physical memory into a file",
      .args   = { { "val", HMP_INT64 }, { "size", HMP_INT32 }, { "filename", HMP_FILE } },
      .run    = cmd_pmemsave },
    { .name   = "dump-guest-memory",
      .params = "[-p] [-d] [-z|-l|-s|-w] [-R] filename [begin length]",
      .help   = "writes the guest's memory into a dump file\n"
                "\t\t\t-p: with the guest's page tables walked, for linear addresses\n"
                "\t\t\t-d: in the background; \"info dump\" says how far it is\n"
                "\t\t\t-z, -l, -s: kdump format, compressed by zlib, lzo or snappy; else ELF\n"
                "\t\t\t-w: Windows crash dump\n"
                "\t\t\t-R: kdump format as kdump tools read it at once, not flattened\n"
                "\t\t\tbegin, length: only this part of guest-physical memory",
      .args   = { { "paging", HMP_FLAG, .letter = 'p' },
                  { "detach", HMP_FLAG, .letter = 'd' },
                  { "windmp", HMP_FLAG, .letter = 'w' },
                  { "zlib", HMP_FLAG, .letter = 'z' },
                  { "lzo", HMP_FLAG, .letter = 'l' },
                  { "snappy", HMP_FLAG, .letter = 's' },
                  { "raw", HMP_FLAG, .letter = 'R' },
                  { "filename", HMP_FILE },
                  { "begin", HMP_INT64, .optional = true },
                  { "length", HMP_INT64, .optional = true } },
      .run    = cmd_dump },
    {},
};
