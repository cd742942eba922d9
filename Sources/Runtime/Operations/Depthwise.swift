import KernelInterface
import Numerics
import Program

/// A depthwise convolution by a kernel, over the input in place.
struct DepthwiseStep: StepWork {
  /// Kernels compute two rows at once.
  private static let rowsPerUnit = 2
  /// Beyond this, kernels that interleave rows lose more than they win: a wide dilation, say.
  private static let mostScratchBytes = 1 << 18
  private static let mostTaps = 1 << 12

  let kernel: DepthwiseKernel
  let geometry: ConvolutionGeometry
  let scratchBytes: Int
  private let layer: DepthwiseLayer
  private let plan: DepthwisePlan
  private let prepared: UnsafeRawPointer
  private let input: Plane
  private let output: Plane

  init(
    _ convolution: Instruction.Convolution, _ program: Program, features: CPUFeatures,
    preferred: StaticString?, _ pool: ConstantPool
  ) {
    let x = program.tensors[convolution.input], y = program.tensors[convolution.output]
    let window = convolution.window
    let input = Plane(x), output = Plane(y)
    let geometry = ConvolutionGeometry(convolution, input: x, output: y)
    let channels = ChannelParameters(convolution, geometry, program.data)
    let scales = channels.fusedScales(geometry)
    let layer = DepthwiseLayer(
      channels: y.channels, storedChannels: output.storedChannels, inputHeight: input.height,
      inputWidth: input.width, inputPixelStride: input.pixelStride, inputRowStride: input.rowStride,
      inputZeroPoint: x.zeroPoint, kernelHeight: window.kernelHeight, kernelWidth: window.kernelWidth,
      strideRows: window.strideRows, strideColumns: window.strideColumns, dilationRows: window.dilationRows,
      dilationColumns: window.dilationColumns, padTop: window.padTop, padLeft: window.padLeft,
      outputHeight: output.height, outputWidth: output.width, outputPixelStride: output.pixelStride,
      outputRowStride: output.rowStride, outputZeroPoint: Int32(y.zeroPoint),
      clampMinimum: Int32(convolution.clamp.minimum), clampMaximum: Int32(convolution.clamp.maximum),
      isFused: scales != nil)

    var kernel = KernelTable.selectDepthwise(
      geometry.taps <= Self.mostTaps ? features : [], isWide: layer.isWide, preferred: preferred)
    var plan = pool.plan(layer, lanes: kernel.lanes)
    if kernel.lanes > 0 && kernel.scratchBytes(layer, plan) > Self.mostScratchBytes {
      kernel = KernelTable.selectDepthwise([])
      plan = pool.plan(layer, lanes: kernel.lanes)
    }
    let memory = pool.allocate(bytes: kernel.preparedBytes(layer, plan))
    let start = convolution.weights.offset
    let weights = WeightPacking.unpack8(
      Array(program.data.bytes[start..<start + geometry.weightBytes]), channels: geometry.outputChannels,
      rowLength: geometry.taps)
    kernel.prepare(
      layer, plan,
      DepthwiseParameters(
        weights: pool.allocate(weights), bias: pool.allocate(channels.bias),
        multiplier: pool.allocate(channels.multiplier), shift: pool.allocate(channels.shift),
        scale: scales.map { pool.allocate($0) }), memory)
    prepared = UnsafeRawPointer(memory)
    scratchBytes = roundedUp(kernel.scratchBytes(layer, plan), to: 64)
    self.kernel = kernel
    self.geometry = geometry
    self.layer = layer
    self.plan = plan
    self.input = input
    self.output = output
  }

  var units: Int { (output.height + Self.rowsPerUnit - 1) / Self.rowsPerUnit }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    let first = range.lowerBound * Self.rowsPerUnit
    let end = min(range.upperBound * Self.rowsPerUnit, output.height)
    let arguments = DepthwiseArguments(
      layer: layer, plan: plan, prepared: prepared, input: memory.arena + input.offset,
      output: memory.arena + output.offset, scratch: memory.kernelScratch(part))
    kernel.function(arguments, first, end - first)
    output.fillBorder(memory.arena, rows: first..<end)
  }
}

extension ConstantPool {
  fileprivate func plan(_ layer: DepthwiseLayer, lanes: Int) -> DepthwisePlan {
    let tables = DepthwisePlan.Tables(layer, lanes: lanes)
    return DepthwisePlan(tables, planes: allocate(tables.planes), terms: allocate(tables.terms))
  }
}
