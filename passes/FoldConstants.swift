import Evaluator
import IR
import PassKit
import Support

/// Replaces what is known at compile time: shape computations vanish, shape operands become attributes.
///
///     %s = shape(%x : [N, 64, 1, 1])
///     %n = gather(%s, 0)
///     %u = unsqueeze(%n){axes = [0]}                       %y = reshape(%x){shape = [N, 64]}
///     %t = concat(%u, [-1])                          ->
///     %y = reshape(%x, %t)
///
///     %p = cast(concat([0, 0, 0, 0], [1, 1, 1, 1]))  ->    %y = pad(%x){pads = [0, 0, 0, 0, 1, 1, 1, 1]}
///     %y = pad(%x, %p)
///
///     constant-of-shape([N, 8, 16, 16]){value = 0}   ->    expand(0 : [1, 1, 1, 1]){shape = [N, 8, 16, 16]}
///
/// The contents of small integer tensors come from the facts of the graph; the symbolic batch `N` stays
/// symbolic. An operation over constants alone is evaluated while its result takes at most 64 MiB, and all
/// together add at most 256 MiB to the network. Exact, but for the rounding of float operations evaluated
/// here instead of in the program. Shape operands and shape computations must go, whatever the budget of
/// optional rewrites: no later stage knows them.
package let foldConstants = Pass(
  "fold-constants", "evaluate what is known at compile time; shape operands become attributes",
  accepts: .imported ... .canonical
) { rewriter, _ in
  var growth = 0
  for op in rewriter.ops where rewriter.isAlive(op) {
    if try foldKnownResult(op, &growth, &rewriter) {
      rewriter.count("shape computations folded")
    } else if try foldReshapedConstant(op, &rewriter) {
      rewriter.count("constants reshaped")
    } else if try foldEvaluated(op, &growth, &rewriter) {
      rewriter.count("operations over constants evaluated")
    } else if try resolveShapeOperands(op, &rewriter) {
      rewriter.count("shape operands to attributes")
    }
  }
}

/// Results beyond this size in bytes stay computations.
private let maximumFoldedSize = 64 << 20
/// So many bytes constants may grow by in all.
private let maximumGrowth = 256 << 20

/// Turns the shape-like operands of `op` into attributes.
private func resolveShapeOperands(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], graph = rewriter.graph
  let result = graph.shape(node.results[0])
  var operands = [node.operands[0]]
  let resolved: Op
  switch node.op {
  case .reshape(var reshape):
    guard node.operands.count > 1 else { return false }
    reshape.shape = result
    reshape.allowZero = result.extents.contains(.known(0))
    resolved = .reshape(reshape)
  case .expand(var expand):
    guard node.operands.count > 1 else { return false }
    expand.shape = result
    resolved = .expand(expand)
  case .slice(let slice):
    guard node.operands.count > 1 else { return false }
    resolved = .slice(try slice.resolved(node.operands.map { graph.operand($0) }))
  case .pad(var pad):
    guard node.operands.count > 1, let pads = graph.operand(node.operands[1]).integers else { return false }
    if node.operands.count > 2 {
      guard
        let value = graph.uniformFloat(node.operands[2])
          ?? graph.constant(node.operands[2])?.integers?.first.map(Float.init)
      else { return false }
      pad.value = value
    }
    pad.pads = pads
    resolved = .pad(pad)
  case .constantOfShape(let fill):
    guard fill.type == .f32 else { return false }
    let ones = Array(repeating: 1, count: result.rank)
    operands = [rewriter.constant(Constant(node.name + ".value", ones, [fill.value]))]
    var expand = Expand()
    expand.shape = result
    resolved = .expand(expand)
  case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select, .maxPool,
    .averagePool, .globalAveragePool, .reduce, .softmax, .identity, .flatten, .transpose, .squeeze,
    .unsqueeze, .concat,
    .split, .gather, .resize, .shapeOf, .cast, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d,
    .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
    return false
  }
  try rewriter.replace(op, with: resolved, operands)
  return true
}

/// The bytes of a static tensor, nil beyond the limit of what is folded.
private func sizeInBytes(_ shape: Shape, _ element: ElementType) -> Int? {
  guard let count = shape.elementCount, count <= maximumFoldedSize / element.sizeInBytes else { return nil }
  return count * element.sizeInBytes
}

/// Replaces an operation whose result is known by a constant: facts, and filled tensors.
private func foldKnownResult(
  _ op: OpID, _ growth: inout Int, _ rewriter: inout Rewriter
) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard node.results.count == 1 else { return false }
  let type = rewriter.graph[node.results[0]].type, name = rewriter.graph[node.results[0]].name
  let constant: Constant?
  if let known = rewriter.graph.operand(node.results[0]).integers, known.count == type.shape.elementCount {
    constant = Constant(name, type, whole: known)
  } else if case .constantOfShape(let fill) = node.op, let size = sizeInBytes(type.shape, type.element),
    growth + size <= maximumGrowth, let sizes = type.shape.sizes, let count = type.shape.elementCount
  {
    growth += size
    constant =
      fill.type == .f32
      ? Constant(name, sizes, [Float](repeating: fill.value, count: count))
      : Int(exactly: fill.value).flatMap { Constant(name, type, whole: Array(repeating: $0, count: count)) }
  } else {
    constant = nil
  }
  guard let constant else { return false }
  replaceByConstants(op, [constant], &rewriter)
  return true
}

/// A constant that only changes shape keeps its bytes.
private func foldReshapedConstant(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard isReshape(node.op), let source = rewriter.graph.constant(node.operands[0]) else { return false }
  let result = rewriter.graph[node.results[0]]
  replaceByConstants(op, [Constant(name: result.name, type: result.type, storage: source.storage)], &rewriter)
  return true
}

private func isReshape(_ op: Op) -> Bool {
  switch op {
  case .identity, .reshape, .flatten, .squeeze, .unsqueeze: true
  case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select, .maxPool,
    .averagePool, .globalAveragePool, .reduce, .softmax, .transpose, .concat, .split, .slice, .pad, .gather,
    .expand,
    .resize, .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d,
    .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
    false
  }
}

/// Evaluates an operation whose operands are all constants. Quantization stays: it says how a constant is
/// stored.
private func foldEvaluated(
  _ op: OpID, _ growth: inout Int, _ rewriter: inout Rewriter
) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], operands = node.operands.compactMap { rewriter.graph.constant($0) }
  let results = node.results.map { rewriter.graph[$0] }
  let sizes = results.compactMap { sizeInBytes($0.type.shape, $0.type.element) }
  let added = max(sizes.reduce(0, +) - operands.reduce(0) { $0 + $1.storage.bytes.count }, 0)
  guard operands.count == node.operands.count, !operands.isEmpty, !isQuantization(node.op),
    sizes.count == results.count, growth + added <= maximumGrowth, rewriter.takeStep()
  else { return false }
  var alone = Graph(name: node.name)
  let id = try alone.append(node.op, operands.map { alone.addConstant($0) }, name: node.name)
  for result in alone[id].results { alone.addOutput(result) }
  // What the evaluator cannot do stays in the graph, where a later pass or the verifier names it.
  guard let tensors = try? Evaluator(alone, mode: .float, threads: 1).run([]), tensors.count == results.count
  else {
    return false
  }
  let constants = zip(results, tensors).map { result, tensor in
    Constant(name: result.name, type: result.type, storage: TensorStorage(copying: tensor.bytes))
  }
  growth += added
  replaceByConstants(op, constants, &rewriter)
  return true
}

private func isQuantization(_ op: Op) -> Bool {
  if case .quantize = op { return true }
  if case .quantizeLinear = op { return true }
  if case .dequantizeLinear = op { return true }
  return false
}

/// Puts constants in the place of the results of `op`, under their names.
private func replaceByConstants(_ op: OpID, _ constants: [Constant], _ rewriter: inout Rewriter) {
  let values = constants.map { rewriter.constant($0) }
  rewriter.replaceResults(of: op, with: values)
  for (value, constant) in zip(values, constants) { rewriter.rename(value, constant.name) }
}

extension Constant {
  /// Whole numbers as elements of `type`; nil when one does not fit.
  fileprivate init?(_ name: String, _ type: TensorType, whole: [Int]) {
    func storage<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> TensorStorage? {
      let narrow = whole.compactMap { T(exactly: $0) }
      return narrow.count == whole.count ? TensorStorage(copying: narrow) : nil
    }
    let bytes: TensorStorage? =
      switch type.element {
      case .f32: TensorStorage(copying: whole.map { Float($0) })
      case .i64: storage(Int64.self)
      case .i32: storage(Int32.self)
      case .u8, .bool: storage(UInt8.self)
      case .i8: storage(Int8.self)
      case .quantized: nil
      }
    guard let bytes else { return nil }
    self.init(name: name, type: type, storage: bytes)
  }
}
