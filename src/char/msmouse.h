/* What moves a serial mouse. Main loop, or machine lock held. */

#ifndef QUERN_CHAR_MSMOUSE_H
#define QUERN_CHAR_MSMOUSE_H

#include "char/char.h"

enum { MSMOUSE_LEFT = 1, MSMOUSE_RIGHT = 2, MSMOUSE_MIDDLE = 4 };

bool char_is_msmouse(const Chardev *chr);

/* Moves it by so many counts, right and down, with these buttons held. What the guest has not taken yet adds up; a
 * mouse without power does not notice. */
void char_msmouse_move(Chardev *chr, int dx, int dy, unsigned buttons);

#endif
