#pragma once
#include "instructions.h"

// One instruction per function, for 64-bit Arm. Vectors are 32-bit lanes whatever their content, as in
// instructions.h; `_x4` has 128 bits, the only width here.

#if defined(__aarch64__)
#include <arm_neon.h>

typedef int32_t int32x4 __attribute__((ext_vector_type(4)));  // Swift: SIMD4<Int32>

/// `a`, but to the compiler the result of something unknown. Without it the compiler takes vectors apart whose lanes
/// are used one by one, and computes them in other registers.
QCC_INSTRUCTION int32x4 kept_x4(int32x4 a) {
  __asm__("" : "+w"(a));
  return a;
}

/// `p`, but to the compiler a result of the four vectors: what is loaded from it stays behind their computation.
/// Without it the compiler moves loads of a loop to its start and runs out of registers.
QCC_INSTRUCTION const void *after_x4(const void *p, int32x4 a, int32x4 b, int32x4 c, int32x4 d) {
  __asm__("" : "+r"(p) : "w"(a), "w"(b), "w"(c), "w"(d));
  return p;
}

// MARK: Loads

/// 4 bytes in lane 0, or 8 in lanes 0 and 1; zeros above.
QCC_INSTRUCTION int32x4 load_4_bytes_x4(const void *p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return (int32x4){word, 0, 0, 0};
}
QCC_INSTRUCTION int32x4 load_8_bytes_x4(const void *p) {
  int64_t word;
  __builtin_memcpy(&word, p, 8);
  return (int32x4)(int64x2_t){word, 0};
}

/// `a` with lane 1, or both upper lanes, replaced by what lies at `p`.
QCC_INSTRUCTION int32x4 load_lane_1_x4(int32x4 a, const void *p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return (int32x4)vsetq_lane_s32(word, (int32x4_t)a, 1);
}
QCC_INSTRUCTION int32x4 load_upper_half_x4(int32x4 a, const void *p) {
  int64_t word;
  __builtin_memcpy(&word, p, 8);
  return (int32x4)vsetq_lane_s64(word, (int64x2_t)a, 1);
}

// MARK: Moves

/// One lane in every lane.
QCC_INSTRUCTION int32x4 repeat_lane_0_x4(int32x4 a) { return (int32x4)vdupq_laneq_s32((int32x4_t)a, 0); }
QCC_INSTRUCTION int32x4 repeat_lane_1_x4(int32x4 a) { return (int32x4)vdupq_laneq_s32((int32x4_t)a, 1); }
QCC_INSTRUCTION int32x4 repeat_lane_2_x4(int32x4 a) { return (int32x4)vdupq_laneq_s32((int32x4_t)a, 2); }
QCC_INSTRUCTION int32x4 repeat_lane_3_x4(int32x4 a) { return (int32x4)vdupq_laneq_s32((int32x4_t)a, 3); }

/// The lower or upper halves of `a` and of `b`.
QCC_INSTRUCTION int32x4 lower_halves_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip1q_s64((int64x2_t)a, (int64x2_t)b);
}
QCC_INSTRUCTION int32x4 upper_halves_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip2q_s64((int64x2_t)a, (int64x2_t)b);
}

/// Interleaves the bytes, or the 16-bit lanes, of the lower or upper halves.
QCC_INSTRUCTION int32x4 interleave_low_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip1q_s8((int8x16_t)a, (int8x16_t)b);
}
QCC_INSTRUCTION int32x4 interleave_high_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip2q_s8((int8x16_t)a, (int8x16_t)b);
}
QCC_INSTRUCTION int32x4 interleave_low_words_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip1q_s16((int16x8_t)a, (int16x8_t)b);
}
QCC_INSTRUCTION int32x4 interleave_high_words_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip2q_s16((int16x8_t)a, (int16x8_t)b);
}

/// Interleaves the lanes of the lower or upper halves.
QCC_INSTRUCTION int32x4 interleave_low_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip1q_s32((int32x4_t)a, (int32x4_t)b);
}
QCC_INSTRUCTION int32x4 interleave_high_x4(int32x4 a, int32x4 b) {
  return (int32x4)vzip2q_s32((int32x4_t)a, (int32x4_t)b);
}

/// Unsigned bytes of the lower or upper half to 16 bits, and unsigned 16-bit lanes to 32.
QCC_INSTRUCTION int32x4 widen_low_bytes_x4(int32x4 a) {
  return (int32x4)vmovl_u8(vget_low_u8((uint8x16_t)a));
}
QCC_INSTRUCTION int32x4 widen_high_bytes_x4(int32x4 a) { return (int32x4)vmovl_high_u8((uint8x16_t)a); }
QCC_INSTRUCTION int32x4 widen_low_words_x4(int32x4 a) {
  return (int32x4)vmovl_u16(vget_low_u16((uint16x8_t)a));
}
QCC_INSTRUCTION int32x4 widen_high_words_x4(int32x4 a) { return (int32x4)vmovl_high_u16((uint16x8_t)a); }

// MARK: Products of bytes

/// Shifts of bytes to the left, and of signed bytes to the right.
QCC_INSTRUCTION int32x4 shift_left_2_bytes_x4(int32x4 a) { return (int32x4)vshlq_n_s8((int8x16_t)a, 2); }
QCC_INSTRUCTION int32x4 shift_left_4_bytes_x4(int32x4 a) { return (int32x4)vshlq_n_s8((int8x16_t)a, 4); }
QCC_INSTRUCTION int32x4 shift_left_6_bytes_x4(int32x4 a) { return (int32x4)vshlq_n_s8((int8x16_t)a, 6); }
QCC_INSTRUCTION int32x4 shift_right_4_bytes_x4(int32x4 a) { return (int32x4)vshrq_n_s8((int8x16_t)a, 4); }
QCC_INSTRUCTION int32x4 shift_right_6_bytes_x4(int32x4 a) { return (int32x4)vshrq_n_s8((int8x16_t)a, 6); }

/// Logical shift of bytes by 4 to the right.
QCC_INSTRUCTION int32x4 upper_nibbles_x4(int32x4 a) { return (int32x4)vshrq_n_u8((uint8x16_t)a, 4); }

/// The bytes of `table` that the bytes of `places` name; 0 where one is above 15.
QCC_INSTRUCTION int32x4 look_up_bytes_x4(int32x4 table, int32x4 places) {
  return (int32x4)vqtbl1q_s8((int8x16_t)table, (uint8x16_t)places);
}

/// The products of the signed bytes of the lower or upper halves, in 16 bits.
QCC_INSTRUCTION int32x4 multiply_low_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
}
QCC_INSTRUCTION int32x4 multiply_high_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vmull_high_s8((int8x16_t)a, (int8x16_t)b);
}

/// 16-bit lanes of `c` plus the products of the signed bytes of the lower or upper halves.
QCC_INSTRUCTION int32x4 add_low_products_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vmlal_s8((int16x8_t)c, vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
}
QCC_INSTRUCTION int32x4 add_high_products_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vmlal_high_s8((int16x8_t)c, (int8x16_t)a, (int8x16_t)b);
}

/// 16-bit lanes of `c` minus the products of the signed bytes of the lower or upper halves.
QCC_INSTRUCTION int32x4 subtract_low_products_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vmlsl_s8((int16x8_t)c, vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
}
QCC_INSTRUCTION int32x4 subtract_high_products_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vmlsl_high_s8((int16x8_t)c, (int8x16_t)a, (int8x16_t)b);
}

/// The same of unsigned bytes: products, and sums with products.
QCC_INSTRUCTION int32x4 multiply_low_unsigned_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vmull_u8(vget_low_u8((uint8x16_t)a), vget_low_u8((uint8x16_t)b));
}
QCC_INSTRUCTION int32x4 multiply_high_unsigned_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vmull_high_u8((uint8x16_t)a, (uint8x16_t)b);
}
QCC_INSTRUCTION int32x4 add_low_unsigned_products_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vmlal_u8((uint16x8_t)c, vget_low_u8((uint8x16_t)a), vget_low_u8((uint8x16_t)b));
}
QCC_INSTRUCTION int32x4 add_high_unsigned_products_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vmlal_high_u8((uint16x8_t)c, (uint8x16_t)a, (uint8x16_t)b);
}

/// The sums of neighbouring signed bytes, in 16 bits, and of neighbouring signed 16-bit lanes, in 32.
QCC_INSTRUCTION int32x4 add_neighbouring_bytes_x4(int32x4 a) { return (int32x4)vpaddlq_s8((int8x16_t)a); }
QCC_INSTRUCTION int32x4 add_neighbouring_words_x4(int32x4 a) { return (int32x4)vpaddlq_s16((int16x8_t)a); }

/// 32-bit lanes of `c` plus the two signed 16-bit lanes of `a` at their place.
QCC_INSTRUCTION int32x4 add_word_pairs_x4(int32x4 c, int32x4 a) {
  return (int32x4)vpadalq_s16((int32x4_t)c, (int16x8_t)a);
}

/// The same with unsigned 16-bit lanes.
QCC_INSTRUCTION int32x4 add_unsigned_word_pairs_x4(int32x4 c, int32x4 a) {
  return (int32x4)vpadalq_u16((uint32x4_t)c, (uint16x8_t)a);
}

/// 32-bit lanes of `c` plus the signed 16-bit lanes of the lower or upper half of `a`.
QCC_INSTRUCTION int32x4 add_low_words_x4(int32x4 c, int32x4 a) {
  return (int32x4)vaddw_s16((int32x4_t)c, vget_low_s16((int16x8_t)a));
}
QCC_INSTRUCTION int32x4 add_high_words_x4(int32x4 c, int32x4 a) {
  return (int32x4)vaddw_high_s16((int32x4_t)c, (int16x8_t)a);
}

/// The sums of neighbouring 32-bit lanes of `a`, then of `b`.
QCC_INSTRUCTION int32x4 add_neighbours_x4(int32x4 a, int32x4 b) {
  return (int32x4)vpaddq_s32((int32x4_t)a, (int32x4_t)b);
}

// MARK: Bits

/// The ones of every byte.
QCC_INSTRUCTION int32x4 count_bits_x4(int32x4 a) { return (int32x4)vcntq_u8((uint8x16_t)a); }

/// Addition of bytes, wrapping.
QCC_INSTRUCTION int32x4 add_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vaddq_u8((uint8x16_t)a, (uint8x16_t)b);
}

/// The sums of neighbouring unsigned bytes, in 16 bits.
QCC_INSTRUCTION int32x4 add_neighbouring_unsigned_bytes_x4(int32x4 a) {
  return (int32x4)vpaddlq_u8((uint8x16_t)a);
}

/// The sums of neighbouring bytes of `a`, then of `b`, wrapping.
QCC_INSTRUCTION int32x4 join_neighbouring_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vpaddq_u8((uint8x16_t)a, (uint8x16_t)b);
}

/// Bytes of ones where `a` and `b` have a common one, otherwise of zeros.
QCC_INSTRUCTION int32x4 common_bits_x4(int32x4 a, int32x4 b) {
  return (int32x4)vtstq_u8((uint8x16_t)a, (uint8x16_t)b);
}

#if defined(__ARM_FEATURE_DOTPROD)
/// c[i] + Σ_{j<4} (signed byte j of a[i]) * (signed byte j of b[i]), wrapping; `_lane_n`: of b[n].
QCC_INSTRUCTION int32x4 dot4_signed_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vdotq_s32((int32x4_t)c, (int8x16_t)a, (int8x16_t)b);
}
QCC_INSTRUCTION int32x4 dot4_signed_lane_0_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vdotq_laneq_s32((int32x4_t)c, (int8x16_t)a, (int8x16_t)b, 0);
}
QCC_INSTRUCTION int32x4 dot4_signed_lane_1_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vdotq_laneq_s32((int32x4_t)c, (int8x16_t)a, (int8x16_t)b, 1);
}
QCC_INSTRUCTION int32x4 dot4_signed_lane_2_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vdotq_laneq_s32((int32x4_t)c, (int8x16_t)a, (int8x16_t)b, 2);
}
QCC_INSTRUCTION int32x4 dot4_signed_lane_3_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vdotq_laneq_s32((int32x4_t)c, (int8x16_t)a, (int8x16_t)b, 3);
}

/// The same of unsigned bytes.
QCC_INSTRUCTION int32x4 dot4_unsigned_lane_0_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vdotq_laneq_u32((uint32x4_t)c, (uint8x16_t)a, (uint8x16_t)b, 0);
}
QCC_INSTRUCTION int32x4 dot4_unsigned_lane_1_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vdotq_laneq_u32((uint32x4_t)c, (uint8x16_t)a, (uint8x16_t)b, 1);
}
#endif

#if defined(__ARM_FEATURE_MATMUL_INT8)
/// c[i] + Σ_{j<4} (signed byte j of a[i]) * (unsigned byte j of b[n]), wrapping.
QCC_INSTRUCTION int32x4 dot4_lane_0_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vsudotq_laneq_s32((int32x4_t)c, (int8x16_t)a, (uint8x16_t)b, 0);
}
QCC_INSTRUCTION int32x4 dot4_lane_1_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vsudotq_laneq_s32((int32x4_t)c, (int8x16_t)a, (uint8x16_t)b, 1);
}

/// Matrices of two rows: c[2 i + j] + Σ_{k<8} (unsigned byte 8 i + k of a) * (signed byte 8 j + k of b),
/// wrapping.
QCC_INSTRUCTION int32x4 multiply_matrices_x4(int32x4 c, int32x4 a, int32x4 b) {
  return (int32x4)vusmmlaq_s32((int32x4_t)c, (uint8x16_t)a, (int8x16_t)b);
}
#endif

// MARK: Requantization

/// bits(fma(Float(a), scale, addend)), rounded once.
QCC_INSTRUCTION int32x4 scaled_bits_x4(int32x4 a, int32x4 scale, int32x4 addend) {
  float32x4_t sum = vfmaq_f32((float32x4_t)addend, vcvtq_f32_s32((int32x4_t)a), (float32x4_t)scale);
  return (int32x4)sum;
}

/// The nearest integers, halves to even, with saturation; 0 for NaN.
QCC_INSTRUCTION int32x4 rounded_x4(int32x4 a) { return (int32x4)vcvtnq_s32_f32((float32x4_t)a); }

/// The 64-bit products of the lower or upper halves.
QCC_INSTRUCTION int32x4 multiply_low_x4(int32x4 a, int32x4 b) {
  return (int32x4)vmull_s32(vget_low_s32((int32x4_t)a), vget_low_s32((int32x4_t)b));
}
QCC_INSTRUCTION int32x4 multiply_high_x4(int32x4 a, int32x4 b) {
  return (int32x4)vmull_high_s32((int32x4_t)a, (int32x4_t)b);
}

/// 64-bit lanes shifted to the left by 64-bit counts; to the right, rounding half-up, by negative ones.
QCC_INSTRUCTION int32x4 shift_rounding_64_x4(int32x4 a, int32x4 counts) {
  return (int32x4)vrshlq_s64((int64x2_t)a, (int64x2_t)counts);
}

/// The lower or upper two lanes in 64 bits.
QCC_INSTRUCTION int32x4 widen_low_x4(int32x4 a) { return (int32x4)vmovl_s32(vget_low_s32((int32x4_t)a)); }
QCC_INSTRUCTION int32x4 widen_high_x4(int32x4 a) { return (int32x4)vmovl_high_s32((int32x4_t)a); }

/// Two vectors with lanes of half the width, with saturation: of 64 bits; of 32; of 16, to unsigned bytes.
QCC_INSTRUCTION int32x4 narrow_64_x4(int32x4 low, int32x4 high) {
  return (int32x4)vqmovn_high_s64(vqmovn_s64((int64x2_t)low), (int64x2_t)high);
}
QCC_INSTRUCTION int32x4 narrow_32_x4(int32x4 low, int32x4 high) {
  return (int32x4)vqmovn_high_s32(vqmovn_s32((int32x4_t)low), (int32x4_t)high);
}
QCC_INSTRUCTION int32x4 narrow_to_bytes_x4(int32x4 low, int32x4 high) {
  return (int32x4)vqmovun_high_s16(vqmovun_s16((int16x8_t)low), (int16x8_t)high);
}

/// Saturating addition of 16-bit lanes.
QCC_INSTRUCTION int32x4 add_words_x4(int32x4 a, int32x4 b) {
  return (int32x4)vqaddq_s16((int16x8_t)a, (int16x8_t)b);
}

QCC_INSTRUCTION int32x4 maximum_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vmaxq_u8((uint8x16_t)a, (uint8x16_t)b);
}
QCC_INSTRUCTION int32x4 minimum_bytes_x4(int32x4 a, int32x4 b) {
  return (int32x4)vminq_u8((uint8x16_t)a, (uint8x16_t)b);
}
#endif
