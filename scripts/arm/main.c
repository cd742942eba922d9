// Runs a program on samples that lie one after another: main PROGRAM.qpk INPUTS.f32 OUTPUTS.f32
// Prints the index and the XXH3 hash of every tensor, in the order in which they are complete, as 'qcc run --hashes'.
#include <stdio.h>
#include <stdlib.h>
#include "xxh3.h"

enum { maximum_outputs = 1 << 20 };

const char *qcc_run(const void *bytes, long count, const float *inputs, long input_count, float *outputs,
                    long *output_count, void (*observe)(long, const unsigned char *, long));

static void print_hash(long tensor, const unsigned char *contents, long count) {
  printf("%ld %016llx\n", tensor, (unsigned long long)qcc_xxh3_64(contents, (size_t)count));
}

static void *read_file(const char *path, long *count) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    fprintf(stderr, "%s: cannot open\n", path);
    exit(66);
  }
  fseek(file, 0, SEEK_END);
  *count = ftell(file);
  rewind(file);
  void *bytes = aligned_alloc(64, ((size_t)*count + 64) / 64 * 64);
  if (!bytes || fread(bytes, 1, (size_t)*count, file) != (size_t)*count) {
    fprintf(stderr, "%s: cannot read\n", path);
    exit(74);
  }
  fclose(file);
  return bytes;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: %s PROGRAM.qpk INPUTS.f32 OUTPUTS.f32\n", argv[0]);
    return 64;
  }
  long program_bytes, input_bytes;
  void *program = read_file(argv[1], &program_bytes);
  float *inputs = read_file(argv[2], &input_bytes);
  long output_count = maximum_outputs;
  float *outputs = calloc(maximum_outputs, sizeof(float));
  const char *fault = qcc_run(program, program_bytes, inputs, input_bytes / (long)sizeof(float), outputs, &output_count,
                              print_hash);
  if (fault) {
    fprintf(stderr, "%s: %s\n", argv[1], fault);
    return 65;
  }
  FILE *file = fopen(argv[3], "wb");
  if (!file || fwrite(outputs, sizeof(float), (size_t)output_count, file) != (size_t)output_count || fclose(file)) {
    fprintf(stderr, "%s: cannot write\n", argv[3]);
    return 73;
  }
  return 0;
}
