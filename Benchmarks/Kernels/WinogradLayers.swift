import KernelInterface
import Numerics
import Runtime

/// A 3 x 3 layer with stride 1 for a kernel that takes fewer products, with random operands in memory of its own.
final class PreparedWinograd {
  private let kernel: WinogradKernel
  private let arguments: ConvolutionArguments
  private let rows: Int
  private let allocations = Allocations()

  init(_ layer: Layer, _ kernel: WinogradKernel) {
    self.kernel = kernel
    rows = layer.outputSize
    let stepsPerTap = (layer.inputChannels + 3) / 4, pixelBytes = 4 * stepsPerTap
    let channels = layer.outputChannels, panels = WeightPacking.panels(channels)
    let imageWidth = layer.outputSize + 2, rowLength = 9 * pixelBytes
    var random = SystemRandomNumberGenerator()
    let weights = (0..<channels * rowLength).map { _ in Int8.random(in: -127...127, using: &random) }
    let packed = WeightPacking.pack8(weights, channels: channels, rowLength: rowLength)
    let panelBytes = kernel.preparedBytes(stepsPerTap)
    let prepared = allocations.copied([UInt8](repeating: 0, count: panels * panelBytes))
    packed.withUnsafeBytes { packed in
      guard let base = packed.baseAddress else { return }
      for panel in 0..<panels {
        kernel.prepare(base + panel * packed.count / panels, stepsPerTap, prepared + panel * panelBytes)
      }
    }
    let allocations = allocations
    func pointer<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element> {
      UnsafePointer(allocations.copied(elements).assumingMemoryBound(to: Element.self))
    }
    guard let fixed = FixedPointMultiplier(fused: 0.0007) else { fatalError("0.0007 is a valid factor") }
    let bias = pointer([Int32](repeating: 1000, count: 16 * panels))
    let outputPixelStride = (channels + 3) / 4 * 4
    arguments = ConvolutionArguments(
      input: pointer(
        (0..<imageWidth * imageWidth * pixelBytes).map { _ in UInt8.random(in: 0...255, using: &random) }),
      inputRowStride: imageWidth * pixelBytes, inputPixelStride: pixelBytes, stepOffsets: bias, steps: 0,
      stepsPerTap: stepsPerTap, weights: UnsafeRawPointer(prepared), bias: bias,
      multiplier: pointer([Int32](repeating: fixed.multiplier, count: 16 * panels)),
      shift: pointer([Int32](repeating: fixed.shift, count: 16 * panels)),
      scale: pointer([Float](repeating: Float(fixed.value), count: 16 * panels)),
      scratch: allocations.copied([UInt8](repeating: 0, count: kernel.scratchBytes(stepsPerTap))),
      outputChannels: channels,
      output: UnsafeMutablePointer(
        mutating: pointer([UInt8](repeating: 0, count: rows * layer.outputSize * outputPixelStride))),
      outputPixelStride: outputPixelStride, outputWidth: layer.outputSize, outputZeroPoint: 10,
      clampMinimum: 10, clampMaximum: 255)
  }

  func run() { kernel.function(arguments, 0, rows) }
}
