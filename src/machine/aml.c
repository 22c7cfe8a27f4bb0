/* Writer of ACPI Machine Language. Specification: ACPI 6.4 (January 2021), sections 6.4 and 20.2. */

#include "machine/aml.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

enum {
    OP_NAME        = 0x08,
    OP_BYTE        = 0x0a,
    OP_WORD        = 0x0b,
    OP_DWORD       = 0x0c,
    OP_STRING      = 0x0d,
    OP_QWORD       = 0x0e,
    OP_SCOPE       = 0x10,
    OP_BUFFER      = 0x11,
    OP_PACKAGE     = 0x12,
    OP_METHOD      = 0x14,
    OP_DUAL_NAME   = 0x2e,
    OP_MULTI_NAME  = 0x2f,
    OP_EXT         = 0x5b,
    OP_IF          = 0xa0,
    OP_ELSE        = 0xa1,
    OP_WHILE       = 0xa2,
    EXT_MUTEX      = 0x01,
    EXT_ACQUIRE    = 0x23,
    EXT_RELEASE    = 0x27,
    EXT_REGION     = 0x80,
    EXT_FIELD      = 0x81,
    EXT_DEVICE     = 0x82,
    RES_END_TAG    = 0x79,
    RES_WINDOW_MEM = 0,
    RES_WINDOW_IO  = 1,
    RES_WINDOW_BUS = 2,
};

static void put8(Aml *a, uint8_t v)
{
    g_byte_array_append(a->out, &v, 1);
}

static void put_le(Aml *a, uint64_t v, unsigned size)
{
    uint8_t buf[8];
    store_le(buf, v, size);
    g_byte_array_append(a->out, buf, size);
}

void aml_init(Aml *a, GByteArray *out)
{
    *a = (Aml){ .out = out };
}

void aml_bytes(Aml *a, const void *bytes, size_t len)
{
    g_byte_array_append(a->out, bytes, (guint)len);
}

void aml_op(Aml *a, AmlOp op)
{
    put8(a, (uint8_t)op);
}

static void put_segment(Aml *a, const char *text, size_t len)
{
    assert(len >= 1 && len <= 4);
    char seg[4] = { '_', '_', '_', '_' };
    memcpy(seg, text, len);
    aml_bytes(a, seg, 4);
}

void aml_path(Aml *a, const char *path)
{
    while (*path == '\\' || *path == '^') {
        put8(a, (uint8_t)*path++);
    }
    unsigned segments = *path ? 1 : 0;
    for (const char *p = path; *p; p++) {
        segments += *p == '.';
    }
    if (segments == 0) {
        put8(a, 0); /* NullName: the root alone */
    } else if (segments == 2) {
        put8(a, OP_DUAL_NAME);
    } else if (segments > 2) {
        put8(a, OP_MULTI_NAME);
        put8(a, (uint8_t)segments);
    }
    while (*path) {
        size_t len = strcspn(path, ".");
        put_segment(a, path, len);
        path += len + (path[len] == '.');
    }
}

void aml_int(Aml *a, uint64_t value)
{
    if (value <= 1) {
        put8(a, (uint8_t)value);
    } else if (value <= 0xff) {
        put8(a, OP_BYTE);
        put_le(a, value, 1);
    } else if (value <= 0xffff) {
        put8(a, OP_WORD);
        put_le(a, value, 2);
    } else if (value <= 0xffffffff) {
        put8(a, OP_DWORD);
        put_le(a, value, 4);
    } else {
        put8(a, OP_QWORD);
        put_le(a, value, 8);
    }
}

void aml_string(Aml *a, const char *text)
{
    put8(a, OP_STRING);
    aml_bytes(a, text, strlen(text) + 1);
}

/* EISA IDs: three letters of five bits, four hexadecimal digits, big-endian (ACPI 6.4, 19.3.4 EISAID). */
void aml_eisaid(Aml *a, const char *id)
{
    assert(strlen(id) == 7);
    uint32_t v = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 | (uint32_t)(id[2] - 0x40) << 16;
    for (unsigned i = 0; i < 4; i++) {
        v |= (uint32_t)g_ascii_xdigit_value(id[3 + i]) << (12 - 4 * i);
    }
    put8(a, OP_DWORD);
    put_le(a, GUINT32_SWAP_LE_BE(v), 4);
}

void aml_name(Aml *a, const char *name)
{
    put8(a, OP_NAME);
    aml_path(a, name);
}

void aml_name_int(Aml *a, const char *name, uint64_t value)
{
    aml_name(a, name);
    aml_int(a, value);
}

static void open_length(Aml *a)
{
    assert(a->depth < G_N_ELEMENTS(a->open));
    a->open[a->depth].at        = a->out->len;
    a->open[a->depth].size_word = 0;
    a->depth++;
}

/* PkgLength counts itself: 1 byte up to 63, else 4 bits in the first byte and up to three more bytes. */
void aml_end(Aml *a)
{
    assert(a->depth > 0);
    uint32_t at   = a->open[--a->depth].at;
    uint32_t body = a->out->len - at;
    unsigned n    = body + 1 <= 0x3f ? 1 : body + 2 <= 0xfff ? 2 : body + 3 <= 0xfffff ? 3 : 4;
    uint32_t len  = body + n;
    uint8_t  enc[4];

    assert(len <= 0xfffffff);
    if (n == 1) {
        enc[0] = (uint8_t)len;
    } else {
        enc[0] = (uint8_t)((n - 1) << 6 | (len & 15));
        for (unsigned i = 1; i < n; i++) {
            enc[i] = (uint8_t)(len >> (8 * i - 4));
        }
    }
    g_byte_array_set_size(a->out, a->out->len + n);
    memmove(a->out->data + at + n, a->out->data + at, body);
    memcpy(a->out->data + at, enc, n);
}

void aml_scope(Aml *a, const char *path)
{
    put8(a, OP_SCOPE);
    open_length(a);
    aml_path(a, path);
}

void aml_device(Aml *a, const char *name)
{
    put8(a, OP_EXT);
    put8(a, EXT_DEVICE);
    open_length(a);
    aml_path(a, name);
}

void aml_method(Aml *a, const char *name, unsigned args, bool serialized)
{
    assert(args <= 7);
    put8(a, OP_METHOD);
    open_length(a);
    aml_path(a, name);
    put8(a, (uint8_t)(args | (serialized ? 8 : 0)));
}

void aml_package(Aml *a, unsigned elements)
{
    assert(elements <= 255);
    put8(a, OP_PACKAGE);
    open_length(a);
    put8(a, (uint8_t)elements);
}

void aml_if(Aml *a)
{
    put8(a, OP_IF);
    open_length(a);
}

void aml_else(Aml *a)
{
    put8(a, OP_ELSE);
    open_length(a);
}

void aml_while(Aml *a)
{
    put8(a, OP_WHILE);
    open_length(a);
}

static void put_mutex(Aml *a, unsigned op, const char *name)
{
    put8(a, OP_EXT);
    put8(a, (uint8_t)op);
    aml_path(a, name);
}

void aml_mutex(Aml *a, const char *name)
{
    put_mutex(a, EXT_MUTEX, name);
    put8(a, 0); /* sync level */
}

void aml_acquire(Aml *a, const char *name)
{
    put_mutex(a, EXT_ACQUIRE, name);
    put_le(a, 0xffff, 2); /* no time limit */
}

void aml_release(Aml *a, const char *name)
{
    put_mutex(a, EXT_RELEASE, name);
}

void aml_buffer(Aml *a, const void *bytes, size_t len)
{
    assert(len < 64);
    put8(a, OP_BUFFER);
    open_length(a);
    aml_int(a, len);
    aml_bytes(a, bytes, len);
    aml_end(a);
}

void aml_buffer_of(Aml *a, AmlOp size)
{
    put8(a, OP_BUFFER);
    open_length(a);
    aml_op(a, size);
    aml_end(a);
}

void aml_region_at(Aml *a, const char *name, unsigned space, const char *offset, uint64_t len)
{
    put8(a, OP_EXT);
    put8(a, EXT_REGION);
    aml_path(a, name);
    put8(a, (uint8_t)space);
    aml_path(a, offset);
    aml_int(a, len);
}

void aml_region(Aml *a, const char *name, unsigned space, uint64_t offset, uint64_t len)
{
    put8(a, OP_EXT);
    put8(a, EXT_REGION);
    aml_path(a, name);
    put8(a, (uint8_t)space);
    aml_int(a, offset);
    aml_int(a, len);
}

static void put_unit_bits(Aml *a, uint32_t bits)
{
    if (bits <= 0x3f) {
        put8(a, (uint8_t)bits);
    } else {
        assert(bits <= 0xfffff);
        put8(a, (uint8_t)((bits <= 0xfff ? 0x40 : 0x80) | (bits & 15)));
        put8(a, (uint8_t)(bits >> 4));
        if (bits > 0xfff) {
            put8(a, (uint8_t)(bits >> 12));
        }
    }
}

static void put_field(Aml *a, const char *region, unsigned access_bytes, unsigned rule, const AmlFieldUnit *units,
                      size_t n)
{
    put8(a, OP_EXT);
    put8(a, EXT_FIELD);
    open_length(a);
    aml_path(a, region);
    put8(a, (uint8_t)((access_bytes == 1 ? 1 : access_bytes == 2 ? 2 : access_bytes == 4 ? 3 : 4) | rule)); /* NoLock */
    for (size_t i = 0; i < n; i++) {
        if (units[i].name[0]) {
            put_segment(a, units[i].name, strlen(units[i].name));
        } else {
            put8(a, 0);
        }
        put_unit_bits(a, units[i].bits);
    }
    aml_end(a);
}

void aml_field(Aml *a, const char *region, unsigned access_bytes, const AmlFieldUnit *units, size_t n)
{
    put_field(a, region, access_bytes, 0, units, n);
}

void aml_field_zeros(Aml *a, const char *region, unsigned access_bytes, const AmlFieldUnit *units, size_t n)
{
    put_field(a, region, access_bytes, 0x40, units, n);
}

void aml_resources(Aml *a)
{
    put8(a, OP_BUFFER);
    open_length(a);
    put8(a, OP_WORD);
    a->open[a->depth - 1].size_word = a->out->len;
    put_le(a, 0, 2);
}

void aml_end_resources(Aml *a)
{
    uint32_t word = a->open[a->depth - 1].size_word;

    assert(word);
    put8(a, RES_END_TAG);
    put8(a, 0); /* checksum 0: not checked */
    uint32_t len = a->out->len - (word + 2);
    assert(len <= 0xffff);
    store_le16(a->out->data + word, (uint16_t)len);
    aml_end(a);
}

void aml_res_io(Aml *a, uint16_t base, uint8_t len)
{
    put8(a, 0x47);
    put8(a, 1); /* 16-bit decode */
    put_le(a, base, 2);
    put_le(a, base, 2);
    put8(a, 1);
    put8(a, len);
}

void aml_res_irq(Aml *a, unsigned irq)
{
    put8(a, 0x22); /* two bytes of mask: edge, high, exclusive without a third */
    put_le(a, 1u << irq, 2);
}

void aml_res_memory32(Aml *a, uint32_t base, uint32_t len, bool writable)
{
    put8(a, 0x86);
    put_le(a, 9, 2);
    put8(a, writable);
    put_le(a, base, 4);
    put_le(a, len, 4);
}

static void put_interrupts(Aml *a, unsigned flags, const uint32_t *gsi, unsigned n)
{
    put8(a, 0x89);
    put_le(a, 2 + 4 * n, 2);
    put8(a, (uint8_t)flags);
    put8(a, (uint8_t)n);
    for (unsigned i = 0; i < n; i++) {
        put_le(a, gsi[i], 4);
    }
}

void aml_res_interrupts(Aml *a, const uint32_t *gsi, unsigned n)
{
    put_interrupts(a, 0x09, gsi, n); /* consumer, level, active high, shared */
}

void aml_res_event(Aml *a, uint32_t gsi)
{
    put_interrupts(a, 0x03, &gsi, 1); /* consumer, edge, active high, exclusive */
}

/* An address space descriptor of 2, 4 or 8 byte numbers (6.4.3.5): positive decode, both ends fixed, producer. */
static void put_window(Aml *a, unsigned kind, unsigned type_flags, unsigned size, uint64_t first, uint64_t last)
{
    put8(a, size == 2 ? 0x88 : size == 4 ? 0x87 : 0x8a);
    put_le(a, 3 + 5 * size, 2);
    put8(a, (uint8_t)kind);
    put8(a, 0x0c);
    put8(a, (uint8_t)type_flags);
    put_le(a, 0, size); /* granularity */
    put_le(a, first, size);
    put_le(a, last, size);
    put_le(a, 0, size); /* translation */
    put_le(a, last - first + 1, size);
}

void aml_res_memory64(Aml *a)
{
    put8(a, 0x8a);
    put_le(a, 3 + 5 * 8, 2);
    put8(a, RES_WINDOW_MEM);
    put8(a, 0x0d); /* consumer, positive decode, both ends fixed */
    put8(a, 3);    /* cacheable, read-write */
    for (unsigned i = 0; i < 5; i++) {
        put_le(a, 0, 8);
    }
}

void aml_res_bus(Aml *a, uint16_t first, uint16_t last)
{
    put_window(a, RES_WINDOW_BUS, 0, 2, first, last);
}

void aml_res_io_window(Aml *a, uint16_t first, uint16_t last)
{
    put_window(a, RES_WINDOW_IO, 3, 2, first, last); /* entire range */
}

void aml_res_memory_window(Aml *a, uint64_t first, uint64_t last, bool cacheable)
{
    put_window(a, RES_WINDOW_MEM, cacheable ? 3 : 1, last <= 0xffffffff ? 4 : 8, first, last); /* read-write */
}
