import Numerics
import Program

/// Bias, multiplier and shift of every channel, in panels: what the file holds, with the padding that it
/// leaves out.
struct ChannelParameters {
  var bias: [Int32]
  var multiplier: [Int32]
  var shift: [Int32]
  private var largestBias: Int64 = 0

  init(_ convolution: Instruction.Convolution, _ geometry: ConvolutionGeometry, _ data: DataStorage) {
    let count = 16 * geometry.panelsPerCall * geometry.calls
    bias = [Int32](repeating: 0, count: count)
    multiplier = bias
    shift = [Int32](repeating: 31, count: count)
    let perCall = geometry.outputChannels / geometry.calls
    for channel in 0..<geometry.outputChannels {
      let place = channel / perCall * 16 * geometry.panelsPerCall + channel % perCall
      bias[place] = data.int32(convolution.bias, channel)
      multiplier[place] = data.int32(convolution.multiplier, channel)
      shift[place] = Int32(data.bytes[convolution.shift.offset + channel])
      largestBias = max(largestBias, Int64(bias[place].magnitude))
    }
  }

  /// The factors of all channels, if fused multiply-adds are exact for each.
  func fusedScales(_ geometry: ConvolutionGeometry) -> [Float]? {
    let largestWeight: Int64 =
      switch geometry.kind {
      case .dense8, .depthwise: 128
      case .dense4: 8
      }
    var scales = [Float](repeating: 0, count: multiplier.count)
    for index in scales.indices {
      let fixed = FixedPointMultiplier(multiplier: multiplier[index], shift: shift[index])
      let largest = Int64(bias[index].magnitude) + Int64(geometry.rowLength) * largestWeight * 255
      guard let scale = fixed.fusedScale(largestAccumulator: largest) else { return nil }
      scales[index] = scale
    }
    return scales
  }

  /// Kernels for 4-bit weights may scale sums by 16.
  func accumulatorsFit28Bits(_ rowLength: Int) -> Bool { largestBias + Int64(rowLength) * 8 * 255 < 1 << 27 }
}
