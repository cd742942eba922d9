import Support

/// Affine layers with ReLU between them and one output.
struct MultilayerPerceptron: Hashable, Sendable {
  /// Of every layer, a row for each of its inputs and a last one of biases.
  var layers: [Matrix]

  /// Uniform weights of He's variance (arXiv 1502.01852), biases 0.
  init(inputs: Int, hidden: [Int], random: inout SeededRandom) {
    layers = zip([inputs] + hidden, hidden + [1]).map { inputs, outputs in
      let bound = (6 / Double(max(inputs, 1))).squareRoot()
      let weights = (0..<inputs * outputs).map { _ in (2 * random.unit() - 1) * bound }
      return Matrix(
        rows: inputs + 1, columns: outputs, values: weights + Array(repeating: 0, count: outputs))
    }
  }
  /// - Requires: as many parameters as these sizes take.
  init(inputs: Int, hidden: [Int], parameters: [Double]) {
    var rest = parameters[...]
    layers = zip([inputs] + hidden, hidden + [1]).map { inputs, outputs in
      let count = (inputs + 1) * outputs
      defer { rest = rest.dropFirst(count) }
      return Matrix(rows: inputs + 1, columns: outputs, values: Array(rest.prefix(count)))
    }
  }
  static func parameterCount(inputs: Int, hidden: [Int]) -> Int {
    zip([inputs] + hidden, hidden + [1]).reduce(0) { $0 + ($1.0 + 1) * $1.1 }
  }
  var inputs: Int { layers[0].rows - 1 }
  var hidden: [Int] { layers.dropLast().map(\.columns) }
  var parameters: [Double] { layers.flatMap(\.values) }

  /// The output for every row.
  func predict(_ inputs: Matrix) -> [Double] { forward(inputs).outputs }

  /// The mean smooth L1 loss (Girshick 2015), x² / 2 of errors below 1 and |x| - 1/2 of others, and its derivatives.
  func lossAndGradients(_ inputs: Matrix, _ targets: [Double]) -> (loss: Double, gradients: [Matrix]) {
    let (layerInputs, outputs) = forward(inputs)
    let errors = zip(outputs, targets).map { $0 - $1 }, count = Double(errors.count)
    let loss = errors.reduce(0) { $0 + (abs($1) < 1 ? $1 * $1 / 2 : abs($1) - 0.5) } / count
    var gradient = Matrix(
      rows: errors.count, columns: 1, values: errors.map { min(max($0, -1), 1) / count })
    var gradients: [Matrix] = []
    for (layer, input) in zip(layers, layerInputs).reversed() {
      gradients.append(input.transposed * gradient)
      guard gradients.count < layers.count else { break }
      // Without the ones that biases multiply; what ReLU cut off does not matter.
      let whole = gradient * layer.transposed
      var next = Matrix(rows: input.rows, columns: input.columns - 1)
      for row in 0..<next.rows {
        for column in 0..<next.columns where input[row, column] > 0 {
          next.values[row * next.columns + column] = whole[row, column]
        }
      }
      gradient = next
    }
    return (loss, gradients.reversed())
  }

  /// What every layer is given, with the ones for its biases, and the outputs.
  private func forward(_ inputs: Matrix) -> (layerInputs: [Matrix], outputs: [Double]) {
    var layerInputs = [inputs.augmented]
    for layer in layers.dropLast() {
      var hidden = layerInputs[layerInputs.count - 1] * layer
      for index in hidden.values.indices where hidden.values[index] < 0 { hidden.values[index] = 0 }
      layerInputs.append(hidden.augmented)
    }
    return (layerInputs, (layerInputs[layerInputs.count - 1] * layers[layers.count - 1]).values)
  }
}
