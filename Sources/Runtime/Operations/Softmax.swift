import Program

/// `exp(x - max) / Σ exp(x - max)` along one axis. The exponential is qcc's own, so that every platform gives
/// the same bits.
struct SoftmaxStep {
  let input: RealPlace
  let output: RealPlace
  let outer: Int
  let extent: Int
  let inner: Int

  init(_ softmax: Instruction.Softmax, _ program: Program) {
    input = RealPlace(program.tensors[softmax.input])
    output = RealPlace(program.tensors[softmax.output])
    outer = softmax.outer
    extent = softmax.extent
    inner = softmax.inner
  }

  var units: Int { outer * inner }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    guard let source = memory.reals(input), let target = memory.reals(output) else { return }
    for unit in range {
      let start = unit / inner * extent * inner + unit % inner
      let x = source + start, y = target + start
      var largest = x[0]
      for i in 1..<max(extent, 1) { largest = max(largest, x[i &* inner]) }
      var sum: Float = 0
      for i in 0..<extent {
        let power = exponential(x[i &* inner] - largest)
        y[i &* inner] = power
        sum += power
      }
      for i in 0..<extent { y[i &* inner] /= sum }
    }
  }
}

/// e to the power of x, for x <= 0, within a relative 2e-7; 0 below -87, NaN for NaN.
package func exponential(_ x: Float) -> Float {
  guard x > -87 else { return x.isNaN ? x : 0 }
  let magic: Float = 12_582_912  // 1.5 * 2^23: rounds what is added to it
  let rounded = min(x, 0) * 1.442_695 + magic
  let n = rounded - magic
  // ln 2 in two parts, the first short enough for n * ln 2 to be exact (Cody and Waite).
  let r = (min(x, 0) - n * 0.693_359_375) + n * 2.121_944_4e-4
  // The Taylor series up to r^7; |r| <= 0.3466, so the rest is below 2^-28.
  var p: Float = 1 / 5040
  p = p * r + 1 / 720
  p = p * r + 1 / 120
  p = p * r + 1 / 24
  p = p * r + 1 / 6
  p = p * r + 0.5
  p = p * r + 1
  p = p * r + 1
  let power = Int32(bitPattern: rounded.bitPattern) &- 0x4B40_0000
  return p * Float(bitPattern: UInt32(bitPattern: (power &+ 127) &<< 23))
}
