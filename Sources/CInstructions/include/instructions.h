#pragma once
#include <stdint.h>

/// The features of the running processor as the bits of Swift's `CPUFeatures`; 0 where none is known.
uint32_t qcc_cpu_features(void);

// One instruction per function, for those that Swift cannot name. They are inlined into the Swift kernel that
// calls them; a module that is compiled without the feature does not see them, so it cannot call them with
// another calling convention. Vectors are 32-bit lanes whatever their content; `_x16` has 512 bits, `_x8` 256.

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>

#define QCC_INSTRUCTION static inline __attribute__((always_inline, unused))
typedef int32_t int32x16 __attribute__((ext_vector_type(16)));  // Swift: SIMD16<Int32>

/// c[i] + Σ_{j<4} (unsigned byte j of a[i]) * (signed byte j of b[i]), wrapping.
QCC_INSTRUCTION int32x16 dot4_x16(int32x16 c, int32x16 a, int32x16 b) {
  return (int32x16)_mm512_dpbusd_epi32((__m512i)c, (__m512i)a, (__m512i)b);
}

/// `offset`, but to the compiler a result of the four vectors: what is loaded with it stays behind their
/// computation. Without it the compiler moves all loads of a loop to its start and runs out of registers.
QCC_INSTRUCTION int64_t after_x16(int64_t offset, int32x16 a, int32x16 b, int32x16 c, int32x16 d) {
  __asm__("" : "+r"(offset) : "v"(a), "v"(b), "v"(c), "v"(d));
  return offset;
}

/// The 64-bit products of the even lanes.
QCC_INSTRUCTION int32x16 multiply_even_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_mul_epi32((__m512i)a, (__m512i)b);
}

/// The odd lanes moved to the even ones.
QCC_INSTRUCTION int32x16 odd_to_even_x16(int32x16 a) {
  return (int32x16)_mm512_srli_epi64((__m512i)a, 32);
}

/// The even lanes of `even`, and those of `odd` in the odd lanes.
QCC_INSTRUCTION int32x16 interleave_even_x16(int32x16 even, int32x16 odd) {
  return (int32x16)_mm512_mask_shuffle_epi32((__m512i)even, 0xAAAA, (__m512i)odd, _MM_PERM_CCAA);
}

/// Arithmetic shift of 64-bit lanes by 64-bit counts.
QCC_INSTRUCTION int32x16 shift_right_64_x16(int32x16 a, int32x16 counts) {
  return (int32x16)_mm512_srav_epi64((__m512i)a, (__m512i)counts);
}

/// Each 64-bit lane brought into the range of `low` and `high`.
QCC_INSTRUCTION int32x16 clamp_64_x16(int32x16 a, int64_t low, int64_t high) {
  return (int32x16)_mm512_min_epi64(_mm512_max_epi64((__m512i)a, _mm512_set1_epi64(low)), _mm512_set1_epi64(high));
}

/// Arithmetic shift of 32-bit lanes by 4.
QCC_INSTRUCTION int32x16 shift_right_4_x16(int32x16 a) {
  return (int32x16)_mm512_srai_epi32((__m512i)a, 4);
}

/// Shift of 16-bit lanes by 4 to the left.
QCC_INSTRUCTION int32x16 shift_left_4_words_x16(int32x16 a) {
  return (int32x16)_mm512_slli_epi16((__m512i)a, 4);
}

/// 32-bit lanes to 16 bits with saturation; in each quarter, four of `a` and then four of `b`.
QCC_INSTRUCTION int32x16 pack_words_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_packs_epi32((__m512i)a, (__m512i)b);
}

/// Signed 16-bit lanes to unsigned bytes with saturation; in each quarter, eight of `a` and then eight of `b`.
QCC_INSTRUCTION int32x16 pack_bytes_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_packus_epi16((__m512i)a, (__m512i)b);
}

/// Saturating addition of 16-bit lanes.
QCC_INSTRUCTION int32x16 add_words_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_adds_epi16((__m512i)a, (__m512i)b);
}

/// Arithmetic shift of 16-bit lanes by 1.
QCC_INSTRUCTION int32x16 halve_words_x16(int32x16 a) {
  return (int32x16)_mm512_srai_epi16((__m512i)a, 1);
}

QCC_INSTRUCTION int32x16 maximum_bytes_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_max_epu8((__m512i)a, (__m512i)b);
}

QCC_INSTRUCTION int32x16 minimum_bytes_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_min_epu8((__m512i)a, (__m512i)b);
}

/// Interleaves the lower halves of the quarters: byte by byte, or 16 bits by 16 bits.
QCC_INSTRUCTION int32x16 interleave_low_bytes_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_unpacklo_epi8((__m512i)a, (__m512i)b);
}
QCC_INSTRUCTION int32x16 interleave_low_words_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_unpacklo_epi16((__m512i)a, (__m512i)b);
}

/// Interleaves the upper halves of the quarters.
QCC_INSTRUCTION int32x16 interleave_high_bytes_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_unpackhi_epi8((__m512i)a, (__m512i)b);
}
QCC_INSTRUCTION int32x16 interleave_high_words_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_unpackhi_epi16((__m512i)a, (__m512i)b);
}

/// Quarters 0 and 1 of `a`, then of `b`.
QCC_INSTRUCTION int32x16 lower_halves_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_shuffle_i32x4((__m512i)a, (__m512i)b, 0x44);
}

/// Quarters 2 and 3 of `a`, then of `b`.
QCC_INSTRUCTION int32x16 upper_halves_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_shuffle_i32x4((__m512i)a, (__m512i)b, 0xEE);
}

/// Quarters 0 and 2 of `a`, then of `b`.
QCC_INSTRUCTION int32x16 even_quarters_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_shuffle_i32x4((__m512i)a, (__m512i)b, 0x88);
}

/// Quarters 1 and 3 of `a`, then of `b`.
QCC_INSTRUCTION int32x16 odd_quarters_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_shuffle_i32x4((__m512i)a, (__m512i)b, 0xDD);
}

/// Lane i of the result is lane `indices[i]` of `a`.
QCC_INSTRUCTION int32x16 permute_x16(int32x16 a, int32x16 indices) {
  return (int32x16)_mm512_permutexvar_epi32((__m512i)indices, (__m512i)a);
}

/// Stores the bytes whose mask bit is set.
QCC_INSTRUCTION void store_bytes_x16(void *destination, uint64_t mask, int32x16 a) {
  _mm512_mask_storeu_epi8(destination, mask, (__m512i)a);
}
#endif
