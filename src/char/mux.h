/* What the hub knows of muxes: several front ends on one back end, with escape keys. */

#ifndef QUERN_CHAR_MUX_H
#define QUERN_CHAR_MUX_H

#include "char/char.h"

enum { MUX_FRONTENDS = 4 };

const CharType *mux_char_type(void);

/* `mux` is of mux_char_type() in these. */
bool mux_attach(Chardev *mux, CharFrontend *fe, Error *err);
void mux_detach(Chardev *mux, CharFrontend *fe);
void mux_set_focus(Chardev *mux, CharFrontend *fe);

/* For any chardev: does it have front ends as a mux; the "ID-base" chardev made together with it, or NULL. */
bool     mux_in_use(const Chardev *chr);
Chardev *mux_implicit_base(Chardev *chr);

/* Is `chr` what a mux sits on? */
bool mux_has_base(CharHub *hub, const Chardev *chr);

/* A break for the front end with the focus. `mux` is one. */
void mux_receive_break(Chardev *mux);

#endif
