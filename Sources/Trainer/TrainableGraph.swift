import Evaluator
import IR
import Numerics
import Support
import Training

/// A graph and what training moves in it.
package struct TrainableGraph: Sendable {
  package private(set) var graph: Graph
  package internal(set) var parameters: [Parameter] = []
  /// Means and variances of batch normalizations by their operands: exponential averages over training batches.
  package internal(set) var running: [ValueID: [Float]] = [:]
  /// The batch normalizations, in order.
  package let normalizations: [OpID]

  /// Finds weights, biases, normalizations and, where quantizers have parameters, these for every form.
  package init(_ graph: Graph, _ settings: Optimizer.Settings) {
    self.graph = graph
    normalizations = graph.order.filter { if case .batchNorm = graph[$0].op { true } else { false } }
    var seen = Set<ValueID>()
    for id in graph.order {
      let node = graph[id]
      func add(_ kind: Parameter.Kind, _ operand: Int, quantizer: OpID? = nil) {
        guard operand < node.operands.count, let constant = graph.constant(node.operands[operand]),
          seen.insert(node.operands[operand]).inserted
        else { return }
        parameters.append(Parameter(kind, node.operands[operand], constant, quantizer: quantizer, settings))
      }
      switch node.op {
      case .conv2d, .convTranspose2d, .gemm:
        add(.weights, 1)
        add(.shift, 2)
      case .matMul:
        add(.weights, 0)
        add(.weights, 1)
      case .batchNorm:
        add(.gain, 1)
        add(.shift, 2)
        for operand in [3, 4] {
          running[node.operands[operand]] = graph.constant(node.operands[operand])?.floats
        }
      case .layerNorm:
        add(.shift, 1)
        add(.shift, 2)
      case .gather where graph[node.operands[0]].type.element == .f32: add(.weights, 0)
      case .quantize(let quantizer):
        if quantizer.role == .weight { add(.weights, 0) }
        guard quantizer.isCalibrated(operandCount: node.operands.count) else { continue }
        for (index, form) in quantizer.forms.all.enumerated() {
          add(.scale(form: index), 1 + 2 * index, quantizer: id)
          guard form.symmetry == .asymmetric else { continue }
          add(
            .zeroPoint(form: index, range: form.storedRange(quantizer.role.numerics)), 2 + 2 * index,
            quantizer: id)
        }
      default: continue
      }
    }
  }

  package var values: [ValueID: Tensor] {
    Dictionary(uniqueKeysWithValues: parameters.map { ($0.value, $0.tensor) })
  }
  package var runningValues: [ValueID: Tensor] { running.mapValues { Tensor([$0.count], $0) } }
  package var weightCount: Int {
    parameters.reduce(0) { $0 + ($1.quantizer == nil ? $1.position.count : 0) }
  }

  mutating func average(_ statistics: [GradientPlan.BatchStatistics], momentum: Float) {
    for part in statistics {
      let operands = graph[part.operation].operands
      for (operand, measured) in [(operands[3], part.means), (operands[4], part.variances)] {
        guard var values = running[operand] else { continue }
        for index in values.indices { values[index] += momentum * (measured[index] - values[index]) }
        running[operand] = values
      }
    }
  }

  /// The graph with what was learned in place of its constants.
  package func learned() -> Graph {
    var result = graph
    var constants: [ValueID: Constant] = [:]
    for parameter in parameters { constants[parameter.value] = parameter.constant }
    for (value, floats) in running { constants[value] = Constant(graph[value].name, [floats.count], floats) }
    for value in constants.keys.sorted() {
      guard let constant = constants[value] else { continue }
      let uses = result.uses(of: value), name = graph[value].name
      let new = result.addConstant(constant)
      for use in uses { result.setOperand(use.user, use.operand, to: new) }
      result.rename(new, name)
    }
    return result
  }
}

extension Graph {
  /// What answers are made of: the output, or what its softmax reads; [N, classes].
  package func logits() throws(CompilerError) -> ValueID {
    guard let output = outputs.first, outputs.count == 1, inputs.count == 1, self[output].type.shape.rank == 2
    else {
      throw CompilerError(
        "training needs a network with one input and one output of [N, classes]; this one has \(inputs.count) inputs and \(outputs.count) outputs",
        status: .rejected)
    }
    if let id = definingOp(of: output), case .softmax = self[id].op { return self[id].operands[0] }
    return output
  }
}
