/* Firmware configuration device (QEMU0002): numbered items and a directory of named files, read through a selector
 * and a data port or by DMA.
 * Specification: QEMU's docs/specs/fw_cfg (selector keys, file directory, DMA interface).
 * Under the machine lock.
 *
 * Items never end for a reader: what lies behind the last byte reads as 0. A DMA request is served within the write
 * that starts it; its length is bounded by the item's and ZERO_MAX. */

#include "devices/misc/fw_cfg.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/trace.h"
#include "memory/dma.h"

#include <inttypes.h>

enum {
    CONTROL_PORT = 0x510, /* selector; data at 511h */
    DMA_PORT     = 0x514,

    KEY_WRITE = 0x4000, /* once asked for writing through the data port; of no effect */
    N_LOCAL   = 0x20,   /* keys 0..1Fh, and 8000h..801Fh */
    NAME_SIZE = 56,     /* with its NUL, in the directory */

    ID_TRADITIONAL = 1,
    ID_DMA         = 2,

    DMA_ERROR  = 1 << 0,
    DMA_READ   = 1 << 1,
    DMA_SKIP   = 1 << 2,
    DMA_SELECT = 1 << 3,
    DMA_WRITE  = 1 << 4,

    REQUEST_SIZE = 16, /* control, length, address; big-endian */
    CHUNK        = 64 << 10,
    ZERO_MAX     = 1 << 20, /* bytes behind an item's end that one request may ask for */
};

#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

typedef struct Item {
    char        *name; /* files only */
    uint8_t     *data; /* a copy when it is writable, else borrowed from `bytes` */
    size_t       len;
    GBytes      *bytes;
    bool         writable;
    FwCfgFileOps ops;
} Item;

struct FwCfg {
    Device     dev;
    bool       dma_enabled;
    uint32_t   max_files;
    Item       generic[N_LOCAL], arch[N_LOCAL];
    GPtrArray *files; /* Item *, by name: the n-th has key FW_CFG_FILE_FIRST + n */
    uint16_t   key;
    uint64_t   offset; /* of the next byte of the selected item */
    uint64_t   dma_address;
    Region     control, dma;
};

/* ---- Items ---- */

static void item_clear(Item *item)
{
    if (item->writable) {
        g_free(item->data);
    }
    g_clear_pointer(&item->bytes, g_bytes_unref);
    item->data = NULL;
    item->len  = 0;
}

static void item_set(Item *item, GBytes *bytes)
{
    gconstpointer data = NULL;
    gsize         len  = 0;
    GBytes       *old  = item->bytes;
    data               = g_bytes_get_data(bytes, &len);
    if (item->writable) {
        g_free(item->data);
        item->data = g_memdup2(data, len);
    } else {
        item->bytes = g_bytes_ref(bytes);
        item->data  = (uint8_t *)data;
        if (old) {
            g_bytes_unref(old);
        }
    }
    item->len = len;
}

static void file_free(void *file)
{
    Item *item = file;
    item_clear(item);
    g_free(item->name);
    g_free(item);
}

/* NULL: there is nothing under that key. */
static Item *item_of(const FwCfg *fw, uint16_t key)
{
    unsigned n = key & ~(KEY_WRITE | FW_CFG_ARCH_LOCAL);
    if (n < N_LOCAL) {
        return (Item *)(key & FW_CFG_ARCH_LOCAL ? &fw->arch[n] : &fw->generic[n]);
    }
    if (key & FW_CFG_ARCH_LOCAL || n - FW_CFG_FILE_FIRST >= fw->files->len) {
        return NULL;
    }
    return fw->files->pdata[n - FW_CFG_FILE_FIRST];
}

void fw_cfg_add_bytes(FwCfg *fw, uint16_t key, GBytes *data)
{
    g_assert((key & ~FW_CFG_ARCH_LOCAL) < N_LOCAL);
    item_set(item_of(fw, key), data);
}

void fw_cfg_add_data(FwCfg *fw, uint16_t key, const void *data, size_t len)
{
    g_autoptr(GBytes) bytes = g_bytes_new(data, len);
    fw_cfg_add_bytes(fw, key, bytes);
}

void fw_cfg_add_string(FwCfg *fw, uint16_t key, const char *text)
{
    fw_cfg_add_data(fw, key, text, strlen(text) + 1);
}

void fw_cfg_add_i16(FwCfg *fw, uint16_t key, uint16_t value)
{
    uint8_t bytes[2];
    store_le16(bytes, value);
    fw_cfg_add_data(fw, key, bytes, sizeof bytes);
}

void fw_cfg_add_i32(FwCfg *fw, uint16_t key, uint32_t value)
{
    uint8_t bytes[4];
    store_le32(bytes, value);
    fw_cfg_add_data(fw, key, bytes, sizeof bytes);
}

void fw_cfg_add_i64(FwCfg *fw, uint16_t key, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    fw_cfg_add_data(fw, key, bytes, sizeof bytes);
}

/* ---- Files ---- */

static Item *find_file(const FwCfg *fw, const char *name)
{
    for (guint n = 0; n < fw->files->len; n++) {
        Item *item = fw->files->pdata[n];
        if (!strcmp(item->name, name)) {
            return item;
        }
    }
    return NULL;
}

/* The item that guests read as FW_CFG_FILE_DIR: count, then size, key and name of each. */
static void make_directory(FwCfg *fw)
{
    enum { ENTRY = 8 + NAME_SIZE };
    size_t   len            = 4 + (size_t)fw->files->len * ENTRY;
    uint8_t *directory      = g_malloc0(len);
    g_autoptr(GBytes) bytes = g_bytes_new_take(directory, len);
    store_be32(directory, fw->files->len);
    for (guint n = 0; n < fw->files->len; n++) {
        const Item *item  = fw->files->pdata[n];
        uint8_t    *entry = directory + 4 + (size_t)n * ENTRY;
        store_be32(entry, (uint32_t)item->len);
        store_be16(entry + 4, (uint16_t)(FW_CFG_FILE_FIRST + n));
        memcpy(entry + 8, item->name, strlen(item->name));
    }
    fw_cfg_add_bytes(fw, FW_CFG_FILE_DIR, bytes);
}

bool fw_cfg_add_file_ops(FwCfg *fw, const char *name, GBytes *data, bool writable, const FwCfgFileOps *ops, Error *err)
{
    Item *item = find_file(fw, name);
    if (!*name || strlen(name) >= NAME_SIZE) {
        return error_set(err, "fw_cfg file name '%s' is not 1 to %d characters long", name, NAME_SIZE - 1);
    }
    if (g_bytes_get_size(data) > UINT32_MAX) {
        return error_set(err, "fw_cfg file '%s' is larger than 4 GiB", name);
    }
    if (!item) {
        if (fw->files->len >= fw->max_files) {
            return error_set(err, "no room for fw_cfg file '%s': there are %u already", name, fw->max_files);
        }
        guint at = 0;
        while (at < fw->files->len && strcmp(((Item *)fw->files->pdata[at])->name, name) < 0) {
            at++;
        }
        item       = g_new0(Item, 1);
        item->name = g_strdup(name);
        g_ptr_array_insert(fw->files, (gint)at, item);
    } else if (item->writable != writable) {
        item_clear(item);
    }
    item->writable = writable;
    item->ops      = ops ? *ops : (FwCfgFileOps){};
    item_set(item, data);
    make_directory(fw);
    return true;
}

bool fw_cfg_add_file(FwCfg *fw, const char *name, GBytes *data, Error *err)
{
    Item *item = find_file(fw, name);
    if (item) { /* keeps what it was given otherwise */
        FwCfgFileOps ops = item->ops;
        return fw_cfg_add_file_ops(fw, name, data, item->writable, &ops, err);
    }
    return fw_cfg_add_file_ops(fw, name, data, false, NULL, err);
}

const uint8_t *fw_cfg_file(const FwCfg *fw, const char *name, size_t *len)
{
    const Item *item = find_file(fw, name);
    *len             = item ? item->len : 0;
    return item ? item->data : NULL;
}

unsigned fw_cfg_n_files(const FwCfg *fw)
{
    return fw->files->len;
}

const char *fw_cfg_file_name(const FwCfg *fw, unsigned n, uint16_t *key)
{
    *key = (uint16_t)(FW_CFG_FILE_FIRST + n);
    return ((const Item *)fw->files->pdata[n])->name;
}

/* ---- Reading and writing ---- */

static bool select_item(FwCfg *fw, uint16_t key)
{
    fw->key          = key & ~KEY_WRITE;
    fw->offset       = 0;
    const Item *item = item_of(fw, fw->key);
    trace(fw->dev.platform->log, TRACE_FW_CFG_SELECT, "key 0x%x, %s", key, item ? "there" : "no such item");
    if (item && item->ops.select) {
        item->ops.select(item->ops.opaque);
    }
    return item != NULL;
}

static size_t bytes_left(const FwCfg *fw, const Item *item)
{
    return item && fw->offset < item->len ? item->len - (size_t)fw->offset : 0;
}

static uint8_t read_byte(FwCfg *fw)
{
    const Item *item  = item_of(fw, fw->key);
    uint8_t     value = bytes_left(fw, item) ? item->data[fw->offset] : 0;
    fw->offset++;
    return value;
}

/* ---- DMA ---- */

static bool dma_read_item(FwCfg *fw, uint64_t address, uint32_t length)
{
    static const uint8_t zeros[CHUNK];
    const Item          *item = item_of(fw, fw->key);
    size_t               left = bytes_left(fw, item);
    if (length > left && length - left > ZERO_MAX) {
        return false;
    }
    for (uint32_t done = 0; done < length;) {
        bool     behind = done >= left;
        uint32_t n      = MIN(length - done, (uint32_t)CHUNK);
        if (!behind) {
            n = (uint32_t)MIN((size_t)n, left - done);
        }
        const uint8_t *from = behind ? zeros : item->data + fw->offset + done;
        if (dma_write(fw->dev.platform->memory_space, address + done, from, n) != MEM_OK) {
            return false;
        }
        done += n;
    }
    fw->offset += length;
    return true;
}

static bool dma_write_item(FwCfg *fw, uint64_t address, uint32_t length)
{
    Item *item = item_of(fw, fw->key);
    if (!item || !item->writable || length > bytes_left(fw, item)) {
        return false;
    }
    for (uint32_t done = 0; done < length;) {
        uint32_t n = MIN(length - done, (uint32_t)CHUNK);
        if (dma_read(fw->dev.platform->memory_space, address + done, item->data + fw->offset + done, n) != MEM_OK) {
            return false;
        }
        done += n;
    }
    size_t offset = (size_t)fw->offset;
    fw->offset += length;
    if (item->ops.written) {
        item->ops.written(item->ops.opaque, item->data, offset, length);
    }
    return true;
}

static bool serve(FwCfg *fw, uint32_t control, uint32_t length, uint64_t address)
{
    uint64_t end;
    bool     ok = true;
    if (control & DMA_SELECT) {
        ok = select_item(fw, (uint16_t)(control >> 16));
    }
    if (control & (DMA_READ | DMA_WRITE) && length && !checked_add(address, length - 1, &end)) {
        return false;
    }
    if (control & DMA_READ) {
        ok = dma_read_item(fw, address, length); /* a missing item reads as zeros: no error */
    } else if (control & DMA_WRITE) {
        ok = dma_write_item(fw, address, length);
    } else if (control & DMA_SKIP) {
        fw->offset += length;
        ok = true;
    }
    return ok;
}

/* The guest's request lies at dma_address; its control field takes the result. */
static void run_dma(FwCfg *fw)
{
    AddressSpace *memory = fw->dev.platform->memory_space;
    uint64_t      at     = fw->dma_address;
    uint8_t       request[REQUEST_SIZE], result[4];
    fw->dma_address = 0;
    if (dma_read(memory, at, request, sizeof request) != MEM_OK) {
        log_print(fw->dev.platform->log, LOG_GUEST_ERRORS, "fw_cfg: no DMA request at 0x%" PRIx64 "\n", at);
        store_be32(result, DMA_ERROR);
        dma_write(memory, at, result, sizeof result);
        return;
    }
    bool ok = serve(fw, load_be32(request), load_be32(request + 4), load_be64(request + 8));
    store_be32(result, ok ? 0 : DMA_ERROR);
    if (!ok) {
        log_print(fw->dev.platform->log, LOG_GUEST_ERRORS, "fw_cfg: DMA request at 0x%" PRIx64 " failed\n", at);
    }
    dma_write(memory, at, result, sizeof result);
}

/* ---- Ports ---- */

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset == 1 && size == 1 ? read_byte(opaque) : 0;
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    if (offset == 0 && size == 2) {
        select_item(opaque, (uint16_t)value);
    }
}

static const IoOps control_ops = {
    .name = "fwcfg", .access = IO_BYTE | IO_WORD, .read = control_read, .write = control_write
};

/* The 64-bit register is big-endian; reading it tells that the interface is there. */
static uint64_t dma_port_read(void *opaque, uint64_t offset, unsigned size)
{
    return GUINT64_SWAP_LE_BE(DMA_SIGNATURE) >> (8 * offset);
}

static void dma_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    FwCfg *fw = opaque;
    if (size == 8) {
        fw->dma_address = GUINT64_SWAP_LE_BE(value);
        run_dma(fw);
    } else if (size == 4 && offset == 0) {
        fw->dma_address = (uint64_t)GUINT32_SWAP_LE_BE((uint32_t)value) << 32;
    } else if (size == 4) {
        fw->dma_address |= GUINT32_SWAP_LE_BE((uint32_t)value);
        run_dma(fw);
    }
}

static const IoOps dma_ops = { .name = "fwcfg.dma", .access = IO_ANY, .read = dma_port_read, .write = dma_port_write };

/* ---- The device ---- */

static const Field fw_cfg_properties[] = {
    FIELD(FwCfg, dma_enabled, "dma_enabled", .initial = true, .help = "offer the DMA interface"),
    FIELD(FwCfg, max_files, "x-file-slots", .initial = 64, .min = 16, .max = 0x3fe0,
          .help = "files that the directory has room for"),
    {},
};

/* Writable files go with saved state: an object of name and contents in hexadecimal. */
static Json *print_writable(const Field *field, const void *member)
{
    const FwCfg *fw    = (const FwCfg *)((const char *)member - field->offset);
    Json        *files = json_new_object();
    for (guint n = 0; n < fw->files->len; n++) {
        const Item *item = fw->files->pdata[n];
        if (item->writable) {
            GString *hex = g_string_sized_new(2 * item->len);
            for (size_t i = 0; i < item->len; i++) {
                g_string_append_printf(hex, "%02x", item->data[i]);
            }
            json_set(files, item->name, json_new_string(hex->str));
            g_string_free(hex, true);
        }
    }
    return files;
}

static bool parse_writable(const Field *field, void *member, const Json *value, Error *err)
{
    FwCfg *fw = (FwCfg *)((char *)member - field->offset);
    if (value->kind != JSON_OBJECT) {
        return error_set(err, "not an object");
    }
    for (size_t i = 0; i < value->n; i++) {
        Item       *item = find_file(fw, value->keys[i]);
        const char *hex  = value->items[i]->kind == JSON_STRING ? value->items[i]->string : "";
        if (!item || !item->writable || strlen(hex) != 2 * item->len) {
            return error_set(err, "file '%s' is not here, or has another length", value->keys[i]);
        }
        for (size_t byte = 0; byte < item->len; byte++) {
            int high = g_ascii_xdigit_value(hex[2 * byte]), low = g_ascii_xdigit_value(hex[2 * byte + 1]);
            if (high < 0 || low < 0) {
                return error_set(err, "file '%s' is not in hexadecimal", value->keys[i]);
            }
            item->data[byte] = (uint8_t)(high << 4 | low);
        }
    }
    return true;
}

static const FieldCustom writable_files = { .type_name = "files", .parse = parse_writable, .print = print_writable };

static const Field fw_cfg_state[] = {
    FIELD(FwCfg, key, "key"),
    FIELD(FwCfg, offset, "offset"),
    FIELD(FwCfg, dma_address, "dma-address"),
    { .name   = "files",
      .kind   = FIELD_CUSTOM,
      .offset = offsetof(FwCfg, files),
      .size   = sizeof(GPtrArray *),
      .count  = 1,
      .custom = &writable_files },
    {},
};

static bool fw_cfg_realize(Device *dev, Error *err)
{
    FwCfg    *fw = (FwCfg *)dev;
    Platform *p  = dev->platform;
    fw->files    = g_ptr_array_new_with_free_func(file_free);
    fw_cfg_add_data(fw, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_i32(fw, FW_CFG_ID, ID_TRADITIONAL | (fw->dma_enabled ? ID_DMA : 0));
    make_directory(fw);
    region_init_io(&fw->control, p->memory, control_ops.name, 2, &control_ops, fw);
    region_map(p->system_io, CONTROL_PORT, &fw->control, 0);
    if (fw->dma_enabled) {
        region_init_io(&fw->dma, p->memory, dma_ops.name, 8, &dma_ops, fw);
        region_map(p->system_io, DMA_PORT, &fw->dma, 0);
    }
    return true;
}

static void fw_cfg_unrealize(Device *dev)
{
    FwCfg *fw = (FwCfg *)dev;
    region_unmap(&fw->control);
    region_destroy(&fw->control);
    if (fw->dma_enabled) {
        region_unmap(&fw->dma);
        region_destroy(&fw->dma);
    }
    for (unsigned n = 0; n < N_LOCAL; n++) {
        item_clear(&fw->generic[n]);
        item_clear(&fw->arch[n]);
    }
    g_clear_pointer(&fw->files, g_ptr_array_unref);
}

static void fw_cfg_reset(Device *dev, ResetKind kind)
{
    FwCfg *fw       = (FwCfg *)dev;
    fw->key         = 0;
    fw->offset      = 0;
    fw->dma_address = 0;
}

static bool fw_cfg_post_load(Device *dev, Error *err)
{
    FwCfg *fw = (FwCfg *)dev;
    fw->key &= ~KEY_WRITE;
    return fw->offset < UINT64_MAX / 2 || error_set(err, "offset: out of range");
}

DEVICE_TYPE(fw_cfg) = {
    .name       = "fw_cfg_io",
    .parent     = "sys-bus-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "firmware configuration device",
    .size       = sizeof(FwCfg),
    .bus        = BUS_SYSTEM,
    .category   = DEVICE_MISC,
    .internal   = true,
    .properties = fw_cfg_properties,
    .state      = fw_cfg_state,
    .realize    = fw_cfg_realize,
    .unrealize  = fw_cfg_unrealize,
    .reset      = fw_cfg_reset,
    .post_load  = fw_cfg_post_load,
};

FwCfg *fw_cfg_create(Platform *platform, Error *err)
{
    FwCfg *fw = device_new(platform, "fw_cfg_io");
    return device_realize(&fw->dev, NULL, err) ? fw : NULL;
}
