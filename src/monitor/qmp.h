/* QMP: one client's conversation, from bytes to commands and back. */

#ifndef QUERN_MONITOR_QMP_H
#define QUERN_MONITOR_QMP_H

#include "monitor/monitor.h"

QmpSession *qmp_session_new(Monitor *mon); /* borrowed */
void        qmp_session_free(QmpSession *s);

/* A client came (it is greeted, and has to negotiate anew) or went. */
void qmp_session_opened(QmpSession *s);
void qmp_session_closed(QmpSession *s);

/* Returns how many bytes it took: not all when a command made the monitors stop reading (monitors_hold). */
size_t qmp_session_read(QmpSession *s, const uint8_t *buf, size_t len);

/* Sends an event to a client that has negotiated. Borrows it. */
void qmp_session_event(QmpSession *s, const Json *event);

/* qmp_capabilities: `oob` says whether the client asked for it. */
bool qmp_session_negotiate(QmpSession *s, bool oob, Error *err);

/* {"qemu": {"major", "minor", "micro"}, "package"} */
Json *qmp_version(void);

#endif
