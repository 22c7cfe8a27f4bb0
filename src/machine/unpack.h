/* Unpacking what a Linux kernel is packed with, as a stream: by the magic number of the data gzip, xz, lzma, lz4, zstd.
 * Data is hostile. One thread at a time. */

#ifndef QUERN_MACHINE_UNPACK_H
#define QUERN_MACHINE_UNPACK_H

#include "base/error.h"

#include <stdint.h>

typedef struct Unpack Unpack;

/* `data` is borrowed and stays until unpack_close(). NULL with an error when the format is none of those. */
Unpack *unpack_open(const uint8_t *data, size_t len, Error *err);
void    unpack_close(Unpack *u); /* NULL is fine */

/* Puts the next `len` bytes at `to`; *got is how many there were, fewer only at the end. Damage that is found later
 * than the bytes asked for so far is no error yet. Large pieces are cheaper than many small ones. */
bool unpack_read(Unpack *u, uint8_t *to, size_t len, size_t *got, Error *err);

/* Memory of the decoder's that it writes from beginning to end, and is going to touch before long: known once the first
 * bytes were read. NULL: nothing worth mentioning. It stays until unpack_close(). */
uint8_t *unpack_window(const Unpack *u, size_t *len);

#endif
