import Program

/// Executes a program by the formulas of its instructions, one number at a time, on tensors in logical order.
struct ReferenceMachine {
  let program: Program
  /// Stored integers or reals of every tensor that exists so far, row-major over its shape.
  private(set) var values: [Int: [Double]] = [:]

  init(_ program: Program, inputs: [[Float]]) {
    self.program = program
    for (number, tensor) in program.inputs.enumerated() { values[tensor] = inputs[number].map(Double.init) }
    for instruction in program.instructions { execute(instruction.operation) }
  }

  /// As the interpreter shows tensors.
  func bytes(_ tensor: Int) -> [UInt8] {
    let values = values[tensor] ?? []
    if program.tensors[tensor].element == .u8 { return values.map { UInt8($0) } }
    return values.flatMap { value in withUnsafeBytes(of: Float(value).bitPattern.littleEndian) { Array($0) } }
  }

  private mutating func execute(_ operation: Instruction.Operation) {
    switch operation {
    case .quantize(let o): values[o.output] = quantize(o)
    case .dequantize(let o):
      let x = program.tensors[o.input]
      values[o.output] = self[o.input].map { Double(x.scale * Float($0 - Double(x.zeroPoint))) }
    case .convolution(let o): values[o.output] = convolution(o)
    case .floatProduct(let o): values[o.output] = floatProduct(o)
    case .add(let o):
      let za = zeroPoint(o.a), zb = zeroPoint(o.b)
      values[o.output] = zip(self[o.a], self[o.b]).map { a, b in
        let sum = (Int(a) - za) * Int(o.multiplierA) + (Int(b) - zb) * Int(o.multiplierB)
        return clamped(
          floorDivided(sum + (1 << (Int(o.shift) - 1)), 1 << Int(o.shift)) + zeroPoint(o.output), o.clamp)
      }
    case .multiply(let o):
      let a = self[o.a], b = self[o.b], za = zeroPoint(o.a), zb = zeroPoint(o.b)
      let perChannel = a.count / b.count
      values[o.output] = a.indices.map { index in
        let product = (Int(a[index]) - za) * (Int(b[index / perChannel]) - zb)
        return requantized(product, Int(o.multiplier), Int(o.shift), o.output, o.clamp)
      }
    case .averagePool(let o): values[o.output] = averagePool(o)
    case .maxPool(let o):
      values[o.output] = pooled(o.input, o.output, o.window) { Double($0.max() ?? 0) }
    case .lookup(let o):
      let table = program.data[o.table]
      values[o.output] = self[o.input].map { Double(table[Int($0)]) }
    case .copy(let o): copy(o)
    case .softmax(let o): values[o.output] = softmax(o)
    }
  }

  private subscript(tensor: Int) -> [Double] { values[tensor] ?? [] }
  private func zeroPoint(_ tensor: Int) -> Int { Int(program.tensors[tensor].zeroPoint) }
  private func clamped(_ value: Int, _ clamp: Instruction.Clamp) -> Double {
    Double(min(max(value, Int(clamp.minimum)), Int(clamp.maximum)))
  }
  private func floorDivided(_ a: Int, _ b: Int) -> Int { a / b - (a % b < 0 ? 1 : 0) }
  private func requantized(
    _ sum: Int, _ multiplier: Int, _ shift: Int, _ output: Int, _ clamp: Instruction.Clamp
  ) -> Double {
    let wrapped = Int(Int32(truncatingIfNeeded: sum))
    let scaled = floorDivided(wrapped * multiplier + (1 << (shift - 1)), 1 << shift)
    return clamped(scaled + zeroPoint(output), clamp)
  }

  private func quantize(_ o: Instruction.Quantize) -> [Double] {
    let y = program.tensors[o.output], x = self[o.input]
    let maximum = Float(1 << Int(y.bits)) - 1
    return (0..<y.elementCount).map { index in
      let channel = index / y.pixels, pixel = index % y.pixels
      let value = Float(o.inputIsChannelsLast ? x[pixel * y.channels + channel] : x[index]) / y.scale
      if value.isNaN { return Double(y.zeroPoint) }
      return Double(min(max(value.rounded(.toNearestOrEven) + Float(y.zeroPoint), 0), maximum))
    }
  }

  private func convolution(_ o: Instruction.Convolution) -> [Double] {
    let x = program.tensors[o.input], y = program.tensors[o.output], w = o.window, input = self[o.input]
    let weights = ConvolutionGeometry(o, input: x, output: y).unpacked(Array(program.data[o.weights]))
    let inputs = x.channels / o.groups, outputs = y.channels / o.groups
    let mask = o.kind.isBitSerial ? 1 << Int(x.bits) - 1 : 255
    var result: [Double] = []
    for channel in 0..<y.channels {
      for row in 0..<y.height {
        for column in 0..<y.width {
          var sum = Int(program.data.int32(o.bias, channel))
          for c in 0..<inputs {
            for tap in 0..<w.taps {
              let i = row * w.strideRows - w.padTop + tap / w.kernelWidth * w.dilationRows
              let j = column * w.strideColumns - w.padLeft + tap % w.kernelWidth * w.dilationColumns
              let isInside = i >= 0 && i < x.height && j >= 0 && j < x.width
              let source = ((channel / outputs * inputs + c) * x.height + i) * x.width + j
              let value = isInside ? Int(input[source]) & mask : Int(x.zeroPoint)
              sum += value * Int(weights[(channel * inputs + c) * w.taps + tap])
            }
          }
          let shift = Int(program.data.bytes[o.shift.offset + channel])
          result.append(
            requantized(sum, Int(program.data.int32(o.multiplier, channel)), shift, o.output, o.clamp))
        }
      }
    }
    return result
  }

  private func floatProduct(_ o: Instruction.FloatProduct) -> [Double] {
    let x = self[o.input], outputs = program.tensors[o.output].elementCount
    let geometry = ConvolutionGeometry(o.kind, productOf: program.tensors[o.input], outputs: outputs)
    let weights = geometry.unpacked(Array(program.data[o.weights]))
    return (0..<outputs).map { output in
      var sum = Int(program.data.int32(o.bias, output))
      for k in x.indices { sum += Int(x[k]) * Int(weights[output * x.count + k]) }
      return Double(program.data.float(o.scale, output) * Float(Int32(truncatingIfNeeded: sum)))
    }
  }

  /// What `combine` makes of the stored numbers that every window covers.
  private func pooled(
    _ inputTensor: Int, _ outputTensor: Int, _ w: Instruction.Window, _ combine: ([Int]) -> Double
  ) -> [Double] {
    let x = program.tensors[inputTensor], y = program.tensors[outputTensor], input = self[inputTensor]
    var result: [Double] = []
    for channel in 0..<y.channels {
      for row in 0..<y.height {
        for column in 0..<y.width {
          var covered: [Int] = []
          for tap in 0..<w.taps {
            let i = row * w.strideRows - w.padTop + tap / w.kernelWidth * w.dilationRows
            let j = column * w.strideColumns - w.padLeft + tap % w.kernelWidth * w.dilationColumns
            if i >= 0 && i < x.height && j >= 0 && j < x.width {
              covered.append(Int(input[(channel * x.height + i) * x.width + j]))
            }
          }
          result.append(combine(covered))
        }
      }
    }
    return result
  }

  private func averagePool(_ o: Instruction.AveragePool) -> [Double] {
    let z = zeroPoint(o.input), data = program.data
    return pooled(o.input, o.output, o.window) { covered in
      let count = o.countsPads ? o.window.taps : covered.count
      guard count > 0 else { return clamped(zeroPoint(o.output), o.clamp) }
      let entry = o.shift.count == 1 ? 0 : count - 1
      return requantized(
        covered.reduce(0) { $0 + $1 - z }, Int(data.int32(o.multiplier, entry)),
        Int(data.bytes[o.shift.offset + entry]), o.output, o.clamp)
    }
  }

  private mutating func copy(_ o: Instruction.Copy) {
    let source = storagePlaces(program.tensors[o.input]), target = storagePlaces(program.tensors[o.output])
    var moved: [Int: Double] = [:]
    for (index, place) in source.enumerated() { moved[place] = self[o.input][index] }
    var result = values[o.output] ?? [Double](repeating: 0, count: target.count)
    if let fill = o.fill { result = [Double](repeating: Double(fill), count: target.count) }
    let logical = Dictionary(uniqueKeysWithValues: target.enumerated().map { ($0.element, $0.offset) })
    func walk(_ depth: Int, _ from: Int, _ to: Int) {
      guard depth < o.dimensions.count else {
        if let index = logical[to], let value = moved[from] { result[index] = value }
        return
      }
      let loop = o.dimensions[depth]
      for i in 0..<loop.extent { walk(depth + 1, from + i * loop.inputStride, to + i * loop.outputStride) }
    }
    walk(0, o.inputOffset, o.outputOffset)
    values[o.output] = result
  }

  /// The element of the storage that holds each logical element.
  private func storagePlaces(_ tensor: Program.Tensor) -> [Int] {
    (0..<tensor.elementCount).map { index in
      guard tensor.layout == .channelsLast4 else { return index }
      let pixel = index % tensor.pixels
      return tensor.imageOffset + pixel / tensor.width * tensor.rowStride
        + pixel % tensor.width * tensor.pixelStride + index / tensor.pixels
    }
  }

  private func softmax(_ o: Instruction.Softmax) -> [Double] {
    let x = self[o.input]
    var result = x
    for outer in 0..<o.outer {
      for inner in 0..<o.inner {
        let places = (0..<o.extent).map { (outer * o.extent + $0) * o.inner + inner }
        let largest = places.map { x[$0] }.max() ?? 0
        let powers = places.map { exponential(x[$0] - largest) }, sum = powers.reduce(0, +)
        for (place, power) in zip(places, powers) { result[place] = power / sum }
      }
    }
    return result
  }
}

/// e to the power of x by squaring a long series; exact to double precision near 0, far beyond f32 elsewhere.
private func exponential(_ x: Double) -> Double {
  var term = 1.0, sum = 1.0
  for k in 1..<20 {
    term *= x / 1024 / Double(k)
    sum += term
  }
  return (0..<10).reduce(sum) { power, _ in power * power }
}
