/* Audio devices: the host ends of sound cards, by id. Of the drivers only "none" is built, which takes what a card
 * plays and drops it, and records silence.
 *
 * Main thread, machine lock held. */

#ifndef QUERN_AUDIO_AUDIO_H
#define QUERN_AUDIO_AUDIO_H

#include "desc/field.h"

typedef struct AudioHub AudioHub; /* all audio devices of a machine */

AudioHub *audio_hub_new(void);
void      audio_hub_free(AudioHub *hub);

/* -audiodev: {"driver": D, "id": I, ...}. */
bool audio_create(AudioHub *hub, const Json *options, bool lenient, Error *err);

/* All of them with their settings, a list. The caller frees. */
Json *audio_describe(const AudioHub *hub);

/* -audiodev help */
void audio_print_help(GString *out);

extern const Field audiodev_options[]; /* all keys but "driver", of the driver "none" */

#endif
