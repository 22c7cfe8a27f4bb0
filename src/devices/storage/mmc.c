/* Commands of CD and DVD drives. See mmc.h. */

#include "devices/storage/mmc.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

enum {
    TEST_UNIT_READY   = 0x00,
    REQUEST_SENSE     = 0x03,
    INQUIRY           = 0x12,
    START_STOP_UNIT   = 0x1b,
    PREVENT_REMOVAL   = 0x1e,
    READ_CAPACITY     = 0x25,
    READ_10           = 0x28,
    SEEK_10           = 0x2b,
    VERIFY_10         = 0x2f,
    READ_SUBCHANNEL   = 0x42,
    READ_TOC          = 0x43,
    GET_CONFIGURATION = 0x46,
    GET_EVENT_STATUS  = 0x4a,
    READ_DISC_INFO    = 0x51,
    MODE_SENSE_10     = 0x5a,
    READ_12           = 0xa8,
    READ_DVD          = 0xad, /* DISC STRUCTURE */
    SET_CD_SPEED      = 0xbb,
    MECHANISM_STATUS  = 0xbd,
    READ_CD           = 0xbe,
};

enum {
    KEY_NOT_READY       = 2,
    KEY_ILLEGAL_REQUEST = 5,
    KEY_UNIT_ATTENTION  = 6,

    PROFILE_NONE = 0,
    PROFILE_CD   = 0x08,
    PROFILE_DVD  = 0x10,

    CD_BLOCKS  = 80 * 60 * 75, /* more make a DVD */
    FRAMES     = 75,           /* a second */
    LEAD_IN    = 2 * FRAMES,   /* before block 0, as addresses in minutes count */
    LEAD_OUT   = 0xaa,
    DATA_TRACK = 0x14, /* control and ADR: data, written at once */
    DVD_START  = 0x30000,
    SENSE_SIZE = 18,
    READ_RETRY = 5,
    CD_SPEED_1 = 176, /* kB/s */
    TOP_SPEED  = 4 * CD_SPEED_1,
};

typedef struct Command {
    Mmc           *m;
    const uint8_t *cdb;
    uint8_t       *buf;
    MmcReply      *reply;
} Command;

static MmcResult fail(Mmc *m, uint8_t key, uint8_t asc, uint8_t ascq)
{
    m->key  = key;
    m->asc  = asc;
    m->ascq = ascq;
    return MMC_FAILED;
}

static MmcResult bad_field(Mmc *m)
{
    return fail(m, KEY_ILLEGAL_REQUEST, 0x24, 0);
}

static bool has_medium(const Mmc *m)
{
    return m->medium && !m->open;
}

static uint16_t profile(const Mmc *m)
{
    return !has_medium(m) ? PROFILE_NONE : m->blocks > CD_BLOCKS ? PROFILE_DVD : PROFILE_CD;
}

/* `len` bytes are in the buffer; the host has room for `room`. */
static MmcResult answer(Command *c, size_t len, size_t room)
{
    c->reply->len = (uint32_t)MIN(len, room);
    return c->reply->len ? MMC_DATA : MMC_DONE;
}

static void put_text(uint8_t *to, size_t size, const char *text)
{
    size_t len = MIN(strlen(text), size);
    memset(to, ' ', size);
    memcpy(to, text, len);
}

/* ---- What the drive is ---- */

static MmcResult inquiry(Command *c)
{
    enum { SIZE = 36 };
    if (c->cdb[1] & 1 || c->cdb[2]) {
        return bad_field(c->m);
    }
    memset(c->buf, 0, SIZE);
    c->buf[0] = 5;    /* CD-ROM */
    c->buf[1] = 0x80; /* removable */
    c->buf[3] = 0x21; /* ATAPI, response format 1 */
    c->buf[4] = SIZE - 5;
    put_text(c->buf + 8, 8, "QEMU");
    put_text(c->buf + 16, 16, c->m->model);
    put_text(c->buf + 32, 4, c->m->ver);
    return answer(c, SIZE, load_be16(c->cdb + 3));
}

static MmcResult request_sense(Command *c)
{
    Mmc *m = c->m;
    memset(c->buf, 0, SENSE_SIZE);
    c->buf[0]  = 0xf0;
    c->buf[2]  = m->key;
    c->buf[7]  = SENSE_SIZE - 8;
    c->buf[12] = m->asc;
    c->buf[13] = m->ascq;
    m->key = m->asc = m->ascq = 0;
    return answer(c, SENSE_SIZE, c->cdb[4]);
}

static size_t put_error_page(const Mmc *m, uint8_t *to)
{
    memcpy(to, (const uint8_t[]){ 0x01, 6, 0, READ_RETRY, 0, 0, 0, 0 }, 8);
    return 8;
}

static size_t put_audio_page(const Mmc *m, uint8_t *to)
{
    memset(to, 0, 16);
    to[0] = 0x0e;
    to[1] = 14;
    to[2] = 0x04;          /* IMMED */
    to[9] = to[11] = 0xff; /* volume of channels 0 and 1 */
    to[8]          = 1;
    to[10]         = 2;
    return 16;
}

static size_t put_capabilities_page(const Mmc *m, uint8_t *to)
{
    memset(to, 0, 20);
    to[0] = 0x2a;
    to[1] = 18;
    to[2] = 0x3b;                          /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
    to[4] = 0x70;                          /* mode 2 forms 1 and 2, sessions */
    to[6] = 0x29 | (m->locked ? 0x02 : 0); /* a tray, ejects, can be locked */
    store_be16(to + 8, TOP_SPEED);
    store_be16(to + 10, 2);   /* volume levels */
    store_be16(to + 12, 512); /* KiB of buffer */
    store_be16(to + 14, TOP_SPEED);
    return 20;
}

static MmcResult mode_sense(Command *c)
{
    enum { HEADER = 8, ALL = 0x3f, SAVED = 3, NO_DISC = 0x70, OPEN = 0x71, DATA_DISC = 0x01 };
    static const struct {
        uint8_t page;
        size_t (*put)(const Mmc *m, uint8_t *to);
    } pages[]    = { { 0x01, put_error_page }, { 0x0e, put_audio_page }, { 0x2a, put_capabilities_page } };
    Mmc    *m    = c->m;
    size_t  len  = HEADER;
    uint8_t want = c->cdb[2] & 0x3f;

    if (c->cdb[2] >> 6 == SAVED) {
        return fail(m, KEY_ILLEGAL_REQUEST, 0x39, 0);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (want == ALL || want == pages[i].page) {
            len += pages[i].put(m, c->buf + len);
        }
    }
    if (len == HEADER) {
        return bad_field(m);
    }
    memset(c->buf, 0, HEADER);
    store_be16(c->buf, (uint16_t)(len - 2));
    c->buf[2] = m->open ? OPEN : m->medium ? DATA_DISC : NO_DISC;
    return answer(c, len, load_be16(c->cdb + 7));
}

/* A feature's descriptor: code, version, is it current, its own bytes. */
static size_t put_feature(uint8_t *to, uint16_t code, uint8_t flags, const uint8_t *data, uint8_t len)
{
    store_be16(to, code);
    to[2] = flags;
    to[3] = len;
    memcpy(to + 4, data, len);
    return 4u + len;
}

static MmcResult get_configuration(Command *c)
{
    enum { HEADER = 8, ALL = 0, CURRENT = 1, ONE = 2, IS_CURRENT = 1, PERSISTENT = 2 };
    uint16_t      now = profile(c->m), start = load_be16(c->cdb + 2);
    uint8_t       how        = c->cdb[1] & 3;
    const uint8_t profiles[] = { PROFILE_DVD >> 8, PROFILE_DVD, now == PROFILE_DVD, 0,
                                 PROFILE_CD >> 8,  PROFILE_CD,  now == PROFILE_CD,  0 };
    const struct {
        uint16_t       code;
        uint8_t        flags;
        const uint8_t *data;
        uint8_t        len;
    } features[] = {
        { 0x0000, PERSISTENT | IS_CURRENT, profiles, sizeof profiles },
        { 0x0001, 2 << 2 | PERSISTENT | IS_CURRENT, (const uint8_t[]){ 0, 0, 0, 2, 1, 0, 0, 0 }, 8 }, /* core: ATAPI */
        { 0x0003, PERSISTENT | IS_CURRENT, (const uint8_t[]){ 0x29, 0, 0, 0 }, 4 },       /* removable: a tray */
        { 0x0010, now != PROFILE_NONE, (const uint8_t[]){ 0, 0, 8, 0, 0, 16, 0, 0 }, 8 }, /* random reads */
        { 0x001e, now == PROFILE_CD, (const uint8_t[]){ 0, 0, 0, 0 }, 4 },                /* reads CDs */
        { 0x001f, now == PROFILE_DVD, (const uint8_t[]){ 0, 0, 0, 0 }, 4 },               /* reads DVDs */
    };
    size_t len = HEADER;

    if (how > ONE) {
        return bad_field(c->m);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        bool wanted = how == ONE ? features[i].code == start : features[i].code >= start;
        if (wanted && (how != CURRENT || features[i].flags & IS_CURRENT)) {
            len += put_feature(c->buf + len, features[i].code, features[i].flags, features[i].data, features[i].len);
        }
    }
    memset(c->buf, 0, HEADER);
    store_be32(c->buf, (uint32_t)len - 4);
    store_be16(c->buf + 6, now);
    return answer(c, len, load_be16(c->cdb + 7));
}

/* ---- The tray ---- */

void mmc_move_tray(Mmc *m, bool open)
{
    if (open != m->open) {
        m->open    = open;
        m->changed = !open && m->medium;
        m->event   = open ? MMC_MEDIUM_GONE : m->medium ? MMC_NEW_MEDIUM : MMC_NO_EVENT;
    }
}

void mmc_ask_eject(Mmc *m)
{
    m->event = MMC_EJECT_ASKED;
}

static MmcResult start_stop(Command *c)
{
    enum { START = 1, LOAD = 2, POWER = 0xf0 };
    Mmc    *m   = c->m;
    uint8_t how = c->cdb[4];
    if (how & POWER || !(how & LOAD)) {
        return MMC_DONE; /* power states, the motor */
    }
    bool open = !(how & START);
    if (open && !m->open && m->locked) {
        return fail(m, has_medium(m) ? KEY_ILLEGAL_REQUEST : KEY_NOT_READY, 0x53, 2); /* removal prevented */
    }
    mmc_move_tray(m, open);
    return MMC_DONE;
}

static MmcResult prevent_removal(Command *c)
{
    c->m->locked = c->cdb[4] & 1;
    return MMC_DONE;
}

static MmcResult get_event_status(Command *c)
{
    enum { POLLED = 1, MEDIA = 4, NONE = 0x80, HEADER = 4, SIZE = 8 };
    Mmc    *m       = c->m;
    bool    asked   = c->cdb[4] & 1 << MEDIA;
    uint8_t present = has_medium(m) ? 2 : 0;
    if (!(c->cdb[1] & POLLED)) {
        return bad_field(m);
    }
    memset(c->buf, 0, SIZE);
    store_be16(c->buf, asked ? SIZE - 2 : HEADER - 2);
    c->buf[2] = asked ? MEDIA : NONE;
    c->buf[3] = 1 << MEDIA; /* classes there are */
    if (asked) {
        c->buf[4] = (uint8_t)m->event;
        c->buf[5] = present | (m->open ? 1 : 0);
        m->event  = MMC_NO_EVENT;
    }
    return answer(c, asked ? SIZE : HEADER, load_be16(c->cdb + 7));
}

static MmcResult mechanism_status(Command *c)
{
    enum { SIZE = 8, OPEN = 0x10 };
    memset(c->buf, 0, SIZE);
    c->buf[1] = c->m->open ? OPEN : 0;
    c->buf[5] = 1;
    return answer(c, SIZE, load_be16(c->cdb + 8));
}

static MmcResult nothing_to_do(Command *c)
{
    return MMC_DONE;
}

/* ---- What the medium is ---- */

static MmcResult read_capacity(Command *c)
{
    store_be32(c->buf, (uint32_t)MIN(c->m->blocks - 1, UINT32_MAX));
    store_be32(c->buf + 4, MMC_BLOCK);
    return answer(c, 8, 8);
}

static void put_address(uint8_t *to, bool msf, uint64_t lba)
{
    uint64_t at = lba + LEAD_IN;
    if (msf) {
        to[0] = 0;
        to[1] = (uint8_t)MIN(at / FRAMES / 60, 255);
        to[2] = at / FRAMES % 60;
        to[3] = at % FRAMES;
    } else {
        store_be32(to, (uint32_t)MIN(lba, UINT32_MAX));
    }
}

static size_t put_track(uint8_t *to, uint8_t track, bool msf, uint64_t lba)
{
    memcpy(to, (const uint8_t[]){ 0, DATA_TRACK, track, 0 }, 4);
    put_address(to + 4, msf, lba);
    return 8;
}

/* An entry of the raw table: what is in the lead-in. */
static size_t put_raw(uint8_t *to, uint8_t point, bool msf, uint64_t lba)
{
    memset(to, 0, 11);
    to[0] = 1; /* session */
    to[1] = DATA_TRACK;
    to[3] = point;
    put_address(to + 7, msf, lba);
    return 11;
}

static size_t put_raw_number(uint8_t *to, uint8_t point, uint8_t number)
{
    put_raw(to, point, true, 0);
    memcpy(to + 7, (const uint8_t[]){ 0, number, 0, 0 }, 4);
    return 11;
}

static MmcResult read_toc(Command *c)
{
    enum { TRACKS, SESSIONS, RAW };
    const Mmc *m      = c->m;
    bool       msf    = c->cdb[1] & 2;
    unsigned   format = c->cdb[2] & 15 ? c->cdb[2] & 15 : c->cdb[9] >> 6; /* where SFF-8020i has it */
    uint8_t    start  = c->cdb[6];
    uint8_t   *buf    = c->buf;
    size_t     len    = 4;

    buf[2] = buf[3] = 1; /* first and last track, or session */
    switch (format) {
    case TRACKS:
        if (start > 1 && start != LEAD_OUT) {
            return bad_field(c->m);
        }
        if (start <= 1) {
            len += put_track(buf + len, 1, msf, 0);
        }
        len += put_track(buf + len, LEAD_OUT, msf, m->blocks);
        break;
    case SESSIONS: len += put_track(buf + len, 1, msf, 0); break;
    case RAW:
        len += put_raw_number(buf + len, 0xa0, 1); /* first track */
        len += put_raw_number(buf + len, 0xa1, 1); /* last */
        len += put_raw(buf + len, 0xa2, true, m->blocks);
        len += put_raw(buf + len, 1, true, 0);
        break;
    default: return bad_field(c->m);
    }
    store_be16(buf, (uint16_t)(len - 2));
    return answer(c, len, load_be16(c->cdb + 7));
}

static MmcResult read_disc_info(Command *c)
{
    enum { SIZE = 34, COMPLETE = 0x0e, UNRESTRICTED = 0x20 };
    if (c->cdb[1] & 7) {
        return bad_field(c->m);
    }
    memset(c->buf, 0, SIZE);
    store_be16(c->buf, SIZE - 2);
    c->buf[2] = COMPLETE;
    c->buf[3] = c->buf[4] = c->buf[5] = c->buf[6] = 1; /* first track, sessions, first and last track of the last one */
    c->buf[7]                                     = UNRESTRICTED;
    return answer(c, SIZE, load_be16(c->cdb + 7));
}

static MmcResult read_subchannel(Command *c)
{
    enum { NO_AUDIO = 0x15 };
    memcpy(c->buf, (const uint8_t[]){ 0, NO_AUDIO, 0, 0 }, 4);
    return answer(c, 4, load_be16(c->cdb + 7));
}

static MmcResult read_dvd(Command *c)
{
    enum { PHYSICAL = 0, COPYRIGHT = 1, MANUFACTURER = 4, HEADER = 4 };
    const Mmc *m      = c->m;
    uint8_t   *data   = c->buf + HEADER;
    size_t     len    = 0;
    uint8_t    format = c->cdb[7];

    if (c->cdb[1] & 15 || profile(m) != PROFILE_DVD) {
        return fail(c->m, KEY_ILLEGAL_REQUEST, 0x30, 2); /* incompatible format */
    }
    memset(c->buf, 0, HEADER + MMC_BLOCK);
    switch (format) {
    case PHYSICAL:
        if (c->cdb[6]) { /* one layer */
            return bad_field(c->m);
        }
        len     = MMC_BLOCK;
        data[0] = 1;    /* DVD-ROM, part version 1 */
        data[1] = 0x0f; /* 120 mm, no minimum rate */
        data[2] = 1;    /* one layer, read-only */
        store_be32(data + 4, DVD_START);
        store_be32(data + 8, (uint32_t)MIN(DVD_START + m->blocks - 1, 0xffffff));
        break;
    case COPYRIGHT: len = 4; break; /* none */
    case MANUFACTURER: len = MMC_BLOCK; break;
    default: return bad_field(c->m);
    }
    store_be16(c->buf, (uint16_t)(len + 2));
    return answer(c, HEADER + len, load_be16(c->cdb + 8));
}

/* ---- Reading ---- */

static MmcResult want_blocks(Command *c, uint32_t lba, uint32_t count)
{
    if (lba >= c->m->blocks || count > c->m->blocks - lba) {
        return count || lba > c->m->blocks ? fail(c->m, KEY_ILLEGAL_REQUEST, 0x21, 0) : MMC_DONE;
    }
    c->reply->lba   = lba;
    c->reply->count = count;
    return count ? MMC_READ : MMC_DONE;
}

static MmcResult read_10(Command *c)
{
    return want_blocks(c, load_be32(c->cdb + 2), load_be16(c->cdb + 7));
}

static MmcResult read_12(Command *c)
{
    return want_blocks(c, load_be32(c->cdb + 2), load_be32(c->cdb + 6));
}

static MmcResult read_cd(Command *c)
{
    enum { NOTHING = 0, USER_DATA = 0x10 };
    const uint8_t *cdb  = c->cdb;
    uint32_t       n    = (uint32_t)cdb[6] << 16 | cdb[7] << 8 | cdb[8];
    uint8_t        what = cdb[9] & 0xf8, kind = cdb[1] >> 2 & 7;
    if (what == NOTHING) {
        return MMC_DONE;
    }
    if (what != USER_DATA || cdb[10] & 7) {
        return bad_field(c->m);
    }
    return kind == 0 || kind == 2 ? want_blocks(c, load_be32(cdb + 2), n) /* any, or mode 1 */
                                  : fail(c->m, KEY_ILLEGAL_REQUEST, 0x64, 0);
}

static MmcResult seek_10(Command *c)
{
    return load_be32(c->cdb + 2) < c->m->blocks ? MMC_DONE : fail(c->m, KEY_ILLEGAL_REQUEST, 0x21, 0);
}

static MmcResult verify_10(Command *c)
{
    MmcResult r = read_10(c);
    return r == MMC_READ ? MMC_DONE : r;
}

/* ---- All of them ---- */

enum { MEDIUM = 1 /* needs one */, ALWAYS = 2 /* runs although the host does not know of a change yet */ };

static const struct {
    uint8_t code, flags;
    MmcResult (*run)(Command *c);
} commands[] = {
    { TEST_UNIT_READY, MEDIUM, nothing_to_do },
    { REQUEST_SENSE, ALWAYS, request_sense },
    { INQUIRY, ALWAYS, inquiry },
    { START_STOP_UNIT, 0, start_stop },
    { PREVENT_REMOVAL, 0, prevent_removal },
    { READ_CAPACITY, MEDIUM, read_capacity },
    { READ_10, MEDIUM, read_10 },
    { SEEK_10, MEDIUM, seek_10 },
    { VERIFY_10, MEDIUM, verify_10 },
    { READ_SUBCHANNEL, MEDIUM, read_subchannel },
    { READ_TOC, MEDIUM, read_toc },
    { GET_CONFIGURATION, ALWAYS, get_configuration },
    { GET_EVENT_STATUS, ALWAYS, get_event_status },
    { READ_DISC_INFO, MEDIUM, read_disc_info },
    { MODE_SENSE_10, 0, mode_sense },
    { READ_12, MEDIUM, read_12 },
    { READ_DVD, MEDIUM, read_dvd },
    { SET_CD_SPEED, 0, nothing_to_do },
    { MECHANISM_STATUS, 0, mechanism_status },
    { READ_CD, MEDIUM, read_cd },
};

MmcResult mmc_execute(Mmc *m, const uint8_t cdb[MMC_COMMAND], uint8_t *buf, MmcReply *reply)
{
    Command c = { m, cdb, buf, reply };
    *reply    = (MmcReply){};
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (commands[i].code != cdb[0]) {
            continue;
        }
        if (m->changed && !(commands[i].flags & ALWAYS)) {
            m->changed = false;
            return fail(m, KEY_UNIT_ATTENTION, 0x28, 0);
        }
        if (commands[i].flags & MEDIUM && !has_medium(m)) {
            return fail(m, KEY_NOT_READY, 0x3a, m->open ? 2 : 1);
        }
        if (cdb[0] != REQUEST_SENSE) {
            m->key = m->asc = m->ascq = 0;
        }
        return commands[i].run(&c);
    }
    return fail(m, KEY_ILLEGAL_REQUEST, 0x20, 0);
}

void mmc_fail_read(Mmc *m, uint8_t key)
{
    fail(m, key, key == MMC_KEY_MEDIUM_ERROR ? 0x11 : 0, 0);
}

void mmc_reset(Mmc *m, bool power_on)
{
    m->locked = false;
    m->key = m->asc = m->ascq = 0;
    if (power_on) {
        m->open = m->changed = false;
        m->event             = MMC_NO_EVENT;
    }
}
