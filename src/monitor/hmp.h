/* HMP: the monitor for people, in mode readline. */

#ifndef QUERN_MONITOR_HMP_H
#define QUERN_MONITOR_HMP_H

#include "monitor/monitor.h"

HmpSession *hmp_session_new(Monitor *mon); /* borrowed; writes with monitor_write() */
void        hmp_session_free(HmpSession *s);

/* Somebody came to the other end, or went. On a mux also: got the focus (focused), or lost it. */
void hmp_session_opened(HmpSession *s);
void hmp_session_closed(HmpSession *s);
void hmp_session_focused(HmpSession *s, bool in);

/* Bytes that fit now, and the bytes. char_accept_input(&mon->fe) when more fit than before. */
size_t hmp_session_can_read(const HmpSession *s);
void   hmp_session_read(HmpSession *s, const uint8_t *buf, size_t len);

/* Carries one line out; what it says goes to monitor_write(). `mon` may be a captured one, without a session. */
void hmp_execute(Monitor *mon, const char *line);

/* What "info NAME" says, without arguments, as it is. */
bool hmp_info(Monitor *mon, const char *name, GString *out, Error *err);

#endif
