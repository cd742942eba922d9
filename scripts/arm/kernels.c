// Tests kernels: every one of the list that the processor can run; prints a line for each.
#include "kernels.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { page = 4096 };

long qcc_test_kernels(void);

static size_t mapped_bytes(long count) { return ((size_t)count + page - 1) / page * page + page; }

void *qcc_map_guarded(long count, uint8_t fill) {
  size_t size = mapped_bytes(count);
  char *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED || mprotect(mapping + size - page, page, PROT_NONE)) {
    fprintf(stderr, "cannot map %zu bytes\n", size);
    exit(71);
  }
  return memset(mapping + size - page - count, fill, (size_t)count);
}

void qcc_unmap_guarded(void *base, long count) {
  size_t size = mapped_bytes(count);
  munmap((char *)base + count + page - size, size);
}

void qcc_report_kernel(const uint8_t *name, long cases, long wrong) {
  printf("%-21s %ld cases, %ld wrong\n", (const char *)name, cases, wrong);
}

int main(void) { return qcc_test_kernels() ? 2 : 0; }
