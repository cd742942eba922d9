#pragma once
#include <stdint.h>

/// The features of the running processor as the bits of Swift's `CPUFeatures`; 0 where none is known.
uint32_t qcc_cpu_features(void);

/// Tells the processor that a loop waits for another thread.
static inline void qcc_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One instruction per function, for those that Swift cannot name. They are inlined into the Swift kernel
// that calls them; a module that is compiled without the feature does not see them, so it cannot call them
// with another calling convention. Vectors are 32-bit lanes whatever their content; `_x16` has 512 bits,
// `_x8` 256.

#define QCC_INSTRUCTION static inline __attribute__((always_inline, unused))

#if defined(__AVX2__)
#include <immintrin.h>

typedef int32_t int32x4 __attribute__((ext_vector_type(4)));  // Swift: SIMD4<Int32>
typedef int32_t int32x8 __attribute__((ext_vector_type(8)));  // Swift: SIMD8<Int32>

/// `offset`, but to the compiler a result of the two vectors: what is loaded with it stays behind their
/// computation. Without it the compiler moves all loads of a loop to its start and runs out of registers.
QCC_INSTRUCTION int64_t after_x8(int64_t offset, int32x8 a, int32x8 b) {
  __asm__("" : "+r"(offset) : "x"(a), "x"(b));
  return offset;
}

/// Asks for the cache line at `p`, wherever that is.
QCC_INSTRUCTION void prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
/// The same, to the second-level cache.
QCC_INSTRUCTION void prefetch_far(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); }

/// The sum of the two products of signed 16-bit values in each 32-bit lane.
QCC_INSTRUCTION int32x8 dot2_words_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

/// The sum of the two products of an unsigned byte of `a` and a signed one of `b` in each 16-bit lane, with
/// saturation.
QCC_INSTRUCTION int32x8 dot2_bytes_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
}

#if defined(__AVXVNNI__)
/// c[i] + Σ_{j<4} (unsigned byte j of a[i]) * (signed byte j of b[i]), wrapping.
QCC_INSTRUCTION int32x8 dot4_x8(int32x8 c, int32x8 a, int32x8 b) {
  return (int32x8)_mm256_dpbusd_avx_epi32((__m256i)c, (__m256i)a, (__m256i)b);
}
#endif

/// The bits of the floats `Float(a) * b + c`, rounded once; `b` and `c` hold bits of floats.
QCC_INSTRUCTION int32x8 multiply_add_floats_x8(int32x8 a, int32x8 b, int32x8 c) {
  return (int32x8)_mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)a), (__m256)b, (__m256)c);
}

/// Wrapping and saturating addition of 16-bit lanes.
QCC_INSTRUCTION int32x8 add_words_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_add_epi16((__m256i)a, (__m256i)b);
}
QCC_INSTRUCTION int32x8 subtract_words_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_sub_epi16((__m256i)a, (__m256i)b);
}
QCC_INSTRUCTION int32x8 add_words_saturating_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_adds_epi16((__m256i)a, (__m256i)b);
}

/// Shifts of 16-bit lanes: by 8 to the left, arithmetic by 8, logical by 8, logical by 4, arithmetic by 1.
QCC_INSTRUCTION int32x8 shift_left_8_words_x8(int32x8 a) { return (int32x8)_mm256_slli_epi16((__m256i)a, 8); }
QCC_INSTRUCTION int32x8 shift_right_8_words_x8(int32x8 a) {
  return (int32x8)_mm256_srai_epi16((__m256i)a, 8);
}
QCC_INSTRUCTION int32x8 upper_bytes_x8(int32x8 a) { return (int32x8)_mm256_srli_epi16((__m256i)a, 8); }
QCC_INSTRUCTION int32x8 upper_nibbles_x8(int32x8 a) { return (int32x8)_mm256_srli_epi16((__m256i)a, 4); }
QCC_INSTRUCTION int32x8 halve_words_x8(int32x8 a) { return (int32x8)_mm256_srai_epi16((__m256i)a, 1); }

/// Logical shift of 16-bit lanes by 2, and by any count to the left.
QCC_INSTRUCTION int32x8 shift_right_2_words_x8(int32x8 a) { return (int32x8)_mm256_srli_epi16((__m256i)a, 2); }
QCC_INSTRUCTION int32x8 shift_left_words_x8(int32x8 a, int32_t count) {
  return (int32x8)_mm256_sll_epi16((__m256i)a, _mm_cvtsi32_si128(count));
}

/// The highest bits of all bytes.
QCC_INSTRUCTION uint32_t highest_bits_x8(int32x8 a) { return (uint32_t)_mm256_movemask_epi8((__m256i)a); }

/// Addition of bytes.
QCC_INSTRUCTION int32x8 add_bytes_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_add_epi8((__m256i)a, (__m256i)b);
}

/// In each half, the bytes of `table` that the bytes of `indices` (0...15) name.
QCC_INSTRUCTION int32x8 look_up_bytes_x8(int32x8 table, int32x8 indices) {
  return (int32x8)_mm256_shuffle_epi8((__m256i)table, (__m256i)indices);
}

/// The 64-bit products of the even lanes.
QCC_INSTRUCTION int32x8 multiply_even_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_mul_epi32((__m256i)a, (__m256i)b);
}

/// The odd lanes moved to the even ones, zeros above.
QCC_INSTRUCTION int32x8 odd_to_even_x8(int32x8 a) { return (int32x8)_mm256_srli_epi64((__m256i)a, 32); }

/// The even lanes moved to the odd ones.
QCC_INSTRUCTION int32x8 even_to_odd_x8(int32x8 a) { return (int32x8)_mm256_shuffle_epi32((__m256i)a, 0xA0); }

/// The even lanes of `even` and the odd lanes of `odd`.
QCC_INSTRUCTION int32x8 blend_odd_x8(int32x8 even, int32x8 odd) {
  return (int32x8)_mm256_blend_epi32((__m256i)even, (__m256i)odd, 0xAA);
}

/// Logical shift of 64-bit lanes by 64-bit counts, 0 from a count of 64.
QCC_INSTRUCTION int32x8 shift_right_64_x8(int32x8 a, int32x8 counts) {
  return (int32x8)_mm256_srlv_epi64((__m256i)a, (__m256i)counts);
}

/// Addition and subtraction of 64-bit lanes.
QCC_INSTRUCTION int32x8 add_64_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_add_epi64((__m256i)a, (__m256i)b);
}
QCC_INSTRUCTION int32x8 subtract_64_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_sub_epi64((__m256i)a, (__m256i)b);
}

/// All ones in the 64-bit lanes where a > b.
QCC_INSTRUCTION int32x8 is_greater_64_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_cmpgt_epi64((__m256i)a, (__m256i)b);
}

/// `b` in the bytes whose mask is set, otherwise `a`.
QCC_INSTRUCTION int32x8 select_x8(int32x8 a, int32x8 b, int32x8 mask) {
  return (int32x8)_mm256_blendv_epi8((__m256i)a, (__m256i)b, (__m256i)mask);
}

/// `value` in every 64-bit lane.
QCC_INSTRUCTION int32x8 repeat_64_x8(int64_t value) { return (int32x8)_mm256_set1_epi64x(value); }

/// 32-bit lanes to 16 bits with saturation; in each half, four of `a` and then four of `b`.
QCC_INSTRUCTION int32x8 pack_words_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_packs_epi32((__m256i)a, (__m256i)b);
}

/// Signed 16-bit lanes to unsigned bytes with saturation; in each half, eight of `a` and then eight of `b`.
QCC_INSTRUCTION int32x8 pack_bytes_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_packus_epi16((__m256i)a, (__m256i)b);
}

QCC_INSTRUCTION int32x8 maximum_bytes_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_max_epu8((__m256i)a, (__m256i)b);
}
QCC_INSTRUCTION int32x8 minimum_bytes_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_min_epu8((__m256i)a, (__m256i)b);
}

/// Lane i of the result is lane `indices[i]` of `a`.
QCC_INSTRUCTION int32x8 permute_x8(int32x8 a, int32x8 indices) {
  return (int32x8)_mm256_permutevar8x32_epi32((__m256i)a, (__m256i)indices);
}

/// Interleaves the bytes of the lower or of the upper halves.
QCC_INSTRUCTION int32x4 interleave_low_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)_mm_unpacklo_epi8((__m128i)a, (__m128i)b);
}
QCC_INSTRUCTION int32x4 interleave_high_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)_mm_unpackhi_epi8((__m128i)a, (__m128i)b);
}

/// Unsigned bytes to 16 bits.
QCC_INSTRUCTION int32x8 widen_bytes_x8(int32x4 a) { return (int32x8)_mm256_cvtepu8_epi16((__m128i)a); }

/// Arithmetic on floats. The smaller and the larger number are `b` where one is NaN.
QCC_INSTRUCTION int32x8 multiply_floats_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_mul_ps((__m256)a, (__m256)b);
}
QCC_INSTRUCTION int32x8 divide_floats_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_div_ps((__m256)a, (__m256)b);
}
QCC_INSTRUCTION int32x8 minimum_floats_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_min_ps((__m256)a, (__m256)b);
}
QCC_INSTRUCTION int32x8 maximum_floats_x8(int32x8 a, int32x8 b) {
  return (int32x8)_mm256_max_ps((__m256)a, (__m256)b);
}

/// c + a * b and c - a * b, rounded once.
QCC_INSTRUCTION int32x8 add_product_floats_x8(int32x8 a, int32x8 b, int32x8 c) {
  return (int32x8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
QCC_INSTRUCTION int32x8 subtract_product_floats_x8(int32x8 a, int32x8 b, int32x8 c) {
  return (int32x8)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

/// Floats to the nearest integers, ties to even; NaN to 0.
QCC_INSTRUCTION int32x8 round_floats_x8(int32x8 a) {
  __m256 isNumber = _mm256_cmp_ps((__m256)a, (__m256)a, _CMP_ORD_Q);
  return (int32x8)_mm256_cvtps_epi32(_mm256_and_ps((__m256)a, isNumber));
}
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
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
  __m512i atLeast = _mm512_max_epi64((__m512i)a, _mm512_set1_epi64(low));
  return (int32x16)_mm512_min_epi64(atLeast, _mm512_set1_epi64(high));
}

/// Arithmetic shift of 32-bit lanes by 4.
QCC_INSTRUCTION int32x16 shift_right_4_x16(int32x16 a) {
  return (int32x16)_mm512_srai_epi32((__m512i)a, 4);
}

/// The bits of the floats `Float(a) * b + c`, rounded once; `b` and `c` hold bits of floats.
QCC_INSTRUCTION int32x16 multiply_add_floats_x16(int32x16 a, int32x16 b, int32x16 c) {
  return (int32x16)_mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)a), (__m512)b, (__m512)c);
}

/// Shift of 16-bit lanes by 4 to the left.
QCC_INSTRUCTION int32x16 shift_left_4_words_x16(int32x16 a) {
  return (int32x16)_mm512_slli_epi16((__m512i)a, 4);
}

/// Shifts of 16-bit lanes by 6 and by 2 to the left.
QCC_INSTRUCTION int32x16 shift_left_6_words_x16(int32x16 a) {
  return (int32x16)_mm512_slli_epi16((__m512i)a, 6);
}
QCC_INSTRUCTION int32x16 shift_left_2_words_x16(int32x16 a) {
  return (int32x16)_mm512_slli_epi16((__m512i)a, 2);
}

/// Arithmetic shift of 32-bit lanes by 6.
QCC_INSTRUCTION int32x16 shift_right_6_x16(int32x16 a) {
  return (int32x16)_mm512_srai_epi32((__m512i)a, 6);
}

/// Logical shift of 16-bit lanes by 4: the upper halves of bytes, and what must be masked.
QCC_INSTRUCTION int32x16 upper_nibbles_x16(int32x16 a) {
  return (int32x16)_mm512_srli_epi16((__m512i)a, 4);
}

/// The number of ones in each 32-bit lane (VPOPCNTDQ). Assembly, so that kernels with and without this instruction
/// share everything else: only those that are dispatched for it may call it.
QCC_INSTRUCTION int32x16 count_bits_x16(int32x16 a) {
  int32x16 counts;
  __asm__("vpopcntd %1, %0" : "=v"(counts) : "v"(a));
  return counts;
}

/// For each byte whether `a` and `b` have a common bit.
QCC_INSTRUCTION uint64_t common_bits_x16(int32x16 a, int32x16 b) {
  return _mm512_test_epi8_mask((__m512i)a, (__m512i)b);
}

/// 32-bit lanes to 16 bits with saturation; in each quarter, four of `a` and then four of `b`.
QCC_INSTRUCTION int32x16 pack_words_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_packs_epi32((__m512i)a, (__m512i)b);
}

/// The 16-bit lanes of `a` and, from 32 on, of `b` that the 16-bit lanes of `indices` name.
QCC_INSTRUCTION int32x16 select_words_x16(int32x16 a, int32x16 indices, int32x16 b) {
  return (int32x16)_mm512_permutex2var_epi16((__m512i)a, (__m512i)indices, (__m512i)b);
}

/// Signed 16-bit lanes to unsigned bytes with saturation; in each quarter, eight of `a` and then eight of
/// `b`.
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

/// `a` with the 32-bit lanes loaded whose mask bit is set; nothing else is read.
QCC_INSTRUCTION int32x16 replace_lanes_x16(int32x16 a, uint16_t mask, const void* source) {
  return (int32x16)_mm512_mask_loadu_epi32((__m512i)a, mask, source);
}

/// 32 bytes of each of two places, 16 of each of four: loads of their own for every part cross fewer cache lines than
/// masked loads of 64 bytes.
QCC_INSTRUCTION int32x16 join_halves_x16(const void *a, const void *b) {
  __m512i lower = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a));
  return (int32x16)_mm512_inserti64x4(lower, _mm256_loadu_si256((const __m256i *)b), 1);
}
QCC_INSTRUCTION int32x16 join_quarters_x16(const void *a, const void *b, const void *c, const void *d) {
  __m512i joined = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)a));
  joined = _mm512_inserti32x4(joined, _mm_loadu_si128((const __m128i *)b), 1);
  joined = _mm512_inserti32x4(joined, _mm_loadu_si128((const __m128i *)c), 2);
  return (int32x16)_mm512_inserti32x4(joined, _mm_loadu_si128((const __m128i *)d), 3);
}

/// Stores the bytes whose mask bit is set.
QCC_INSTRUCTION void store_bytes_x16(void *destination, uint64_t mask, int32x16 a) {
  _mm512_mask_storeu_epi8(destination, mask, (__m512i)a);
}

/// The 32-bit numbers whose mask bit is set, and zeros; nothing else is read.
QCC_INSTRUCTION int32x16 load_lanes_x16(const void *source, uint32_t mask) {
  return (int32x16)_mm512_maskz_loadu_epi32((__mmask16)mask, source);
}

/// In each quarter, the bytes of `table` that the bytes of `indices` (0...15) name.
QCC_INSTRUCTION int32x16 look_up_bytes_x16(int32x16 table, int32x16 indices) {
  return (int32x16)_mm512_shuffle_epi8((__m512i)table, (__m512i)indices);
}

/// c plus the sum of the two products of signed 16-bit values in each 32-bit lane, wrapping.
QCC_INSTRUCTION int32x16 dot2_x16(int32x16 c, int32x16 a, int32x16 b) {
  return (int32x16)_mm512_dpwssd_epi32((__m512i)c, (__m512i)a, (__m512i)b);
}

/// Addition and subtraction of 64-bit and of 16-bit lanes, wrapping.
QCC_INSTRUCTION int32x16 add_64_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_add_epi64((__m512i)a, (__m512i)b);
}
QCC_INSTRUCTION int32x16 add_words_wrapping_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_add_epi16((__m512i)a, (__m512i)b);
}
QCC_INSTRUCTION int32x16 subtract_words_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_sub_epi16((__m512i)a, (__m512i)b);
}

/// Logical shift of 16-bit lanes by 8.
QCC_INSTRUCTION int32x16 upper_bytes_x16(int32x16 a) {
  return (int32x16)_mm512_srli_epi16((__m512i)a, 8);
}

/// `value` in every 64-bit lane.
QCC_INSTRUCTION int32x16 repeat_64_x16(int64_t value) { return (int32x16)_mm512_set1_epi64(value); }

/// Arithmetic on floats. The smaller and the larger number are `b` where one is NaN.
QCC_INSTRUCTION int32x16 multiply_floats_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_mul_ps((__m512)a, (__m512)b);
}
QCC_INSTRUCTION int32x16 divide_floats_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_div_ps((__m512)a, (__m512)b);
}
QCC_INSTRUCTION int32x16 minimum_floats_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_min_ps((__m512)a, (__m512)b);
}
QCC_INSTRUCTION int32x16 maximum_floats_x16(int32x16 a, int32x16 b) {
  return (int32x16)_mm512_max_ps((__m512)a, (__m512)b);
}

/// c + a * b and c - a * b, rounded once.
QCC_INSTRUCTION int32x16 add_product_floats_x16(int32x16 a, int32x16 b, int32x16 c) {
  return (int32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
QCC_INSTRUCTION int32x16 subtract_product_floats_x16(int32x16 a, int32x16 b, int32x16 c) {
  return (int32x16)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/// Floats to the nearest integers, ties to even; NaN to 0.
QCC_INSTRUCTION int32x16 round_floats_x16(int32x16 a) {
  __mmask16 isNumber = _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_ORD_Q);
  return (int32x16)_mm512_maskz_cvtps_epi32(isNumber, (__m512)a);
}
#endif
