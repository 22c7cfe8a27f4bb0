/* Character devices: byte streams between a front end (a serial port, a monitor, the gdbstub) and a back end (a
 * terminal, a socket, a file). One file a back end.
 *
 * All calls and callbacks on the main loop or with the machine lock held. */

#ifndef QUERN_CHAR_CHAR_H
#define QUERN_CHAR_CHAR_H

#include "loop/loop.h"
#include "object/object.h"

typedef struct Chardev      Chardev;
typedef struct CharFrontend CharFrontend;
typedef struct CharType     CharType;
struct InputHub;
typedef struct CharHub CharHub; /* all chardevs of a process: id to Chardev, and what they need */

typedef enum CharEvent {
    CHAR_OPENED,
    CHAR_CLOSED,
    CHAR_BREAK,
    CHAR_MUX_IN,
    CHAR_MUX_OUT,
    CHAR_INTERRUPT, /* of a host's parallel port */
} CharEvent;

/* Line control, as a serial port asks for it. */
typedef struct CharLine {
    unsigned baud;
    char     parity; /* 'N', 'E', 'O', 'M' (mark), 'S' (space) */
    uint8_t  data_bits, stop_bits;
} CharLine;

enum { CHAR_RTS = 1, CHAR_DTR = 2, CHAR_CTS = 4, CHAR_DSR = 8, CHAR_RI = 16, CHAR_DCD = 32 };

/* What a host's parallel port does, a byte at a time. EPP cycles fail when nobody answers. */
typedef enum CharPort {
    CHAR_PORT_READ_DATA,
    CHAR_PORT_WRITE_DATA,
    CHAR_PORT_READ_STATUS,
    CHAR_PORT_WRITE_CONTROL, /* strobe to select (bits 0 to 3) and CHAR_PORT_REVERSE, as in the register */
    CHAR_PORT_READ_EPP_ADDRESS,
    CHAR_PORT_WRITE_EPP_ADDRESS,
    CHAR_PORT_READ_EPP_DATA,
    CHAR_PORT_WRITE_EPP_DATA,
} CharPort;

enum { CHAR_PORT_REVERSE = 0x20 };

struct CharType {
    struct ObjectType;   /* .name is the backend's: "socket"; .properties are its options */
    const char *alias;   /* "tty" for "serial" */
    const char *missing; /* not NULL: known but not built; says "not supported yet" */
    bool (*open)(Chardev *chr, Error *err);
    /* Returns how many bytes were taken, 0 when it would block (the back end calls char_writable() later), -1 when it
     * is gone. */
    ssize_t (*write)(Chardev *chr, const uint8_t *buf, size_t len);
    void (*accept_input)(Chardev *chr);                   /* the front end has room again; may be NULL */
    bool (*set_line)(Chardev *chr, const CharLine *line); /* may be NULL */
    void (*set_break)(Chardev *chr, bool on);             /* may be NULL */
    bool (*set_modem)(Chardev *chr, unsigned lines);      /* CHAR_RTS | CHAR_DTR; may be NULL */
    bool (*get_modem)(Chardev *chr, unsigned *lines);
    bool (*port)(Chardev *chr, CharPort what, uint8_t *value); /* parallel ports of the host only: no stream */
    void (*close)(Chardev *chr);
    void (*set_echo)(Chardev *chr, bool on); /* terminals only; may be NULL */
    int (*write_fd)(Chardev *chr);           /* what to poll for writing when write returned 0; may be NULL */
    char *(*describe)(Chardev *chr);         /* query-chardev's "filename"; NULL: the type's name */
    int (*take_fd)(Chardev *chr); /* the next descriptor that the other end has passed, -1: none; may be NULL */
    void (*yank)(Chardev *chr);   /* breaks the connection, whatever state it is in; may be NULL */
};

struct Chardev {
    Object        obj;
    CharHub      *hub;
    char         *id;
    CharFrontend *frontend; /* one; a mux has more (and keeps them itself) */
    bool          is_open;  /* the other end is there */
    char         *logfile;  /* common options of every backend */
    bool          logappend;
    bool          mux;
    bool          opened; /* CharType.open succeeded, close is due */
    int           log_fd;
};

/* Embedded in the front end's struct. */
struct CharFrontend {
    Chardev *chr; /* NULL: not connected: output is dropped */
    int      mux_tag;
    bool     takes_port; /* it can do with a parallel port of the host; other front ends are refused there */
    bool     stays;      /* it cannot get another chardev (char_change): it acts on its own from inside read() */
    void    *opaque;
    size_t (*can_read)(void *opaque); /* how many bytes fit now */
    void (*read)(void *opaque, const uint8_t *buf, size_t len);
    void (*event)(void *opaque, CharEvent event); /* may be NULL */
    void (*writable)(void *opaque);               /* may be NULL */
};

#define CHAR_TYPE(identifier)                                                                                          \
    static const CharType          identifier##_type;                                                                  \
    static const ObjectType *const identifier##_entry __attribute__((used, section("quern_types"))) =                  \
        (const ObjectType *)&identifier##_type;                                                                        \
    static const CharType identifier##_type

CharHub *char_hub_new(Loop *loop, Object *root);
void     char_hub_free(CharHub *hub); /* closes all, restores terminals */
Loop    *char_hub_loop(CharHub *hub);

/* Where back ends that are input devices hear of input; borrowed. NULL, as at first: they hear nothing. */
void             char_hub_set_input(CharHub *hub, struct InputHub *input);
struct InputHub *char_hub_input(const CharHub *hub);

/* -chardev: {"backend": B, "id": I, "mux": ..., ...}. */
Chardev *char_create(CharHub *hub, const Json *options, bool lenient, Error *err);

/* -serial, -parallel, -monitor, -gdb, -qtest ... short forms: "stdio", "mon:stdio", "tcp:host:port,server=on",
 * "unix:path", "telnet:...", "udp:...", "pty:path", "file:name", "pipe:name", "chardev:id", "null", "none" ...
 * `id` names the chardev made. NULL and no error: "none". "mon:" makes a mux and sets *with_monitor. */
Chardev *char_create_short(CharHub *hub, const char *id, const char *text, bool *with_monitor, Error *err);
Chardev *char_find(CharHub *hub, const char *id, Error *err);
bool     char_remove(CharHub *hub, const char *id, Error *err); /* fails while a front end uses it */

/* Another back end in the place of one that a front end may be using (chardev-change); `options` as for char_create().
 * On failure everything is as it was. */
bool  char_change(CharHub *hub, const Json *options, bool lenient, Error *err);
void  char_foreach(CharHub *hub, void (*visit)(Chardev *chr, void *opaque), void *opaque);
bool  char_in_use(const Chardev *chr);                  /* by a front end, or a mux */
bool  char_check_backend(const char *name, Error *err); /* is there such a back end, and is it built? */
bool  char_is_mux(const Chardev *chr);
char *char_describe(Chardev *chr); /* "tcp:127.0.0.1:4444,server=on"; the caller frees */

extern const Field char_common_options[]; /* keys that every back end has */

/* "-chardev help" and "-chardev X,help". */
void char_print_help(GString *out);
bool char_print_type_help(const char *backend, GString *out, Error *err);

static inline const CharType *char_type(const Chardev *chr)
{
    return (const CharType *)chr->obj.type;
}

/* Connects a front end; a chardev with mux=on takes up to four, any other one. */
bool char_attach(CharFrontend *fe, Chardev *chr, Error *err);
void char_detach(CharFrontend *fe);

/* For devices with a "chardev" property: attaches to the chardev of that id. NULL or "": stays unconnected. */
bool char_attach_id(CharFrontend *fe, CharHub *hub, const char *id, Error *err);

/* A break as if the other end had sent it. */
void char_receive_break(Chardev *chr);

/* A descriptor that came with what was read last (SCM_RIGHTS), in their order; the caller closes it. -1: no more. */
int char_take_fd(CharFrontend *fe);

/* On a mux, makes `fe` the one that hears the keys. The front end attached first has the focus until then. */
void char_take_focus(CharFrontend *fe);

/* Front end to back end. char_write takes what it can without blocking: fewer bytes than asked means that the
 * front end's `writable` is called later. char_write_all waits for the other end, for up to a second without progress,
 * and then drops the rest: for debug output and prompts only. -1: gone. Without a chardev everything is taken. */
ssize_t char_write(CharFrontend *fe, const void *buf, size_t len);
void    char_write_all(CharFrontend *fe, const void *buf, size_t len);
void    char_accept_input(CharFrontend *fe); /* whenever can_read() may have grown */
void    char_set_echo(CharFrontend *fe, bool on);
bool    char_set_line(CharFrontend *fe, const CharLine *line);
void    char_set_break(CharFrontend *fe, bool on);
bool    char_set_modem(CharFrontend *fe, unsigned lines);
bool    char_get_modem(CharFrontend *fe, unsigned *lines);
bool    char_is_open(const CharFrontend *fe);
bool    char_costs_a_call(const CharFrontend *fe); /* each char_write() is a system call */
bool    char_is_port(const CharFrontend *fe); /* a host's parallel port: char_port() works, char_write() does not */
bool    char_port(CharFrontend *fe, CharPort what, uint8_t *value);

/* Back end to front end. Front ends may detach in these, but not remove the chardev. */
size_t char_can_read(Chardev *chr);
void   char_push(Chardev *chr, const uint8_t *buf, size_t len); /* at most char_can_read() bytes */
void   char_event(Chardev *chr, CharEvent event);
void   char_writable(Chardev *chr);

/* The escape character of muxes (-echr; 1 to 255), what Ctrl-A X does and what Ctrl-A S does (NULL: there is nothing
 * to save). */
void char_hub_set_escape(CharHub *hub, int escape);
int  char_hub_escape(const CharHub *hub);
void char_hub_on_quit(CharHub *hub, void (*quit)(void *opaque), void *opaque);
void char_hub_on_save(CharHub *hub, void (*save)(void *opaque), void *opaque);
void char_hub_quit(CharHub *hub);
bool char_hub_save(CharHub *hub); /* false: nothing to save */

/* The process has given its terminal up (-daemonize): stdio is refused, and `why` says so. A literal. */
void        char_hub_forbid_stdio(CharHub *hub, const char *why);
const char *char_hub_stdio_forbidden(const CharHub *hub); /* NULL: it is not */

/* Makes opens that wait for somebody to connect (server=on,wait=on) fail: for SIGINT during start-up. */
void char_hub_cancel_waits(CharHub *hub);
bool char_hub_waits_cancelled(const CharHub *hub);

/* -add-fd sets: duplicates of inherited descriptors, in numbered sets, opened as /dev/fdset/N. */
bool char_hub_add_fd(CharHub *hub, int fd, int64_t set, const char *opaque, Error *err);
int  char_hub_open(CharHub *hub, const char *path, int flags, int mode); /* open() that knows /dev/fdset/N; errno */

/* The same for monitors: the sets change while the machine runs. `set` -1: a new one. The number of the duplicate is in
 * *copy. fd -1: the whole set goes. */
bool char_hub_add_fd_to(CharHub *hub, int fd, int64_t *set, const char *opaque, int *copy, Error *err);
bool char_hub_remove_fd(CharHub *hub, int64_t set, int fd, Error *err);
void char_hub_each_fd(CharHub *hub, void (*visit)(void *opaque, int64_t set, int fd, const char *text), void *opaque);

/* ringbuf.c: the monitor's side of a ring buffer. False when `chr` is none. */
bool char_is_ringbuf(const Chardev *chr);
bool char_ringbuf_put(Chardev *chr, const void *data, size_t len);  /* as if the front end had written it */
bool char_ringbuf_take(Chardev *chr, size_t max, GByteArray *data); /* oldest first, removes what it returns */

#endif
