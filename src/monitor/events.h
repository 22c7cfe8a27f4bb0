/* QMP events: from the machine to every client, with a time, and not too often. */

#ifndef QUERN_MONITOR_EVENTS_H
#define QUERN_MONITOR_EVENTS_H

#include "monitor/monitor.h"

typedef struct Events Events;

/* Listens to the machine from then on. */
Events *events_new(Monitors *all);
void    events_free(Events *e);

/* `name` is in the table of events; takes `data`, NULL for none. */
void events_emit(Events *e, const char *name, Json *data);

#endif
