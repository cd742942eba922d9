import Evaluator
import IR
import Numerics
import Support

/// Fake quantization backward: straight through inside the range, with the gradients of learned step sizes (LSQ, Esser
/// and others 2020) and of zero points (LSQ+, Bhalgat and others 2020). With x' = s (clamp(round(x / s) + z) - z):
/// inside, dx' = dx + (x' / s - x / s) ds; outside, where the level q is fixed, dx' = (q - z) ds - s dz.
extension ShardPass {
  func quantize(_ op: Quantize, _ call: Call, _ gradient: Tensor) -> [Tensor?] {
    var results = [Tensor?](repeating: nil, count: call.shapes.count)
    guard plan.mode == .quantized, call.shapes.count > 1 else { return [gradient] }
    let scaleIndex = 1 + 2 * op.forms.currentIndex, kept = call.operand(0)
    let scales = call.operand(scaleIndex).floats
    let zeroPoints = call.operand(scaleIndex + 1).integers
    let keeps = self.kept(op, call.step.step)
    // Elements that share parameters follow one another row-major, or are all of them.
    let x = op.form.granularity == .tensor ? kept : kept.rowMajor()
    let gradient = gradient.ordered(x.order, pool: pool)
    let dx = Tensor(x.shape, .f32, order: x.order, pool: pool)
    defer { keepAlive(x, gradient) }
    var steps = [Double](repeating: 0, count: scales.count), zeros = steps
    for run in runs(op, x.shape) {
      let slopes = Slopes(op, scale: scales[run.parameter], zeroPoint: Float(zeroPoints[run.parameter]))
      let sums = slopes.propagate(
        x.pointer() + run.start, gradient.pointer() + run.start, dx.pointer() + run.start, run.count,
        keeps?.shifted(by: run.start))
      steps[run.parameter] += sums.step
      zeros[run.parameter] += sums.zeroPoint
    }
    results[0] = dx
    if call.needs(scaleIndex) { results[scaleIndex] = Tensor([scales.count], steps.map { Float($0) }) }
    if call.needs(scaleIndex + 1) {
      results[scaleIndex + 1] = Tensor([scales.count], zeros.map { Float($0) })
    }
    return results
  }

  private struct Run {
    var parameter: Int
    var start: Int
    var count: Int
  }
  /// Row-major runs of elements with the same parameters.
  private func runs(_ op: Quantize, _ shape: [Int]) -> [Run] {
    let count = shape.reduce(1, *)
    guard op.form.granularity != .tensor else { return [Run(parameter: 0, start: 0, count: count)] }
    let channels = shape[op.axis], inner = shape[(op.axis + 1)...].reduce(1, *)
    let outer = shape[..<op.axis].reduce(1, *), length = outer * inner
    var group = length
    if case .group(let size) = op.form.granularity { group = size }
    let groups = length > 0 ? (length + group - 1) / group : 0
    var runs: [Run] = []
    for block in 0..<outer {
      for channel in 0..<channels {
        // A channel's elements are numbered block after block; a run ends where its group or its block does.
        var element = block * inner
        while element < (block + 1) * inner {
          let end = min((element / group + 1) * group, (block + 1) * inner)
          let start = (block * channels + channel) * inner + element - block * inner
          runs.append(Run(parameter: channel * groups + element / group, start: start, count: end - element))
          element = end
        }
      }
    }
    return runs
  }

  /// The quantizer in the form that the run gives it.
  func inForce(_ op: Quantize, _ id: OpID) -> Quantize {
    guard let index = variant.forms[id] else { return op }
    var op = op
    op.forms.currentIndex = index
    return op
  }

  // MARK: Dropping

  /// nil where nothing is dropped: weights, and runs that do not ask for it. What stays depends on the seed, the
  /// operation and the element's place in the memory of the whole batch alone.
  func kept(_ op: Quantize, _ step: Evaluator.Step) -> KeptElements? {
    guard let dropping = variant.dropping, op.role == .activation else { return nil }
    let elements = step.operandTypes[0].shape.bound(batch: batch).reduce(1, *)
    return KeptElements(
      random: SeededRandom(seed: dropping.seed, stream: UInt64(step.id.index)),
      offset: elements / max(batch, 1) * firstSample,
      threshold: UInt64(max(0, min(dropping.probability, 1)) * 65_536))
  }

  /// `quantized` with the kept elements of `x` in place; both in the same memory order.
  func restored(_ quantized: Tensor, _ x: Tensor, _ keeps: KeptElements) -> Tensor {
    let result = Tensor(x.shape, .f32, order: x.order, pool: pool)
    let source = x.pointer(Float.self), rounded = quantized.pointer(Float.self)
    let target = result.pointer(Float.self)
    keeps.forEach(result.count) { target[$0] = $1 ? source[$0] : rounded[$0] }
    keepAlive(x, quantized)
    return result
  }
}

/// Which elements of one activation pass its quantizer as they are.
struct KeptElements {
  let random: SeededRandom
  /// The place of the first element.
  var offset: Int
  /// Of 65 536.
  let threshold: UInt64

  func shifted(by count: Int) -> KeptElements {
    var result = self
    result.offset += count
    return result
  }
  /// Calls `body` with every index and whether that element stays. One random number serves four places.
  @inline(__always)
  func forEach(_ count: Int, _ body: (Int, Bool) -> Void) {
    var index = 0
    while index < count {
      let place = offset &+ index
      var bits = random.value(at: UInt64(truncatingIfNeeded: place >> 2)) >> UInt64((place & 3) &* 16)
      for next in index..<min(index &+ 4 &- (place & 3), count) {
        body(next, bits & 0xFFFF < threshold)
        bits >>= 16
        index = next &+ 1
      }
    }
  }
}

/// How the quantized values of elements with the same parameters follow the elements and the parameters.
private struct Slopes {
  private let isBinary: Bool
  private let scale: Float
  /// The range of x / scale that is not clamped.
  private let lowest: Float
  private let highest: Float

  init(_ op: Quantize, scale: Float, zeroPoint: Float) {
    isBinary = op.form.isBinaryWeight(op.role.numerics)
    self.scale = scale
    lowest = Float(op.storedRange.lowerBound) - zeroPoint
    highest = Float(op.storedRange.upperBound) - zeroPoint
  }

  /// Writes the gradients of `count` elements and returns the sums of those of the parameters.
  func propagate(
    _ x: UnsafePointer<Float>, _ gradient: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>,
    _ count: Int, _ keeps: KeptElements?
  ) -> (step: Double, zeroPoint: Double) {
    if let keeps { return propagate(x, gradient, target, count, keeping: keeps) }
    var step = 0.0, zeroPoint = 0.0
    // Sums in floats over blocks of 32 elements for each lane.
    for first in stride(from: 0, to: count, by: 256) {
      var steps = Lanes.zero, zeroPoints = Lanes.zero
      let end = min(first &+ 256, count), whole = end &- (end &- first) % 8
      for index in stride(from: first, to: whole, by: 8) {
        let slopes = slopes(load(x + index), load(gradient + index))
        UnsafeMutableRawPointer(target + index).storeBytes(of: slopes.x, as: Lanes.self)
        steps += slopes.step
        zeroPoints += slopes.zeroPoint
      }
      if whole < end {
        // What has no gradient adds nothing.
        let slopes = slopes(load(x + whole, end &- whole), load(gradient + whole, end &- whole))
        for index in whole..<end { target[index] = slopes.x[index &- whole] }
        steps += slopes.step
        zeroPoints += slopes.zeroPoint
      }
      step += Double(steps.sum())
      zeroPoint += Double(zeroPoints.sum())
    }
    return (step, zeroPoint)
  }

  /// A function of its own: larger ones are not inlined into.
  @inline(never)
  private func propagate(
    _ x: UnsafePointer<Float>, _ gradient: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>,
    _ count: Int, keeping keeps: KeptElements
  ) -> (step: Double, zeroPoint: Double) {
    var step = 0.0, zeroPoint = 0.0
    keeps.forEach(count) { index, isKept in
      guard !isKept else {
        target[index] = gradient[index]
        return
      }
      let slopes = slopes(Lanes(repeating: x[index]), Lanes(repeating: gradient[index]))
      target[index] = slopes.x[0]
      step += Double(slopes.step[0])
      zeroPoint += Double(slopes.zeroPoint[0])
    }
    return (step, zeroPoint)
  }

  private typealias Lanes = SIMD8<Float>
  @inline(__always)
  private func load(_ pointer: UnsafePointer<Float>) -> Lanes {
    UnsafeRawPointer(pointer).loadUnaligned(as: Lanes.self)
  }
  /// The first `count` of eight, and zeros.
  private func load(_ pointer: UnsafePointer<Float>, _ count: Int) -> Lanes {
    var result = Lanes.zero
    for lane in 0..<count { result[lane] = pointer[lane] }
    return result
  }
  @inline(__always)
  private func slopes(_ x: Lanes, _ gradient: Lanes) -> (x: Lanes, step: Lanes, zeroPoint: Lanes) {
    let scaled = x / scale
    if isBinary {
      // The sign passes where x lies between the levels (Hubara and others 2016).
      let isInside = (scaled .>= -1) .& (scaled .<= 1)
      return (
        Lanes.zero.replacing(with: gradient, where: isInside),
        (-gradient).replacing(with: gradient, where: x .>= 0),
        .zero
      )
    }
    let isLow = scaled .< lowest, isHigh = scaled .> highest, isOutside = isLow .| isHigh
    // Rounds half to even, as in the forward pass.
    let magic: Float = 12_582_912
    let inside = ((scaled + magic) - magic) - scaled
    let level = inside.replacing(with: lowest, where: isLow).replacing(with: highest, where: isHigh)
    return (
      gradient.replacing(with: 0, where: isOutside), gradient * level,
      Lanes.zero.replacing(with: gradient * -scale, where: isOutside)
    )
  }
}
