/// Weights of -1, 0 and 1 as bits, for products by counting.
///
/// A step is 32 weights, the bits of one 32-bit word. A row is a whole number of steps; what rounds it up meets input
/// bits that are 0.
///
///     binary: 64 bytes a step, the sign words (1: negative) of 16 channels; weights are -1 and 1
///     ternary: 128 bytes a step, the sign words and then the mask words (1: not zero)
///
/// For input bits b, `popcount((b ^ sign) & mask)` counts the ones that meet 1 and the zeros that meet -1. So it is
/// Σ b * w plus the number of negative weights, which belongs into the bias.
extension WeightPacking {
  /// Weights of a step.
  package static let bitsPerStep = 32

  /// Packs `[channels][rowLength]` weights into sign words.
  /// - Requires: weights.count == channels * rowLength, rowLength a multiple of 32; every weight that meets input bits
  ///   is -1 or 1, all others are 0.
  package static func packBinary(_ weights: [Int8], channels: Int, rowLength: Int) -> [UInt8] {
    packBits(weights, channels: channels, rowLength: rowLength, words: 1)
  }

  /// Packs `[channels][rowLength]` weights into sign and mask words.
  /// - Requires: weights.count == channels * rowLength, rowLength a multiple of 32, every weight in -1 ... 1.
  package static func packTernary(_ weights: [Int8], channels: Int, rowLength: Int) -> [UInt8] {
    packBits(weights, channels: channels, rowLength: rowLength, words: 2)
  }

  /// The rows that `packBinary` packed; 1 where a row was rounded up.
  /// - Requires: packed.count is what `packBinary` returns for this shape.
  package static func unpackBinary(_ packed: [UInt8], channels: Int, rowLength: Int) -> [Int8] {
    unpackBits(packed, channels: channels, rowLength: rowLength, words: 1)
  }

  /// The rows that `packTernary` packed.
  /// - Requires: packed.count is what `packTernary` returns for this shape.
  package static func unpackTernary(_ packed: [UInt8], channels: Int, rowLength: Int) -> [Int8] {
    unpackBits(packed, channels: channels, rowLength: rowLength, words: 2)
  }

  private static func packBits(_ weights: [Int8], channels: Int, rowLength: Int, words: Int) -> [UInt8] {
    let blocks = rowLength / bitsPerStep * words
    var packed = [UInt8](repeating: 0, count: panels(channels) * blocks * 64)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        let weight = weights[channel * rowLength + k], bit = UInt8(1) << UInt8(k % 8)
        let place = position(channel: channel, k: k % 32 / 8, blocks: blocks, step: k / 32 * words)
        if weight < 0 { packed[place] |= bit }
        if words == 2 && weight != 0 { packed[place + 64] |= bit }
      }
    }
    return packed
  }

  private static func unpackBits(_ packed: [UInt8], channels: Int, rowLength: Int, words: Int) -> [Int8] {
    let blocks = rowLength / bitsPerStep * words
    var weights = [Int8](repeating: 0, count: channels * rowLength)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        let bit = UInt8(1) << UInt8(k % 8)
        let place = position(channel: channel, k: k % 32 / 8, blocks: blocks, step: k / 32 * words)
        let isZero = words == 2 && packed[place + 64] & bit == 0
        weights[channel * rowLength + k] = isZero ? 0 : packed[place] & bit != 0 ? -1 : 1
      }
    }
    return weights
  }
}
