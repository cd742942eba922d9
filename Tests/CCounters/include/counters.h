#pragma once
#include <stdint.h>

/// What the process has done between `qcc_start_counting` and `qcc_stop_counting`, on any thread.
typedef struct {
  /// Calls of malloc and its relatives.
  int64_t allocations;
  /// Calls of free with memory.
  int64_t deallocations;
  /// Swift objects retained and released.
  int64_t retains;
  int64_t releases;
} qcc_counts;

/// Whether memory is counted: not where a sanitizer has its own allocator.
int qcc_counts_allocations(void);

void qcc_start_counting(void);
qcc_counts qcc_stop_counting(void);
