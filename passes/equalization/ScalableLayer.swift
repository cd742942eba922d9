import IR

/// An operation whose constants take up factors of the channels it reads (columns) and of those it computes (rows).
///
///     y = W x + b,  x = x'·c,  y = y'·r   ->   y' = W' x' + b',  W'[o, i] = W[o, i]·c[i] / r[o],  b'[o] = b[o] / r[o]
///
/// Convolutions, products with constant matrices, the scale and bias of a layer normalization (rows alone) and sums with a
/// constant (a bias alone).
struct ScalableLayer {
  let op: OpID
  /// Which operands hold the weights and the bias.
  let weightOperand: Int?
  let biasOperand: Int?
  let weights: [Float]
  let bias: [Float]
  /// Weights come in blocks of `run` elements that share one row and one column.
  let run: Int
  let rowOfBlock: [Int]
  let columnOfBlock: [Int]
  /// The channels of the result, and of the input (0: its channels are not read one by one).
  let rows: Int
  let columns: Int

  /// Nil where an operation is none of these or its constants are not all known.
  init?(_ id: OpID, _ graph: Graph) {
    let node = graph[id]
    func matrix() -> (floats: [Float], sizes: [Int])? {
      guard node.operands.count >= 2, let floats = graph.floats(node.operands[1]),
        let sizes = graph.shape(node.operands[1]).sizes, !floats.isEmpty
      else { return nil }
      return (floats, sizes)
    }
    op = id
    var biasOperand: Int?
    switch node.op {
    case .conv2d(let conv):
      guard let (floats, sizes) = matrix(), sizes.count == 4 else { return nil }
      let inputs = sizes[1], perGroup = sizes[0] / conv.groups
      weights = floats
      run = sizes[2] * sizes[3]
      rows = sizes[0]
      columns = inputs * conv.groups
      rowOfBlock = (0..<sizes[0] * inputs).map { $0 / inputs }
      columnOfBlock = (0..<sizes[0] * inputs).map { $0 / inputs / perGroup * inputs + $0 % inputs }
      biasOperand = node.operands.count > 2 ? 2 : nil
    case .convTranspose2d(let conv):
      guard let (floats, sizes) = matrix(), sizes.count == 4 else { return nil }
      let perGroup = sizes[1], inputsPerGroup = sizes[0] / conv.groups
      weights = floats
      run = sizes[2] * sizes[3]
      rows = perGroup * conv.groups
      columns = sizes[0]
      rowOfBlock = (0..<sizes[0] * perGroup).map { $0 / perGroup / inputsPerGroup * perGroup + $0 % perGroup }
      columnOfBlock = (0..<sizes[0] * perGroup).map { $0 / perGroup }
      biasOperand = node.operands.count > 2 ? 2 : nil
    case .gemm(let gemm):
      guard let (floats, sizes) = matrix(), sizes.count == 2, !gemm.transposeA else { return nil }
      weights = floats
      run = 1
      rows = sizes[gemm.transposeB ? 0 : 1]
      columns = sizes[gemm.transposeB ? 1 : 0]
      let width = sizes[1], isTransposed = gemm.transposeB
      rowOfBlock = floats.indices.map { isTransposed ? $0 / width : $0 % width }
      columnOfBlock = floats.indices.map { isTransposed ? $0 % width : $0 / width }
      biasOperand = node.operands.count > 2 ? 2 : nil
    case .matMul:
      guard let (floats, sizes) = matrix(), sizes.count == 2 else { return nil }
      let width = sizes[1]
      weights = floats
      run = 1
      rows = width
      columns = sizes[0]
      rowOfBlock = floats.indices.map { $0 % width }
      columnOfBlock = floats.indices.map { $0 / width }
    case .layerNorm:
      guard let (floats, sizes) = matrix(), sizes.count == 1 else { return nil }
      weights = floats
      run = 1
      rows = sizes[0]
      columns = 0
      rowOfBlock = Array(floats.indices)
      columnOfBlock = []
      biasOperand = node.operands.count > 2 ? 2 : nil
    case .binary(let binary):
      guard binary.function == .add, let constant = graph.splitConstant(node)?.constant,
        let channels = graph.channelAxisSize(node.results[0])
      else { return nil }
      weights = []
      run = 1
      rows = channels
      columns = 0
      rowOfBlock = []
      columnOfBlock = []
      biasOperand = node.operands.firstIndex(of: constant)
    case .batchNorm, .unary, .select, .maxPool, .averagePool, .globalAveragePool, .reduce, .softmax,
      .identity,
      .reshape, .flatten, .transpose, .squeeze, .unsqueeze, .concat, .split, .slice, .pad, .gather, .expand,
      .resize, .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear,
      .integerConv2d, .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool,
      .lookup:
      return nil
    }
    self.biasOperand = biasOperand
    weightOperand = weights.isEmpty ? nil : 1
    guard let biasOperand else {
      bias = []
      return
    }
    guard let floats = graph.floatsAlongChannels(node.operands[biasOperand], rows) else { return nil }
    bias = floats
  }

  /// The largest magnitude in every block of weights.
  var blockMaxima: [Double] {
    rowOfBlock.indices.map { block in
      weights[block * run..<(block + 1) * run].reduce(0.0) { max($0, Double(abs($1))) }
    }
  }

  /// The weights with input channels multiplied by `columnFactors` and output channels divided by `rowFactors`.
  func scaledWeights(rowFactors: [Double], columnFactors: [Double]) -> [Float] {
    var result = weights
    for block in rowOfBlock.indices {
      let factor =
        (columnOfBlock.isEmpty ? 1 : columnFactors[columnOfBlock[block]]) / rowFactors[rowOfBlock[block]]
      guard factor != 1 else { continue }
      for index in block * run..<(block + 1) * run { result[index] = Float(Double(result[index]) * factor) }
    }
    return result
  }
  func scaledBias(rowFactors: [Double]) -> [Float] {
    zip(bias, rowFactors).map { Float(Double($0) / $1) }
  }
}

extension Graph {
  /// The axis of a value's channels: 1 of images and matrices, the last of sequences; nil for other ranks.
  func channelAxis(_ value: ValueID) -> Int? {
    switch shape(value).rank {
    case 2, 4: 1
    case 3: 2
    default: nil
    }
  }
  func channelAxisSize(_ value: ValueID) -> Int? { channelAxis(value).flatMap { shape(value).size($0) } }

  /// One number for each of `channels` channels of an f32 constant: of a vector along the last axis, or of a column
  /// [C, 1, 1] along axis 1 of images.
  func floatsAlongChannels(_ constant: ValueID, _ channels: Int) -> [Float]? {
    guard let floats = floats(constant), floats.count == channels,
      let sizes = shape(constant).sizes
    else { return nil }
    let isVector = sizes.last == channels
    let isColumn = sizes.count >= 3 && sizes.suffix(3) == [channels, 1, 1]
    return isVector || isColumn ? floats : nil
  }
}
