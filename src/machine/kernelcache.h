/* The user's cache of unpacked kernels, for unpack-kernel=on: whoever starts the same kernel again need not decode it
 * again. It only ever saves time: where it cannot be used, all is as if there were none, and nothing is said.
 *
 * What is found belongs to the very bytes that were asked for: the packed kernel is in the file as well and compared.
 * Machine lock held. */

#ifndef QUERN_MACHINE_KERNELCACHE_H
#define QUERN_MACHINE_KERNELCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct KernelCache KernelCache;
typedef struct KeptKernel  KeptKernel;

/* $XDG_CACHE_HOME/quern/unpacked, or in ~/.cache; NULL: the environment names neither. The caller frees. */
char *kernel_cache_folder(void);

/* Makes the folder, for its owner alone. NULL: it is not there, or not to be trusted: somebody else's, or others can
 * write to it. */
KernelCache *kernel_cache_new(const char *folder);
void         kernel_cache_free(KernelCache *c); /* ends what is being saved, with nothing left behind. NULL is fine */

/* ---- Reading ---- */

/* What was kept for this packed kernel, by its header; NULL: nothing. `packed` is borrowed until kept_kernel_close().
 */
KeptKernel *kernel_cache_find(const KernelCache *c, const uint8_t *packed, size_t packed_len); /* c NULL: nothing */
uint64_t    kept_kernel_size(const KeptKernel *k); /* of the unpacked file's beginning, which is what was kept */
void        kept_kernel_close(KeptKernel *k);      /* NULL is fine */

/* Reads [at, at + len) of the unpacked file; false: that is not there, or damaged. */
bool kept_kernel_read(KeptKernel *k, uint64_t at, uint8_t *to, size_t len);

/* The same for much: adds to a list what kept_kernel_fetch() then reads on two threads, while it compares the packed
 * kernel. When that says false, anything may have been written, and what kept_kernel_read() said is not to be trusted
 * either. `zeroed`: `to` is zeros already, and is not touched where it stays so. */
void kept_kernel_want(KeptKernel *k, uint64_t at, uint8_t *to, size_t len, bool zeroed);
bool kept_kernel_fetch(KeptKernel *k);

/* ---- Saving ---- */

/* Memory for `size` bytes of the unpacked file, zeros, to be filled in; NULL: it is not to be kept. Then one of the
 * other two: saves it, on a thread of low priority that only kernel_cache_free() waits for, or forgets it. */
uint8_t *kernel_cache_begin(KernelCache *c, const uint8_t *packed, size_t packed_len, uint64_t size);
void     kernel_cache_save(KernelCache *c);
void     kernel_cache_drop(KernelCache *c);

#endif
