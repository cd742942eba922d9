// Preloaded into a peer whose libraries were patched by avx2.py: their CPUID instructions (0F A2) are bytes that are
// no instruction (06 A2), which arrive here as SIGILL and are answered without AVX-512, AVX-VNNI and AMX.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ucontext.h>

static inline uint32_t bit(int number) { return 1u << number; }

static void answer(int signal_number, siginfo_t *info, void *context) {
  (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)registers[REG_RIP];
  if (code[0] != 0x06 || code[1] != 0xA2) {
    signal(signal_number, SIG_DFL);  // somebody else's: runs into it again and ends
    return;
  }
  uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX];
  uint32_t a, b, c, d;
  __cpuid_count(leaf, subleaf, a, b, c, d);
  if (leaf == 7 && subleaf == 0) {
    // AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL
    b &= ~(bit(16) | bit(17) | bit(21) | bit(26) | bit(27) | bit(28) | bit(30) | bit(31));
    // AVX512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    c &= ~(bit(1) | bit(6) | bit(11) | bit(12) | bit(14));
    // AVX512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX BF16, TILE, INT8
    d &= ~(bit(2) | bit(3) | bit(8) | bit(23) | bit(22) | bit(24) | bit(25));
  }
  if (leaf == 7 && subleaf == 1) {
    // AVX-VNNI, AVX512 BF16, AMX FP16, AVX-IFMA
    a &= ~(bit(4) | bit(5) | bit(21) | bit(23));
    // AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16, AVX10
    d &= ~(bit(4) | bit(5) | bit(8) | bit(10) | bit(19));
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

// Before the constructors of the libraries that ask.
__attribute__((constructor(101))) static void install(void) {
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGILL, &action, NULL);
}
