#pragma once
#include <stdint.h>

/// `count` bytes of `fill` that end at an inaccessible page; free them with `qcc_unmap_guarded`.
void *qcc_map_guarded(long count, uint8_t fill);
void qcc_unmap_guarded(void *base, long count);

/// Prints what a kernel did: how many cases it ran, and how many of its results were wrong.
void qcc_report_kernel(const uint8_t *name, long cases, long wrong);
