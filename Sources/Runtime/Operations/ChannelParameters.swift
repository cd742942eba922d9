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
    let largestWeight = Self.largestWeight(geometry.kind)
    var scales = [Float](repeating: 0, count: multiplier.count)
    for index in scales.indices {
      let fixed = FixedPointMultiplier(multiplier: multiplier[index], shift: shift[index])
      let largest = Int64(bias[index].magnitude) + Int64(geometry.rowLength) * largestWeight * 255
      guard let scale = fixed.fusedScale(largestAccumulator: largest) else { return nil }
      scales[index] = scale
    }
    return scales
  }

  /// The biases from which the products of negative weights with the largest input are subtracted: what counting bits
  /// adds too much.
  func biasForBits(
    _ geometry: ConvolutionGeometry, _ weights: UnsafeRawPointer, largestInput: Int32
  ) -> [Int32] {
    var result = bias
    let wordsPerStep = geometry.kind == .ternary ? 32 : 16
    for panel in 0..<geometry.panelsPerCall {
      let signs = (weights + panel * geometry.panelBytes).assumingMemoryBound(to: UInt32.self)
      for step in 0..<geometry.steps {
        for channel in 0..<16 {
          let word = wordsPerStep * step + channel
          let mask = geometry.kind == .ternary ? signs[word + 16] : ~0
          result[16 * panel + channel] &-= Int32((signs[word] & mask).nonzeroBitCount) &* largestInput
        }
      }
    }
    return result
  }

  /// Whether no sum leaves 32 bits where fast kernels scale it: by 16 with 4-bit weights, by 64 with 2-bit ones.
  func fitFastKernels(_ geometry: ConvolutionGeometry) -> Bool {
    let largest = largestBias + Int64(geometry.rowLength) * Self.largestWeight(geometry.kind) * 255
    return switch geometry.kind {
    case .dense8, .depthwise, .palette, .binary, .ternary: true
    case .dense4: largest < 1 << 27
    case .dense2: largest < 1 << 25
    }
  }

  private static func largestWeight(_ kind: Instruction.Convolution.Kind) -> Int64 {
    switch kind {
    case .dense8, .depthwise, .palette: 128
    case .dense4: 8
    case .dense2: 2
    case .binary, .ternary: 1
    }
  }
}
