import Program

/// A matrix product with results in f32, for the last layer.
struct FloatProductStep {
  let input: Plane
  let output: RealPlace
  let geometry: ConvolutionGeometry
  private let weights: UnsafeRawPointer
  private let bias: UnsafePointer<Int32>
  private let scale: UnsafePointer<Float>

  /// - Returns: nil when the weights have no address, which a validated program rules out.
  init?(_ product: Instruction.FloatProduct, _ program: Program, _ pool: ConstantPool) {
    let x = program.tensors[product.input], y = program.tensors[product.output]
    guard let base = program.data.bytes.baseAddress else { return nil }
    input = Plane(x)
    output = RealPlace(y)
    geometry = ConvolutionGeometry(product.kind, productOf: x, outputs: y.elementCount)
    weights = base + product.weights.offset
    bias = pool.allocate((0..<y.elementCount).map { program.data.int32(product.bias, $0) })
    scale = pool.allocate((0..<y.elementCount).map { program.data.float(product.scale, $0) })
  }

  /// Panels of 16 output channels.
  var units: Int { geometry.panelsPerCall }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    guard let target = memory.reals(output) else { return }
    let x = UnsafePointer(memory.arena + input.offset)
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: 16) { buffer in
      guard let sums = buffer.baseAddress else { return }
      for panel in range {
        let first = 16 * panel, count = min(16, geometry.outputChannels - first)
        for c in 0..<16 { sums[c] = c < count ? bias[first + c] : 0 }
        let w = (weights + panel * geometry.panelBytes).assumingMemoryBound(to: Int8.self)
        if geometry.kind == .dense4 { accumulate4(sums, x, w) } else { accumulate8(sums, x, w) }
        for c in 0..<count { target[first + c] = scale[first + c] * Float(sums[c]) }
      }
    }
  }

  private func accumulate8(_ sums: UnsafeMutablePointer<Int32>, _ x: UnsafePointer<UInt8>, _ w: UnsafePointer<Int8>) {
    for step in 0..<geometry.steps {
      let x0 = Int32(x[4 &* step]), x1 = Int32(x[4 &* step &+ 1])
      let x2 = Int32(x[4 &* step &+ 2]), x3 = Int32(x[4 &* step &+ 3])
      let row = w + 64 &* step
      for c in 0..<16 {
        sums[c] &+=
          x0 &* Int32(row[4 &* c]) &+ x1 &* Int32(row[4 &* c &+ 1]) &+ x2 &* Int32(row[4 &* c &+ 2])
          &+ x3 &* Int32(row[4 &* c &+ 3])
      }
    }
  }

  /// Two steps a row of 64 bytes: low nibbles belong to the first.
  private func accumulate4(_ sums: UnsafeMutablePointer<Int32>, _ x: UnsafePointer<UInt8>, _ w: UnsafePointer<Int8>) {
    for step in 0..<geometry.inputChannels.roundedUpToBlocks {
      let row = w + 64 &* (step / 2), isHigh = step % 2 == 1
      for j in 0..<4 {
        let value = Int32(x[4 &* step &+ j])
        for c in 0..<16 {
          let byte = row[4 &* c &+ j]
          sums[c] &+= value &* Int32(isHigh ? byte &>> 4 : (byte &<< 4) &>> 4)
        }
      }
    }
  }
}

extension Int {
  /// Blocks of 4 that hold so many channels.
  fileprivate var roundedUpToBlocks: Int { (self + 3) / 4 }
}
