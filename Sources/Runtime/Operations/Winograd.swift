import KernelInterface
import Numerics
import Program

/// A convolution with 3 x 3 windows by a kernel that takes fewer products, over the input in place, with its border, or over
/// the scratch image.
struct WinogradStep: RowWork {
  /// Below, most of a vector of input channels would be padding.
  private static let leastInputChannels = 12

  let geometry: ConvolutionGeometry
  let scratchBytes: Int
  let output: Plane
  let readsScratch: Bool
  private let kernel: WinogradKernel
  private let inputOffset: Int
  private let inputRowStride: Int
  private let inputPixelStride: Int
  private let stepsPerTap: Int
  private let prepared: UnsafeRawPointer
  private let bias: UnsafePointer<Int32>
  private let multiplier: UnsafePointer<Int32>
  private let shift: UnsafePointer<Int32>
  private let scale: UnsafePointer<Float>?
  private let zeroPoint: Int32
  private let minimum: Int32
  private let maximum: Int32

  static func canRun(_ convolution: Instruction.Convolution, _ program: Program) -> Bool {
    let x = program.tensors[convolution.input], y = program.tensors[convolution.output]
    let window = convolution.window, channels = x.channels
    return (convolution.kind == .dense8 || convolution.kind == .dense4) && convolution.groups == 1
      && (window.kernelHeight, window.kernelWidth) == (3, 3)
      && (window.strideRows, window.strideColumns) == (1, 1)
      && (window.dilationRows, window.dilationColumns) == (1, 1)
      && (leastInputChannels...WinogradKernel.mostInputChannels).contains(channels)
      && y.height > 1 && y.width > 1
  }

  /// - Parameter image: what the kernel reads; nil when it reads the input in place.
  /// - Requires: `canRun`.
  /// - Returns: nil when the weights have no address, which a validated program rules out.
  init?(
    _ convolution: Instruction.Convolution, _ program: Program, image: ScratchImage?,
    _ kernel: WinogradKernel,
    _ pool: ConstantPool
  ) {
    let x = program.tensors[convolution.input], y = program.tensors[convolution.output]
    let window = convolution.window, input = Plane(x)
    guard let base = program.data.bytes.baseAddress else { return nil }
    output = Plane(y)
    geometry = ConvolutionGeometry(convolution, input: x, output: y)
    readsScratch = image != nil
    self.kernel = kernel
    inputPixelStride = image?.pixelBytes ?? input.pixelStride
    inputRowStride = image?.rowBytes ?? input.rowStride
    inputOffset =
      image != nil ? 0 : input.offset - window.padTop * inputRowStride - window.padLeft * inputPixelStride
    stepsPerTap = (geometry.inputsPerGroup + 3) / 4
    prepared = Self.prepare(base + convolution.weights.offset, geometry, stepsPerTap, kernel, pool)
    scratchBytes = roundedUp(kernel.scratchBytes(stepsPerTap), to: 64)
    let parameters = ChannelParameters(convolution, geometry, program.data)
    bias = pool.allocate(parameters.bias)
    multiplier = pool.allocate(parameters.multiplier)
    shift = pool.allocate(parameters.shift)
    scale = parameters.fusedScales(geometry).map { pool.allocate($0) }
    zeroPoint = Int32(y.zeroPoint)
    minimum = Int32(convolution.clamp.minimum)
    maximum = Int32(convolution.clamp.maximum)
  }

  private static func prepare(
    _ packed: UnsafeRawPointer, _ geometry: ConvolutionGeometry, _ stepsPerTap: Int, _ kernel: WinogradKernel,
    _ pool: ConstantPool
  ) -> UnsafeRawPointer {
    let bytes = kernel.preparedBytes(stepsPerTap)
    let prepared = pool.allocate(bytes: geometry.panelsPerCall * bytes)
    // 4-bit weights, panel by panel, in the layout of 8 bits.
    withUnsafeTemporaryAllocation(of: Int8.self, capacity: geometry.steps * 64) { wide in
      guard let wide = wide.baseAddress else { return }
      for panel in 0..<geometry.panelsPerCall {
        var source = packed + panel * geometry.panelBytes
        if geometry.kind == .dense4 {
          WeightPacking.unpack(
            nibbles: source.assumingMemoryBound(to: UInt8.self), bytes: geometry.panelBytes, into: wide)
          source = UnsafeRawPointer(wide)
        }
        kernel.prepare(source, stepsPerTap, prepared + panel * bytes)
      }
    }
    return UnsafeRawPointer(prepared)
  }

  let rowsAtOnce = 2
  let hasRows = true
  var units: Int { (output.height + rowsAtOnce - 1) / rowsAtOnce }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    run(
      memory, part: part,
      rows: range.lowerBound * rowsAtOnce..<min(range.upperBound * rowsAtOnce, output.height))
  }

  func run(_ memory: WorkingMemory, part: Int, rows: Range<Int>) {
    let arguments = ConvolutionArguments(
      input: UnsafePointer((readsScratch ? memory.image : memory.arena) + inputOffset),
      inputRowStride: inputRowStride, inputPixelStride: inputPixelStride, stepOffsets: bias, steps: 0,
      stepsPerTap: stepsPerTap, weights: prepared, bias: bias, multiplier: multiplier, shift: shift,
      scale: scale,
      scratch: memory.kernelScratch(part), outputChannels: output.channels,
      storedChannels: output.storedChannels, output: memory.arena + output.offset,
      outputPixelStride: output.pixelStride, outputRowStride: output.rowStride, outputWidth: output.width,
      outputZeroPoint: zeroPoint, clampMinimum: minimum, clampMaximum: maximum)
    kernel.function(arguments, rows.lowerBound, rows.count)
    output.fillBorder(memory.arena, rows: rows)
  }
}
