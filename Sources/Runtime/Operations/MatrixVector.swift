import KernelInterface
import Program

/// The product of one row of inputs with a matrix: a layer whose output is a single pixel, with results in f32 or in
/// bytes.
struct MatrixVectorStep: StepWork {
  private enum Results {
    case reals(RealPlace, scale: UnsafePointer<Float>)
    case bytes(ByteResults)
  }
  private struct ByteResults {
    let output: Plane
    let multiplier: UnsafePointer<Int32>
    let shift: UnsafePointer<Int32>
    let scale: UnsafePointer<Float>?
    let zeroPoint: Int32
    let minimum: Int32
    let maximum: Int32
  }

  /// Panels whose sums are computed before they become results: as many as fit a thread's scratch memory.
  private static let panelsAtOnce = ConvolutionArguments.scratchBytes / 64
  /// Some kernels take panels in pairs.
  private static let panelsPerUnit = 2

  private(set) var kernels: MatrixVectorKernels
  let geometry: ConvolutionGeometry
  private var sums: @Sendable (MatrixVectorArguments) -> Void
  private let inputOffset: Int
  private let weights: UnsafeRawPointer
  private let bias: UnsafePointer<Int32>
  private let results: Results

  /// - Returns: nil when the weights have no address, which a validated program rules out.
  init?(
    _ product: Instruction.FloatProduct, _ program: Program, features: CPUFeatures, _ pool: ConstantPool
  ) {
    let x = program.tensors[product.input], y = program.tensors[product.output]
    guard let base = program.data.bytes.baseAddress else { return nil }
    geometry = ConvolutionGeometry(product.kind, productOf: x, outputs: y.elementCount)
    (kernels, sums) = Self.kernels(geometry, features)
    inputOffset = Plane(x).offset
    weights = base + product.weights.offset
    var bias = [Int32](repeating: 0, count: 16 * geometry.panelsPerCall)
    for channel in 0..<y.elementCount { bias[channel] = program.data.int32(product.bias, channel) }
    self.bias = pool.allocate(bias)
    results = .reals(
      RealPlace(y), scale: pool.allocate((0..<y.elementCount).map { program.data.float(product.scale, $0) }))
  }

  /// - Returns: nil when the convolution is no such product: it has several output pixels, its inputs do not follow
  ///   one another, or its weights are not of 8 or 4 bits.
  init?(
    _ convolution: Instruction.Convolution, _ program: Program, features: CPUFeatures, _ pool: ConstantPool
  ) {
    let x = program.tensors[convolution.input], y = program.tensors[convolution.output],
      window = convolution.window
    let input = Plane(x), output = Plane(y)
    let coversRows =
      window.kernelWidth == input.width && input.pixelStride == input.storedChannels && input.isOneRow
    let isContiguous =
      window.taps == 1
      || (coversRows && window.dilationRows == 1 && window.dilationColumns == 1)
    guard output.pixels == 1, !output.hasBorder, convolution.kind == .dense8 || convolution.kind == .dense4,
      convolution.groups == 1, !window.isPadded,
      isContiguous, let base = program.data.bytes.baseAddress
    else { return nil }
    geometry = ConvolutionGeometry(convolution, input: x, output: y)
    (kernels, sums) = Self.kernels(geometry, features)
    inputOffset = input.offset
    weights = base + convolution.weights.offset
    let parameters = ChannelParameters(convolution, geometry, program.data)
    bias = pool.allocate(parameters.bias)
    results = .bytes(
      ByteResults(
        output: output, multiplier: pool.allocate(parameters.multiplier),
        shift: pool.allocate(parameters.shift),
        scale: parameters.fusedScales(geometry).map { pool.allocate($0) }, zeroPoint: Int32(y.zeroPoint),
        minimum: Int32(convolution.clamp.minimum), maximum: Int32(convolution.clamp.maximum)))
  }

  private static func kernels(
    _ geometry: ConvolutionGeometry, _ features: CPUFeatures
  ) -> (MatrixVectorKernels, @Sendable (MatrixVectorArguments) -> Void) {
    let blocks = geometry.panelBytes / 64, hasFourBits = geometry.kind == .dense4
    let fitsFastKernels = !hasFourBits || blocks <= MatrixVectorArguments.largestBlocks4
    let kernels = KernelTable.selectMatrixVector(fitsFastKernels ? features : [])
    return (kernels, hasFourBits ? kernels.sums4 : kernels.sums8)
  }

  /// Takes the kernels of this name instead, if they can run the layer.
  mutating func prefer(_ name: StaticString?, _ features: CPUFeatures) {
    // A portable pick has no substitute: nothing else is there, or the sums are too large for the others.
    guard let name, kernels.features != [], let other = KernelTable.matrixVector(named: name, features) else {
      return
    }
    kernels = other
    sums = geometry.kind == .dense4 ? other.sums4 : other.sums8
  }

  var units: Int { (geometry.panelsPerCall + Self.panelsPerUnit - 1) / Self.panelsPerUnit }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    let sums = memory.kernelScratch(part).assumingMemoryBound(to: Int32.self)
    let end = min(range.upperBound &* Self.panelsPerUnit, geometry.panelsPerCall)
    var panel = range.lowerBound &* Self.panelsPerUnit
    while panel < end {
      let panels = min(Self.panelsAtOnce, end &- panel), channel = 16 &* panel
      self.sums(
        MatrixVectorArguments(
          x: memory.arena + inputOffset, weights: weights + panel &* geometry.panelBytes,
          blocks: geometry.panelBytes / 64, panels: panels, bias: bias + channel, sums: sums))
      finish(memory, sums, channel, 16 &* panels)
      panel &+= panels
    }
  }

  /// Turns up to `count` sums from a channel on into results.
  @inline(__always)
  private func finish(_ memory: WorkingMemory, _ sums: UnsafePointer<Int32>, _ channel: Int, _ count: Int) {
    switch results {
    case .reals(let place, let scale):
      guard let target = memory.reals(place) else { return }
      kernels.reals(
        SumsToRealsArguments(sums: sums, scale: scale + channel, output: target + channel),
        min(count, geometry.outputChannels &- channel))
    case .bytes(let bytes):
      let arguments = SumsToBytesArguments(
        sums: sums, multiplier: bytes.multiplier + channel, shift: bytes.shift + channel,
        scale: bytes.scale.map { $0 + channel }, output: memory.arena + (bytes.output.offset &+ channel),
        zeroPoint: bytes.zeroPoint, minimum: bytes.minimum, maximum: bytes.maximum)
      kernels.bytes(arguments, min(count, bytes.output.storedChannels &- channel))
    }
  }
}
