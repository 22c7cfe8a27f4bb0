/* Which sanitizer this is built with, and what it must be told. */

#ifndef QUERN_BASE_SANITIZE_H
#define QUERN_BASE_SANITIZE_H

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#else
#define WITH_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define WITH_ASAN 1
#else
#define WITH_ASAN 0
#endif

/* What happens before order_release(p) on one thread happens before what follows order_acquire(p) on another, by
 * means that ThreadSanitizer does not see (code that is not built with it). Nothing without it. */
#if WITH_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define order_acquire(p) __tsan_acquire(p)
#define order_release(p) __tsan_release(p)
#else
#define order_acquire(p) ((void)(p))
#define order_release(p) ((void)(p))
#endif

#endif
