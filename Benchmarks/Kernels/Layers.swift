import KernelInterface
import Numerics
import Runtime

/// A convolution layer of a real network.
struct Layer {
  var name: String
  var inputChannels: Int
  var outputChannels: Int
  var kernelSize: Int
  var stride: Int
  /// Height and width of the output.
  var outputSize: Int

  static let all = [
    Layer(
      name: "3x3 64-64 @56", inputChannels: 64, outputChannels: 64, kernelSize: 3, stride: 1, outputSize: 56),
    Layer(
      name: "1x1 256-64 @56", inputChannels: 256, outputChannels: 64, kernelSize: 1, stride: 1, outputSize: 56
    ),
    Layer(
      name: "3x3 256-256 @14", inputChannels: 256, outputChannels: 256, kernelSize: 3, stride: 1,
      outputSize: 14),
    Layer(
      name: "3x3 128-128 @28", inputChannels: 128, outputChannels: 128, kernelSize: 3, stride: 1,
      outputSize: 28),
    Layer(
      name: "3x3 16-16 @32", inputChannels: 16, outputChannels: 16, kernelSize: 3, stride: 1, outputSize: 32),
    Layer(
      name: "3x3/2 3-32 @112", inputChannels: 3, outputChannels: 32, kernelSize: 3, stride: 2, outputSize: 112
    ),
    Layer(
      name: "1x1 16-96 @112", inputChannels: 16, outputChannels: 96, kernelSize: 1, stride: 1, outputSize: 112
    ),
    Layer(
      name: "1x1 16-96 @28", inputChannels: 16, outputChannels: 96, kernelSize: 1, stride: 1, outputSize: 28),
    Layer(
      name: "1x1 40-240 @28", inputChannels: 40, outputChannels: 240, kernelSize: 1, stride: 1, outputSize: 28
    ),
    Layer(
      name: "1x1 240-40 @28", inputChannels: 240, outputChannels: 40, kernelSize: 1, stride: 1, outputSize: 28
    ),
    Layer(
      name: "3x3 32-32 @16", inputChannels: 32, outputChannels: 32, kernelSize: 3, stride: 1, outputSize: 16),
    Layer(
      name: "3x3 64-64 @8", inputChannels: 64, outputChannels: 64, kernelSize: 3, stride: 1, outputSize: 8),
    Layer(
      name: "3x3/2 3-64 @112", inputChannels: 3, outputChannels: 64, kernelSize: 3, stride: 2, outputSize: 112
    ),
    Layer(
      name: "1x1 1280-1000 @1", inputChannels: 1280, outputChannels: 1000, kernelSize: 1, stride: 1,
      outputSize: 1),
  ]

  /// Multiplications and additions with weights that are not padding.
  var operations: Int {
    2 * outputSize * outputSize * outputChannels * kernelSize * kernelSize * inputChannels
  }
}

/// Memory that lives as long as this.
final class Allocations {
  private var blocks: [UnsafeMutableRawPointer] = []

  /// 64 bytes may be read behind it.
  func copied<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeMutableRawPointer {
    let bytes = elements.count * MemoryLayout<Element>.stride
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes + 64, alignment: 64)
    elements.withUnsafeBytes {
      memory.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(memory), byteCount: bytes)
    }
    blocks.append(memory)
    return memory
  }

  deinit { for block in blocks { block.deallocate() } }
}

/// A layer with random operands in memory of its own, ready to run.
final class PreparedLayer {
  let kernel: Kernel
  private let arguments: ConvolutionArguments
  private let pixels: Int
  private let allocations: Allocations

  /// - Parameter planes: bits of an input number, for kernels that multiply them one by one; or 1.
  init(_ layer: Layer, _ kernel: Kernel, planes: Int) {
    self.kernel = kernel
    pixels = layer.outputSize * layer.outputSize
    let steps = kernel.kind.isBitSerial ? (layer.inputChannels + 31) / 32 : (layer.inputChannels + 3) / 4
    let pixelBytes = 4 * steps * planes
    let imageWidth = (layer.outputSize - 1) * layer.stride + layer.kernelSize
    var offsets: [Int32] = []
    for plane in (0..<planes).reversed() {
      for y in 0..<layer.kernelSize {
        for x in 0..<layer.kernelSize {
          let tap = (y * imageWidth + x) * pixelBytes + 4 * plane * steps
          for step in 0..<steps { offsets.append(Int32(tap + 4 * step)) }
        }
      }
    }
    let rowLength = offsets.count / planes * kernel.kind.weightsPerStep
    while offsets.count % kernel.kind.stepMultiple != 0 { offsets.append(offsets[offsets.count - 1]) }

    var random = SystemRandomNumberGenerator()
    let weights = (0..<layer.outputChannels * rowLength).map { _ in kernel.kind.randomWeight(&random) }
    let channels = layer.outputChannels, panels = WeightPacking.panels(channels) * 16
    let allocations = Allocations()
    func pointer<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element> {
      UnsafePointer(allocations.copied(elements).assumingMemoryBound(to: Element.self))
    }
    let packed = kernel.kind.packed(weights, channels: channels, rowLength: rowLength)
    let outputPixelStride = (channels + 3) / 4 * 4
    guard let fixed = FixedPointMultiplier(fused: 0.0007) else { fatalError("0.0007 is a valid factor") }
    let bytes = (0..<imageWidth * imageWidth * pixelBytes).map { _ in
      UInt8.random(in: 0...255, using: &random)
    }
    let inputMemory =
      kernel.readsWords ? allocations.copied(bytes.map { UInt16($0) }) : allocations.copied(bytes)
    let weightMemory =
      kernel.readsWords ? allocations.copied(WeightPacking.widened(packed)) : allocations.copied(packed)
    let width = kernel.readsWords ? 2 : 1
    offsets = offsets.map { Int32(width) * $0 }
    arguments = ConvolutionArguments(
      input: UnsafePointer(inputMemory.assumingMemoryBound(to: UInt8.self)),
      inputRowStride: layer.stride * imageWidth * pixelBytes * width,
      inputPixelStride: layer.stride * pixelBytes * width,
      stepOffsets: pointer(offsets), steps: offsets.count,
      stepsPerTap: layer.kernelSize == 3 && layer.stride == 1 && pixelBytes % 8 == 0 ? pixelBytes / 4 : 0,
      planes: planes,
      weights: UnsafeRawPointer(weightMemory),
      bias: pointer([Int32](repeating: 1000, count: panels)),
      multiplier: pointer([Int32](repeating: fixed.multiplier, count: panels)),
      shift: pointer([Int32](repeating: fixed.shift, count: panels)),
      scale: pointer([Float](repeating: Float(fixed.value), count: panels)),
      scratch: allocations.copied([UInt8](repeating: 0, count: ConvolutionArguments.scratchBytes)),
      outputChannels: channels,
      output: allocations.copied([UInt8](repeating: 0, count: pixels * outputPixelStride))
        .assumingMemoryBound(
          to: UInt8.self),
      outputPixelStride: outputPixelStride, outputWidth: layer.outputSize, outputZeroPoint: 10,
      clampMinimum: 10,
      clampMaximum: 255)
    self.allocations = allocations
  }

  func run() { kernel.function(arguments, 0, pixels) }
}

extension KernelKind {
  var isBitSerial: Bool { self == .binary || self == .ternary }

  fileprivate var weightsPerStep: Int {
    switch self {
    case .dense8, .dense4, .dense2, .palette: 4
    case .binary, .ternary: WeightPacking.bitsPerStep
    }
  }

  fileprivate var stepMultiple: Int {
    switch self {
    case .dense8, .binary, .ternary: 1
    case .dense4, .palette: 2
    case .dense2: 4
    }
  }

  fileprivate func randomWeight(_ random: inout SystemRandomNumberGenerator) -> Int8 {
    // Sums of three, since weights of networks are bell-shaped too: within ±126 or ±6.
    func sum(_ largest: Int8) -> Int8 {
      (0..<3).reduce(Int8(0)) { sum, _ in sum + Int8.random(in: -largest...largest, using: &random) }
    }
    return switch self {
    case .dense8: sum(42)
    case .dense4, .palette: sum(2)
    case .dense2: Int8.random(in: -2...1, using: &random)
    case .ternary: Int8.random(in: -1...1, using: &random)
    case .binary: Bool.random(using: &random) ? 1 : -1
    }
  }

  fileprivate func packed(_ weights: [Int8], channels: Int, rowLength: Int) -> [UInt8] {
    switch self {
    case .dense8: WeightPacking.pack8(weights, channels: channels, rowLength: rowLength)
    case .dense4: WeightPacking.pack4(weights, channels: channels, rowLength: rowLength)
    case .dense2: WeightPacking.pack2(weights, channels: channels, rowLength: rowLength)
    case .palette: WeightPacking.packPalette(weights, channels: channels, rowLength: rowLength) ?? []
    case .binary: WeightPacking.packBinary(weights, channels: channels, rowLength: rowLength)
    case .ternary: WeightPacking.packTernary(weights, channels: channels, rowLength: rowLength)
    }
  }
}
