/// Packed weight layouts, the same for every instruction set. Pure functions; `unpack` inverts `pack`.
///
/// Rows of weights, one per output channel, are cut into steps of 4 weights. A panel is 16 channels; panels
/// follow one another, and missing channels and weights are zero.
///
///     dense, 8 bits: 64 bytes a step
///
///         byte      0  1  2  3    4  5  6  7        60 61 62 63
///                 ┌────────────┬────────────┬─────┬─────────────┐
///         step 0  │ channel 0  │ channel 1  │  …  │ channel 15  │   weights 0 1 2 3 of each channel
///         step 1  │ channel 0  │ channel 1  │  …  │ channel 15  │   weights 4 5 6 7
///                 └────────────┴────────────┴─────┴─────────────┘
///
///     dense, 4 bits: 64 bytes for two steps; byte `4 channel + j` of pair t
///
///         bit     7        4 3        0
///                ┌──────────┬──────────┐
///                │ weight j │ weight j │   two's complement
///                │ of step  │ of step  │
///                │  2 t + 1 │   2 t    │
///                └──────────┴──────────┘
///
///     depthwise: the taps of a channel are its row, so a step is 4 taps, in the layout of 8 bits
///
/// Narrower layouts are in `NarrowWeights.swift` and `BitWeights.swift`.
package enum WeightPacking {
  /// Channels of one panel.
  package static let panelChannels = 16

  package static func panels(_ channels: Int) -> Int { (channels + 15) / 16 }

  /// Steps of a row of `weights` weights.
  package static func steps(_ weights: Int) -> Int { (weights + 3) / 4 }

  /// Steps of a row as a 4-bit kernel counts them: even.
  package static func evenSteps(_ weights: Int) -> Int { (steps(weights) + 1) / 2 * 2 }

  /// Packs `[channels][rowLength]` weights of 8 bits; also depthwise `[channels][taps]`.
  /// - Requires: weights.count == channels * rowLength.
  package static func pack8(_ weights: [Int8], channels: Int, rowLength: Int) -> [UInt8] {
    let steps = steps(rowLength)
    var packed = [UInt8](repeating: 0, count: panels(channels) * steps * 64)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        packed[position(channel: channel, k: k, blocks: steps, step: k / 4)] =
          UInt8(bitPattern: weights[channel * rowLength + k])
      }
    }
    return packed
  }

  /// The rows that `pack8` packed.
  /// - Requires: packed.count is what `pack8` returns for this shape.
  package static func unpack8(_ packed: [UInt8], channels: Int, rowLength: Int) -> [Int8] {
    let steps = steps(rowLength)
    var weights = [Int8](repeating: 0, count: channels * rowLength)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        weights[channel * rowLength + k] =
          Int8(bitPattern: packed[position(channel: channel, k: k, blocks: steps, step: k / 4)])
      }
    }
    return weights
  }

  /// Packs `[channels][rowLength]` weights of 4 bits, two to a byte.
  /// - Requires: weights.count == channels * rowLength, every weight in -8 ... 7.
  package static func pack4(_ weights: [Int8], channels: Int, rowLength: Int) -> [UInt8] {
    let pairs = evenSteps(rowLength) / 2
    var packed = [UInt8](repeating: 0, count: panels(channels) * pairs * 64)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        let nibble = UInt8(bitPattern: weights[channel * rowLength + k]) & 15
        packed[position(channel: channel, k: k, blocks: pairs, step: k / 8)] |=
          k / 4 % 2 == 0 ? nibble : nibble << 4
      }
    }
    return packed
  }

  /// The rows that `pack4` packed.
  /// - Requires: packed.count is what `pack4` returns for this shape.
  package static func unpack4(_ packed: [UInt8], channels: Int, rowLength: Int) -> [Int8] {
    let pairs = evenSteps(rowLength) / 2
    var weights = [Int8](repeating: 0, count: channels * rowLength)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        let byte = Int8(bitPattern: packed[position(channel: channel, k: k, blocks: pairs, step: k / 8)])
        weights[channel * rowLength + k] = k / 4 % 2 == 0 ? (byte << 4) >> 4 : byte >> 4
      }
    }
    return weights
  }

  /// Packed 4-bit weights in the layout of 8 bits: 64 bytes of two steps become 128.
  /// - Requires: memory for `2 * bytes`, a multiple of 128.
  package static func unpack(
    nibbles: UnsafePointer<UInt8>, bytes: Int, into target: UnsafeMutablePointer<Int8>
  ) {
    for pair in 0..<bytes / 64 {
      for place in 0..<64 {
        let both = Int8(bitPattern: nibbles[64 &* pair &+ place])
        target[128 &* pair &+ place] = (both &<< 4) &>> 4
        target[128 &* pair &+ 64 &+ place] = both &>> 4
      }
    }
  }

  /// One step of 8-bit weights as 64 words: weights 0 and 1 of channels 0 to 15, then weights 2 and 3.
  /// - Requires: 64 weights.
  package static func widen(_ step: UnsafePointer<Int8>, into words: UnsafeMutablePointer<Int16>) {
    for pair in 0..<2 {
      for channel in 0..<16 {
        words[32 &* pair &+ 2 &* channel] = Int16(step[4 &* channel &+ 2 &* pair])
        words[32 &* pair &+ 2 &* channel &+ 1] = Int16(step[4 &* channel &+ 2 &* pair &+ 1])
      }
    }
  }

  /// All steps of packed 8-bit weights, as `widen` widens them.
  package static func widened(_ packed: [UInt8]) -> [Int16] {
    var words = [Int16](repeating: 0, count: packed.count)
    packed.withUnsafeBytes { bytes in
      words.withUnsafeMutableBufferPointer { words in
        guard let source = bytes.baseAddress, let target = words.baseAddress else { return }
        for step in 0..<packed.count / 64 {
          widen((source + 64 * step).assumingMemoryBound(to: Int8.self), into: target + 64 * step)
        }
      }
    }
    return words
  }

  /// The byte of weight `k` of a channel whose panel has `blocks` blocks of 64 bytes.
  static func position(channel: Int, k: Int, blocks: Int, step: Int) -> Int {
    ((channel / 16 * blocks + step) * 16 + channel % 16) * 4 + k % 4
  }
}
