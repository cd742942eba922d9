import Evaluator
import IR
import Numerics
import Support
import Testing

@testable import Training

@Suite("Quantizers: forward as the evaluator, backward as LSQ defines it")
struct QuantizerGradientTests {
  struct Case: Sendable {
    var width: BitWidth
    var granularity: Granularity
    var symmetry: Symmetry
    var role: Quantize.Role
    var axis = 0
  }
  static let cases = [
    Case(width: .bits(4), granularity: .tensor, symmetry: .asymmetric, role: .activation),
    Case(width: .bits(8), granularity: .tensor, symmetry: .symmetric, role: .activation),
    Case(width: .bits(3), granularity: .channel, symmetry: .symmetric, role: .weight),
    Case(width: .bits(2), granularity: .channel, symmetry: .asymmetric, role: .weight, axis: 1),
    Case(width: .bits(4), granularity: .group(size: 5), symmetry: .symmetric, role: .weight),
    Case(width: .bits(4), granularity: .group(size: 7), symmetry: .asymmetric, role: .weight, axis: 1),
    Case(width: .bits(1), granularity: .channel, symmetry: .symmetric, role: .weight),
    Case(width: .ternary, granularity: .channel, symmetry: .symmetric, role: .weight),
  ]

  private struct Setup {
    var graph: Graph
    var x: Tensor
    var scales: [Float]
    var zeroPoints: [Int32]
    /// By element: which parameters it takes.
    var parameter: [Int]
  }
  private func setup(_ test: Case) throws -> Setup {
    var random = SeededRandom(seed: 30), op = Quantize()
    let shape = [3, 4, 2, 3]
    op.forms = FormSet([QuantizationForm(test.width, test.granularity, test.symmetry)])
    (op.role, op.axis) = (test.role, test.axis)
    let channels = shape[test.axis], length = shape.reduce(1, *) / channels
    var groups = 1, size = length
    if case .group(let elements) = test.granularity {
      (groups, size) = ((length + elements - 1) / elements, elements)
    }
    let count = test.granularity == .tensor ? 1 : channels * groups
    let parameter = (0..<shape.reduce(1, *)).map { element in
      guard test.granularity != .tensor else { return 0 }
      let (a, rest) = element.quotientAndRemainder(dividingBy: 24)
      let (b, inner) = rest.quotientAndRemainder(dividingBy: 6)
      let place = test.axis == 0 ? rest : a * 6 + inner
      return (test.axis == 0 ? a : b) * groups + place / size
    }
    let range = op.storedRange
    let scales = random.floats(count, 0.2...0.5)
    let zeroPoints = (0..<count).map { _ in
      test.symmetry == .symmetric ? 0 : Int32(random.below(3)) + range.lowerBound
    }
    let x = random.tensor(shape, -4...4)
    let graph = try singleOperation(
      .quantize(op), [x, Tensor([count], scales), Tensor([count], zeroPoints)])
    return Setup(graph: graph, x: x, scales: scales, zeroPoints: zeroPoints, parameter: parameter)
  }

  @Test(arguments: cases)
  func slopes(_ test: Case) throws {
    let setup = try setup(test), graph = setup.graph
    let wanted = graph.inputs + graph.usedConstants
    let plan = try GradientPlan(graph, gradientsOf: wanted, threads: 1)
    let y = try plan.outputs([setup.x])
    #expect(y[0].bytes == (try Evaluator(graph, threads: 1).run([setup.x]))[0].bytes)
    let weights = projection(y, seed: 31), g = weights[0].floats
    let run = try plan.run([setup.x]) { GradientPlan.ShardLoss(weightedSum($0.outputs, weights), weights) }
    let form = QuantizationForm(test.width, test.granularity, test.symmetry)
    let range = form.storedRange(test.role.numerics), isBinary = test.width == .bits(1)
    var dx: [Float] = [], steps = [Double](repeating: 0, count: setup.scales.count), zeros = steps
    for (i, value) in setup.x.floats.enumerated() {
      let p = setup.parameter[i], s = setup.scales[p], z = Float(setup.zeroPoints[p])
      let v = value / s + z
      if isBinary {
        dx.append(abs(value) <= s ? g[i] : 0)
        steps[p] += Double(value >= 0 ? g[i] : -g[i])
      } else if v < Float(range.lowerBound) || v > Float(range.upperBound) {
        let level = v < Float(range.lowerBound) ? Float(range.lowerBound) : Float(range.upperBound)
        dx.append(0)
        steps[p] += Double(g[i] * (level - z))
        zeros[p] -= Double(g[i] * s)
      } else {
        dx.append(g[i])
        steps[p] += Double(g[i] * ((value / s).rounded(.toNearestOrEven) - value / s))
      }
    }
    #expect(run.gradients[0].floats == dx)
    #expect(relativeError(run.gradients[1].floats, steps.map { Float($0) }) < 1e-4)
    #expect(relativeError(run.gradients[2].floats, zeros.map { Float($0) }) < 1e-4)
  }

  /// The step's gradient is what differences of a rounding with slope 1 would give: x' - x taken as a constant times s.
  @Test func floatModePasses() throws {
    let setup = try setup(Self.cases[0])
    let plan = try GradientPlan(setup.graph, gradientsOf: setup.graph.inputs, mode: .float, threads: 1)
    let weights = projection([setup.x], seed: 32)
    let run = try plan.run([setup.x]) { GradientPlan.ShardLoss(weightedSum($0.outputs, weights), weights) }
    #expect(run.gradients[0].floats == weights[0].floats)
    #expect(run.loss == weightedSum([setup.x], weights))
  }

  /// A run may give quantizers another of their forms: as a graph in which that form is the current one.
  @Test func formsOfARun() throws {
    var random = SeededRandom(seed: 34), op = Quantize()
    (op.role, op.axis) = (.weight, 0)
    let forms = [8, 4, 2].map { QuantizationForm(.bits($0), .channel, .symmetric) }
    var operands = [random.tensor([3, 4, 2, 2])]
    for _ in forms {
      operands += [random.tensor([3], 0.1...0.4), Tensor([3], [Int32](repeating: 0, count: 3))]
    }
    func results(current: Int, chosen: Int?) throws -> [[UInt8]] {
      op.forms = FormSet(forms, current: current)
      let graph = try singleOperation(.quantize(op), operands)
      let plan = try GradientPlan(graph, gradientsOf: graph.inputs + graph.usedConstants, threads: 1)
      let id = graph.order[0], choice = chosen.map { [id: $0] } ?? [:]
      let y = try plan.outputs([operands[0]], forms: choice)
      let run = try plan.run([operands[0]], forms: choice) { GradientPlan.ShardLoss(0, [$0.outputs[0]]) }
      #expect(throws: CompilerError.self) { try plan.outputs([operands[0]], forms: [id: 3]) }
      return [y[0].bytes] + run.gradients.map(\.bytes)
    }
    for index in forms.indices {
      #expect(try results(current: 0, chosen: index) == results(current: index, chosen: nil))
    }
    #expect(try results(current: 0, chosen: 2) != results(current: 0, chosen: nil))
  }

  @Test func droppedElementsPass() throws {
    var random = SeededRandom(seed: 33), op = Quantize(), graph = Graph()
    op.forms = FormSet([QuantizationForm(.bits(2), .tensor, .asymmetric)])
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(8), .known(5), .known(5)]), .f32))
    let scale = graph.addConstant(Constant("scale", [1], [Float(0.4)]))
    let zero = graph.addConstant(Constant("zero", [1], [Int32(1)]))
    // Behind a pooling, activations have their channels last.
    let pooled = try graph.result(.maxPool(MaxPool()), [x], "pooled")
    graph.addOutput(try graph.result(.quantize(op), [x, scale, zero]))
    graph.addOutput(try graph.result(.quantize(op), [pooled, scale, zero]))
    let input = random.tensor([9, 8, 5, 5]), values = input.floats
    let rounded = try Evaluator(graph, threads: 1).run([input])[0].floats
    var seen: [[[UInt8]]] = []
    for (shard, threads) in [(2, 1), (2, 2), (4, 1), (9, 1)] {
      let plan = try GradientPlan(graph, gradientsOf: [x], shardSize: shard, threads: threads)
      let dropping = GradientPlan.Dropping(seed: 7, probability: 0.25)
      let y = try plan.outputs([input], dropping: dropping)
      for output in y {
        let isKept = output.floats.indices.map { output.floats[$0] == values[$0] }
        #expect(zip(output.floats, zip(values, rounded)).allSatisfy { $0 == $1.0 || $0 == $1.1 })
        let share = Double(isKept.count { $0 }) / Double(isKept.count)
        #expect(share > 0.2 && share < 0.3)
      }
      let run = try plan.run([input], dropping: dropping) { shard in
        let ones = shard.outputs.map { Tensor($0.shape, [Float](repeating: 1, count: $0.count)) }
        return GradientPlan.ShardLoss(0, [ones[0], nil])
      }
      let slopes = run.gradients[0].floats, kept = y[0].floats
      #expect(
        slopes.indices.allSatisfy { i in
          let isInside = values[i] / 0.4 >= -1 && values[i] / 0.4 <= 2
          return slopes[i] == (kept[i] == values[i] || isInside ? 1 : 0)
        })
      seen.append(y.map(\.bytes) + [run.gradients[0].bytes])
    }
    // Not a matter of shards or threads; of the seed and the operation.
    #expect(seen.allSatisfy { $0 == seen[0] })
    #expect(seen[0][0] != seen[0][1])
    let plan = try GradientPlan(graph, gradientsOf: [x])
    #expect(try plan.outputs([input], dropping: .init(seed: 8))[0].bytes != seen[0][0])
    #expect(try plan.outputs([input])[0].floats == rounded)
  }
}
