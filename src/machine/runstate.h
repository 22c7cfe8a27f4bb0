/* What the machine's constructor needs of the run state (runstate.c). */

#ifndef QUERN_MACHINE_RUNSTATE_H
#define QUERN_MACHINE_RUNSTATE_H

#include "machine/machine.h"

/* Sets the Platform's request functions and the first state. */
void run_state_init(Machine *m);

/* Stops the machine, on the main loop. Any thread. */
void run_state_request_pause(Machine *m, RunState state);

/* The callbacks to give to accel_new(). */
AccelHost run_state_accel_host(Machine *m);

#endif
