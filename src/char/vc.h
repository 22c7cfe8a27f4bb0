/* What shows a vc chardev, or reads it, knows of it. Main loop, or machine lock held. */

#ifndef QUERN_CHAR_VC_H
#define QUERN_CHAR_VC_H

#include "char/char.h"
#include "char/vt.h"

/* The screen of a vc chardev, or of the one that a mux sits on; NULL when it is none. */
const Vt *char_vc_screen(Chardev *chr);

/* As if it had been typed there; chr is a vc. What does not fit into the queue (4 KiB, while the front end does not
 * read) is lost, as with a real keyboard. */
void char_vc_type(Chardev *chr, const char *text);
void char_vc_press(Chardev *chr, VtKey key);

#endif
