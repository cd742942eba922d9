// Counts allocations by standing in for the C library's functions, and references by the hooks that the Swift runtime
// has for instruments.
#include "counters.h"

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static atomic_bool is_counting;
static atomic_llong allocations, deallocations, retains, releases;

static void count(atomic_llong *counter, long long number) {
  if (atomic_load_explicit(&is_counting, memory_order_relaxed))
    atomic_fetch_add_explicit(counter, number, memory_order_relaxed);
}

// MARK: Allocations

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define QCC_HAS_SANITIZER
#endif
#endif

#ifdef QCC_HAS_SANITIZER
int qcc_counts_allocations(void) { return 0; }
#else
int qcc_counts_allocations(void) { return 1; }

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

void *malloc(size_t size) {
  count(&allocations, 1);
  return __libc_malloc(size);
}
void *calloc(size_t number, size_t size) {
  count(&allocations, 1);
  return __libc_calloc(number, size);
}
void *realloc(void *memory, size_t size) {
  count(&allocations, 1);
  return __libc_realloc(memory, size);
}
void *memalign(size_t alignment, size_t size) {
  count(&allocations, 1);
  return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}
void free(void *memory) {
  if (memory) count(&deallocations, 1);
  __libc_free(memory);
}
#endif

// MARK: References

static void *(*retain)(void *);
static void (*release)(void *);
static void *(*retain_n)(void *, uint32_t);
static void (*release_n)(void *, uint32_t);

static void *counted_retain(void *object) {
  if (object) count(&retains, 1);
  return retain(object);
}
static void counted_release(void *object) {
  if (object) count(&releases, 1);
  release(object);
}
static void *counted_retain_n(void *object, uint32_t number) {
  if (object) count(&retains, number);
  return retain_n(object, number);
}
static void counted_release_n(void *object, uint32_t number) {
  if (object) count(&releases, number);
  release_n(object, number);
}

/// Exchanges `function` with what the runtime's library keeps at a place. By name, since a reference from here could
/// get a copy of its own.
static void *exchange(const char *name, void *function) {
  void **place = dlsym(RTLD_DEFAULT, name);
  void *previous = *place;
  *place = function;
  return previous;
}

/// Whether the runtime looks at the functions above. Only while counting: it hands them the masked bits of what is no
/// object, such as short strings, which the functions for objects then take for one.
static void use_hooks(bool are_used) {
  atomic_bool *place =
      dlsym(RTLD_DEFAULT, "_swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly");
  atomic_store(place, are_used);
}

void qcc_start_counting(void) {
  if (!retain) {
    retain = exchange("_swift_retain", counted_retain);
    release = exchange("_swift_release", counted_release);
    retain_n = exchange("_swift_retain_n", counted_retain_n);
    release_n = exchange("_swift_release_n", counted_release_n);
  }
  allocations = deallocations = retains = releases = 0;
  use_hooks(true);
  atomic_store(&is_counting, true);
}

qcc_counts qcc_stop_counting(void) {
  atomic_store(&is_counting, false);
  use_hooks(false);
  return (qcc_counts){allocations, deallocations, retains, releases};
}
