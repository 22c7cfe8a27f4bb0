/* RCU for the memory map: readers mark a section, writers wait until all older sections have ended.
 * liburcu's "bulletproof" flavour registers threads by itself. Sections nest and are short: no waiting inside. */

#ifndef QUERN_LOOP_RCU_H
#define QUERN_LOOP_RCU_H

void rcu_section_begin(void);
void rcu_section_end(void);

/* Waits until every section that began before has ended. Never inside a section. */
void rcu_wait_readers(void);

/* Threads that read a lot register themselves first and unregister before they end. */
void rcu_thread_register(void);
void rcu_thread_unregister(void);

#endif
