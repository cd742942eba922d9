import KernelInterface
import Program

/// A matrix product with results in f32, for the last layer.
struct FloatProductStep {
  let input: Plane
  let output: RealPlace
  let geometry: ConvolutionGeometry
  private let kernel: @Sendable (ProductArguments) -> Void
  private let weights: UnsafeRawPointer
  private let bias: UnsafePointer<Int32>
  private let scale: UnsafePointer<Float>

  /// - Returns: nil when the weights have no address, which a validated program rules out.
  init?(
    _ product: Instruction.FloatProduct, _ program: Program, _ kernels: ElementwiseKernels,
    _ pool: ConstantPool
  ) {
    let x = program.tensors[product.input], y = program.tensors[product.output]
    guard let base = program.data.bytes.baseAddress else { return nil }
    kernel = kernels.product
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
        kernel(
          ProductArguments(
            sums: sums, x: x, weights: w, steps: (geometry.inputChannels + 3) / 4,
            hasFourBits: geometry.kind == .dense4))
        for c in 0..<count { target[first + c] = scale[first + c] * Float(sums[c]) }
      }
    }
  }
}
