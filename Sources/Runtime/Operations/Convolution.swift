import KernelInterface
import Numerics
import Program

/// A convolution by a kernel, over the input in place, with its border, or over the scratch image.
struct ConvolutionStep: RowWork {
  /// What a thread's share is cut from: output pixels of all channels, or panels of all pixels.
  private enum Split { case pixels, panels }

  let kernel: Kernel
  let geometry: ConvolutionGeometry
  let input: Plane
  let output: Plane
  let readsScratch: Bool
  private let split: Split
  /// Shares are multiples of this: rows, or a multiple of all tiles of kernels where the image is one long row.
  private let pixelsPerUnit: Int
  /// Of what the first window reads first.
  private let inputOffset: Int
  private let inputRowStride: Int
  private let inputPixelStride: Int
  private let outputWidth: Int
  private let stepOffsets: UnsafePointer<Int32>
  private let steps: Int
  private let planes: Int
  private let stepsPerTap: Int
  private let weights: UnsafeRawPointer
  private let panelBytes: Int
  /// Padded to whole panels for every call.
  private let bias: UnsafePointer<Int32>
  private let multiplier: UnsafePointer<Int32>
  private let shift: UnsafePointer<Int32>
  private let scale: UnsafePointer<Float>?
  private let zeroPoint: Int32
  private let minimum: Int32
  private let maximum: Int32

  /// - Parameters:
  ///   - image: what the kernel reads; nil when it reads the input in place.
  ///   - fastest: the kernel that the features allow. One that reads words needs an image of them.
  /// - Returns: nil when the weights have no address, which a validated program rules out.
  init?(
    _ convolution: Instruction.Convolution, _ program: Program, image: ScratchImage?, _ fastest: Kernel,
    threads: Int,
    _ pool: ConstantPool
  ) {
    let x = program.tensors[convolution.input], y = program.tensors[convolution.output],
      window = convolution.window
    guard let base = program.data.bytes.baseAddress else { return nil }
    input = Plane(x)
    output = Plane(y)
    geometry = ConvolutionGeometry(convolution, input: x, output: y)
    readsScratch = image != nil
    let parameters = ChannelParameters(convolution, geometry, program.data)
    kernel = parameters.fitFastKernels(geometry) ? fastest : KernelTable.portable(fastest.kind)
    let pixelBytes = image?.pixelBytes ?? input.pixelStride
    let rowBytes = image?.rowBytes ?? input.rowStride
    planes = convolution.kind.isBitSerial ? Int(x.bits) : 1
    let reads = StepOffsets(
      geometry, window, planes: planes, elementBytes: kernel.readsWords ? 2 : 1, pixelBytes: pixelBytes,
      rowBytes: rowBytes)
    stepOffsets = pool.allocate(reads.offsets)
    steps = reads.offsets.count
    let stepsPerTap = geometry.kind == .depthwise ? 0 : (geometry.inputsPerGroup + 3) / 4
    let slides =
      window.kernelWidth == 3 && window.strideColumns == 1 && window.dilationColumns == 1
      && (geometry.kind == .dense8 || geometry.kind == .dense4 && stepsPerTap % 2 == 0)
    self.stepsPerTap = slides ? stepsPerTap : 0
    let packed = base + convolution.weights.offset
    weights = kernel.readsWords ? pool.widen(packed, bytes: geometry.weightBytes) : packed
    panelBytes = kernel.readsWords ? 2 * geometry.panelBytes : geometry.panelBytes
    inputOffset = image != nil ? 0 : input.offset - window.padTop * rowBytes - window.padLeft * pixelBytes
    if window.taps == 1 && window.strideRows == 1 && window.strideColumns == 1
      && rowBytes == output.width * pixelBytes && output.isOneRow
    {
      // A pixel for a pixel: the image is one long row.
      (outputWidth, inputRowStride, inputPixelStride) = (output.pixels, 0, pixelBytes)
    } else {
      outputWidth = output.width
      inputRowStride = window.strideRows * rowBytes
      inputPixelStride = window.strideColumns * pixelBytes
    }
    bias = pool.allocate(
      convolution.kind.isBitSerial
        ? parameters.biasForBits(geometry, packed, largestInput: 1 << Int32(planes) - 1) : parameters.bias)
    multiplier = pool.allocate(parameters.multiplier)
    shift = pool.allocate(parameters.shift)
    scale = parameters.fusedScales(geometry).map { pool.allocate($0) }
    zeroPoint = Int32(y.zeroPoint)
    minimum = Int32(convolution.clamp.minimum)
    maximum = Int32(convolution.clamp.maximum)
    pixelsPerUnit =
      outputWidth == output.pixels && !output.hasBorder
      ? min(24, (output.pixels + threads - 1) / threads) : outputWidth
    split = output.pixels < threads * 24 && geometry.panelsPerCall >= threads ? .panels : .pixels
  }

  var units: Int {
    switch split {
    case .pixels: (output.pixels + pixelsPerUnit - 1) / pixelsPerUnit
    case .panels: geometry.panelsPerCall
    }
  }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    let scratch = memory.kernelScratch(part)
    switch split {
    case .pixels:
      let first = range.lowerBound * pixelsPerUnit,
        end = min(range.upperBound * pixelsPerUnit, output.pixels)
      runPixels(memory, scratch, first..<end)
      if output.hasBorder { output.fillBorder(memory.arena, rows: range) }
    case .panels:
      for call in 0..<geometry.calls {
        run(memory, scratch, call, panels: range, pixels: 0..<output.pixels)
      }
      if range.lowerBound == 0 { output.fillBorder(memory.arena, rows: 0..<output.height) }
    }
  }

  var rowsAtOnce: Int { 1 }

  var hasRows: Bool {
    switch split {
    case .pixels: output.height > 1
    case .panels: false
    }
  }

  func run(_ memory: WorkingMemory, part: Int, rows: Range<Int>) {
    let pixels = rows.lowerBound * output.width..<rows.upperBound * output.width
    runPixels(memory, memory.kernelScratch(part), pixels)
    output.fillBorder(memory.arena, rows: rows)
  }

  private func runPixels(_ memory: WorkingMemory, _ scratch: UnsafeMutableRawPointer, _ pixels: Range<Int>) {
    for call in 0..<geometry.calls {
      run(memory, scratch, call, panels: 0..<geometry.panelsPerCall, pixels: pixels)
    }
  }

  /// Some panels of one group, for some pixels.
  private func run(
    _ memory: WorkingMemory, _ scratch: UnsafeMutableRawPointer, _ call: Int, panels: Range<Int>,
    pixels: Range<Int>
  ) {
    let callChannels = geometry.outputsPerGroup
    let firstChannel = 16 * panels.lowerBound, endChannel = min(16 * panels.upperBound, callChannels)
    // The bytes that round the channels up belong to the last call's last panel.
    let isLast = call == geometry.calls - 1 && endChannel == callChannels
    let channels = endChannel - firstChannel
    let rounding = isLast ? output.storedChannels - output.channels : 0
    let stored = min(channels + rounding, roundedUp(channels, to: 16))
    let panel = call * geometry.panelsPerCall + panels.lowerBound
    let inputChannel = call * geometry.inputsPerGroup
    let image = UnsafePointer((readsScratch ? memory.image : memory.arena) + inputOffset)
    var arguments = ConvolutionArguments(
      input: image + (kernel.readsWords ? 2 * inputChannel : inputChannel), inputRowStride: inputRowStride,
      inputPixelStride: inputPixelStride,
      stepOffsets: stepOffsets, steps: steps, stepsPerTap: stepsPerTap, planes: planes,
      weights: weights + panel * panelBytes,
      bias: bias + 16 * panel, multiplier: multiplier + 16 * panel, shift: shift + 16 * panel,
      scale: scale.map { $0 + 16 * panel }, scratch: scratch, outputChannels: channels,
      storedChannels: stored,
      output: memory.arena + (output.offset + call * callChannels + firstChannel),
      outputPixelStride: output.pixelStride, outputRowStride: output.isOneRow ? nil : output.rowStride,
      outputWidth: outputWidth, outputZeroPoint: zeroPoint, clampMinimum: minimum, clampMaximum: maximum)
    guard !output.isOneRow && !kernel.walksRows else {
      return kernel.function(arguments, pixels.lowerBound, pixels.count)
    }
    // Row by row, from where the first would lie if this one followed those before without a border.
    let first = arguments.output
    for row in pixels.lowerBound / outputWidth..<(pixels.upperBound + outputWidth - 1) / outputWidth {
      arguments.output = first + row * (output.rowStride - outputWidth * output.pixelStride)
      let columns = pixels.clamped(to: row * outputWidth..<(row + 1) * outputWidth)
      kernel.function(arguments, columns.lowerBound, columns.count)
    }
  }
}

extension ConstantPool {
  /// Packed 8-bit weights, widened to words.
  fileprivate func widen(_ weights: UnsafeRawPointer, bytes: Int) -> UnsafeRawPointer {
    let words = allocate(bytes: 2 * bytes).assumingMemoryBound(to: Int16.self)
    let source = weights.assumingMemoryBound(to: Int8.self)
    for step in 0..<bytes / 64 { WeightPacking.widen(source + 64 * step, into: words + 64 * step) }
    return UnsafeRawPointer(words)
  }
}

/// The bytes of the input that each step of a kernel reads, counted from an output pixel's first.
private struct StepOffsets {
  var offsets: [Int32] = []

  /// - Requires: the padded image is smaller than 2 GiB.
  init(
    _ geometry: ConvolutionGeometry, _ window: Instruction.Window, planes: Int, elementBytes: Int,
    pixelBytes: Int, rowBytes: Int
  ) {
    offsets.reserveCapacity(geometry.steps * planes)
    let channels = geometry.inputsPerGroup, multiple = geometry.kind.channelMultiple
    let stepsPerTap = (channels + multiple - 1) / multiple
    // Planes lie from the lowest to the highest bit; kernels begin with the highest.
    for plane in stride(from: planes - 1, through: 0, by: -1) {
      for row in 0..<window.kernelHeight {
        for column in 0..<window.kernelWidth {
          let tap = row * window.dilationRows * rowBytes + column * window.dilationColumns * pixelBytes
          let first = tap + 4 * plane * stepsPerTap
          for step in 0..<stepsPerTap {
            offsets.append(Int32(truncatingIfNeeded: first + 4 * elementBytes * step))
          }
        }
      }
    }
    // Steps that only round up have weight zero and read what the last one reads.
    while offsets.count < geometry.steps { offsets.append(offsets[offsets.count - 1]) }
  }
}
