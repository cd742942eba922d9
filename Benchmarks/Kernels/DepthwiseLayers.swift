import KernelInterface
import Numerics
import Runtime

/// A depthwise layer of a real network, padded so that stride 1 keeps the size.
struct DepthwiseBenchmark {
  var channels: Int
  var kernelSize: Int
  var stride: Int
  /// Height and width of the output.
  var outputSize: Int

  init(_ kernelSize: Int, stride: Int = 1, _ channels: Int, at outputSize: Int) {
    self.channels = channels
    self.kernelSize = kernelSize
    self.stride = stride
    self.outputSize = outputSize
  }

  static let all = [
    DepthwiseBenchmark(3, 96, at: 56), DepthwiseBenchmark(3, 32, at: 112),
    DepthwiseBenchmark(3, stride: 2, 96, at: 56), DepthwiseBenchmark(3, 144, at: 56),
    DepthwiseBenchmark(5, stride: 2, 144, at: 28), DepthwiseBenchmark(5, 240, at: 28),
    DepthwiseBenchmark(3, 384, at: 14), DepthwiseBenchmark(5, 672, at: 14),
    DepthwiseBenchmark(5, 1152, at: 7),
  ]

  var name: String { "\(kernelSize)x\(kernelSize)\(stride == 2 ? "/2" : "") dw \(channels) @\(outputSize)" }
  var operations: Int { 2 * outputSize * outputSize * channels * kernelSize * kernelSize }
}

/// A depthwise layer with random operands in memory of its own, ready to run.
final class PreparedDepthwise {
  private let kernel: DepthwiseKernel
  private let arguments: DepthwiseArguments
  private let allocations = Allocations()

  init(_ benchmark: DepthwiseBenchmark, _ kernel: DepthwiseKernel) {
    self.kernel = kernel
    let channels = benchmark.channels, size = benchmark.outputSize, inputSize = size * benchmark.stride
    let layer = DepthwiseLayer(
      channels: channels, storedChannels: channels, inputHeight: inputSize, inputWidth: inputSize,
      inputPixelStride: channels, inputRowStride: channels * inputSize, inputZeroPoint: 128,
      kernelHeight: benchmark.kernelSize, kernelWidth: benchmark.kernelSize, strideRows: benchmark.stride,
      strideColumns: benchmark.stride, dilationRows: 1, dilationColumns: 1, padTop: benchmark.kernelSize / 2,
      padLeft: benchmark.kernelSize / 2, outputHeight: size, outputWidth: size, outputPixelStride: channels,
      outputRowStride: channels * size, outputZeroPoint: 10, clampMinimum: 10, clampMaximum: 255,
      isFused: true)
    var random = SystemRandomNumberGenerator()
    func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
    let allocations = allocations
    func pointer<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeMutablePointer<Element> {
      allocations.copied(elements).assumingMemoryBound(to: Element.self)
    }
    guard let fixed = FixedPointMultiplier(fused: 0.0007) else { fatalError("0.0007 is a valid factor") }
    let tables = DepthwisePlan.Tables(layer, lanes: kernel.lanes)
    let plan = DepthwisePlan(tables, planes: pointer(tables.planes), terms: pointer(tables.terms))
    let prepared = pointer([UInt8](repeating: 0, count: kernel.preparedBytes(layer, plan)))
    kernel.prepare(
      layer, plan,
      DepthwiseParameters(
        weights: pointer(bytes(channels * layer.taps).map { Int8(bitPattern: $0) }),
        bias: pointer([Int32](repeating: 1000, count: channels)),
        multiplier: pointer([Int32](repeating: fixed.multiplier, count: channels)),
        shift: pointer([Int32](repeating: fixed.shift, count: channels)),
        scale: pointer([Float](repeating: Float(fixed.value), count: channels))), prepared)
    arguments = DepthwiseArguments(
      layer: layer, plan: plan, prepared: prepared, input: pointer(bytes(channels * inputSize * inputSize)),
      output: pointer(bytes(channels * size * size)),
      scratch: pointer(bytes(kernel.scratchBytes(layer, plan))))
  }

  func run() { kernel.function(arguments, 0, arguments.layer.outputHeight) }
}
