#include "xxh3.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t qcc_xxh3_64(const void *data, size_t length) { return XXH3_64bits(data, length); }
