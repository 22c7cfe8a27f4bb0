/* The dump of guest memory that is being written, of which there is one at a time (cmd_dump.c). */

#ifndef QUERN_MONITOR_DUMPING_H
#define QUERN_MONITOR_DUMPING_H

#include "monitor/monitor.h"

typedef struct Dumping Dumping;

Dumping *dumping_new(Monitors *all);
void     dumping_free(Dumping *d); /* gives up one that is under way */

Dumping *monitors_dumping(Monitors *all);

#endif
