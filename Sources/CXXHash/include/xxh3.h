#pragma once
// XXH3 from libxxhash's header, instantiated here alone so that no other target compiles it.
#include <stddef.h>
#include <stdint.h>

/// XXH3-64 with seed 0 of `length` bytes.
uint64_t qcc_xxh3_64(const void *data, size_t length);
