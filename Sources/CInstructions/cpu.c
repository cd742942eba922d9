#include "instructions.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

uint32_t qcc_cpu_features(void) {
  uint32_t features = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
      __builtin_cpu_supports("bmi2")) {
    features |= 1;
    if (__builtin_cpu_supports("avxvnni")) features |= 8;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni")) {
      features |= 2;
      if (__builtin_cpu_supports("avx512vpopcntdq")) features |= 1 << 8;
    }
  }
#elif defined(__aarch64__)
  features |= 1 << 16;
#if defined(__linux__)
  // HWCAP_ASIMDDP and HWCAP2_I8MM of <asm/hwcap.h>.
  if (getauxval(AT_HWCAP) & (1 << 20)) features |= 1 << 17;
  if (getauxval(AT_HWCAP2) & (1 << 13)) features |= 1 << 18;
#endif
#endif
  return features;
}
