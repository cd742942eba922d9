#if !hasFeature(Embedded)
  /// Collects the parts of a program; the compiler's last pass uses nothing else.
  ///
  ///     var builder = ProgramBuilder()
  ///     let x = builder.addTensor(.real("image", shape: [3, 32, 32], storage: .input(0)))
  ///     let q = builder.addTensor(
  ///       .activation("image.q", shape: [3, 32, 32], arenaOffset: 0, scale: s, zeroPoint: z))
  ///     builder.append("quantize", .quantize(.init(input: x, output: q)))
  ///     …
  ///     let program = try builder.finish(arenaBytes: plan.bytes)
  package struct ProgramBuilder {
    package private(set) var tensors: [Program.Tensor] = []
    package private(set) var instructions: [Instruction] = []
    private var data: [UInt8] = []
    package var metadata = Metadata()
    package var goldenVectors: [Program.GoldenVector] = []
    package var report = ""

    package init() {}

    package mutating func addTensor(_ tensor: Program.Tensor) -> Int {
      tensors.append(tensor)
      return tensors.count - 1
    }
    package mutating func append(_ name: String, _ operation: Instruction.Operation) {
      instructions.append(Instruction(name: Name(name), operation))
    }

    /// - Requires: `alignment` is a multiple of 4 and divides 64.
    package mutating func addData(_ bytes: [UInt8], alignment: Int = 4) -> DataSlice {
      data += [UInt8](repeating: 0, count: roundedUp(data.count, to: alignment) - data.count)
      data += bytes
      return DataSlice(offset: data.count - bytes.count, count: bytes.count)
    }
    package mutating func addData(_ numbers: [Int32]) -> DataSlice {
      addData(numbers.flatMap { number in withUnsafeBytes(of: number.littleEndian) { Array($0) } })
    }
    /// Shifts take a byte each.
    /// - Requires: all in 0 ... 255.
    package mutating func addShifts(_ shifts: [Int32]) -> DataSlice { addData(shifts.map { UInt8($0) }) }

    /// A convolution with weights of up to 8 bits as [O, C / groups, kh, kw]; a matrix product is one with a 1
    /// x 1 window over features. Packs the weights, as `kind` or as the width and the groups suggest.
    /// - Requires: weights, bias, multiplier and shift fit the tensors and `groups`; input and output are in
    ///   the kernels' layout.
    package mutating func appendConvolution(
      _ name: String, input: Int, output: Int, window: Instruction.Window, groups: Int = 1, weightBits: Int,
      kind: Instruction.Convolution.Kind? = nil,
      weights: [Int8], bias: [Int32], multiplier: [Int32], shift: [Int32], clamp: Instruction.Clamp
    ) {
      let inputChannels = tensors[input].channels, outputChannels = tensors[output].channels
      let isDepthwise = groups > 1 && groups == inputChannels && groups == outputChannels
      let dense: Instruction.Convolution.Kind =
        weightBits <= 2 ? .dense2 : weightBits <= 4 ? .dense4 : .dense8
      let kind = kind ?? (isDepthwise ? .depthwise : dense)
      let geometry = ConvolutionGeometry(
        kind: kind, inputChannels: inputChannels, outputChannels: outputChannels,
        kernelHeight: window.kernelHeight,
        kernelWidth: window.kernelWidth, groups: groups)
      let convolution = Instruction.Convolution(
        input: input, output: output, kind: kind, window: window, groups: groups,
        weights: addData(geometry.packed(weights), alignment: 64), bias: addData(bias),
        multiplier: addData(multiplier), shift: addShifts(shift), clamp: clamp)
      append(name, .convolution(convolution))
    }

    /// A matrix product with results in f32; weights of 8 or 4 bits as [O, K].
    /// - Requires: weights, bias and scale fit the tensors; the input is one pixel in the kernels' layout.
    package mutating func appendFloatProduct(
      _ name: String, input: Int, output: Int, weightBits: Int, weights: [Int8], bias: [Int32], scale: [Float]
    ) {
      let kind: Instruction.Convolution.Kind = weightBits <= 4 ? .dense4 : .dense8
      let geometry = ConvolutionGeometry(
        kind, productOf: tensors[input], outputs: tensors[output].elementCount)
      let product = Instruction.FloatProduct(
        input: input, output: output, kind: kind, weights: addData(geometry.packed(weights), alignment: 64),
        bias: addData(bias), scale: addData(scale.map { Int32(bitPattern: $0.bitPattern) }))
      append(name, .floatProduct(product))
    }

    /// An average pooling whose tables have an entry for every count of positions from 1 to the whole window.
    /// Where no window leaves the image only the last entry is kept.
    /// - Requires: as many entries as the window has taps.
    package mutating func appendAveragePool(
      _ name: String, input: Int, output: Int, window: Instruction.Window, countsPads: Bool,
      multiplier: [Int32],
      shift: [Int32], clamp: Instruction.Clamp
    ) {
      let x = tensors[input], y = tensors[output]
      let staysInside =
        !window.isPadded && (y.height - 1) * window.strideRows + window.spanRows <= x.height
        && (y.width - 1) * window.strideColumns + window.spanColumns <= x.width
      let isWhole = countsPads || staysInside
      let pool = Instruction.AveragePool(
        input: input, output: output, window: window, countsPads: countsPads,
        multiplier: addData(isWhole ? multiplier.suffix(1) : multiplier),
        shift: addShifts(isWhole ? shift.suffix(1) : shift), clamp: clamp)
      append(name, .averagePool(pool))
    }

    private mutating func addData(_ numbers: ArraySlice<Int32>) -> DataSlice { addData(Array(numbers)) }
    private mutating func addShifts(_ shifts: ArraySlice<Int32>) -> DataSlice { addShifts(Array(shifts)) }

    /// The program, proven safe to run.
    /// - Throws: what `Program.validate` finds: a defect of the compiler.
    package func finish(arenaBytes: Int) throws(ProgramError) -> Program {
      let program = Program(
        tensors: tensors, instructions: instructions, arenaBytes: arenaBytes,
        data: data.withUnsafeBytes { DataStorage(copying: $0) }, metadata: metadata.json,
        goldenVectors: goldenVectors, report: Array(report.utf8))
      try program.validate()
      return program
    }
  }
#endif
