import Evaluator
import IR
import PassKit
import Training

/// What units read, sample by sample, in the float network and behind the units that are trained already. All samples
/// are kept at the last place where they fit into memory: from there the first few are computed again for a unit with
/// activations so large that no more fit; it has many positions to learn from in each.
struct UnitSamples {
  private let teacher: Graph
  private let graph: Graph
  private let threads: Int
  /// MiB of activations, at most.
  private let memory: Int
  /// Where all samples are kept.
  private var place: ValueID
  private var float: SampleBank
  private var seen: SampleBank
  /// Trained since then.
  private var learned: [Trainable] = []

  init(_ inputs: SampleBank, at input: ValueID, teacher: Graph, graph: Graph, memory: Int, threads: Int) {
    (self.teacher, self.graph, self.memory, self.threads) = (teacher, graph, memory, threads)
    place = input
    float = inputs
    seen = inputs
  }

  /// So many samples of values this large fit three times: what a unit reads in either network, and its targets.
  static func fitting(_ values: [ValueID], _ graph: Graph, memory: Int) -> Int {
    let largest = values.map { graph[$0].type.shape.bound(batch: 1).reduce(1, *) }.max() ?? 1
    return max(memory * 262_144 / (3 * max(largest, 1)), 1)
  }

  /// The inputs of a unit in the float network and behind the trained units.
  mutating func inputs(of unit: ReconstructionUnit) throws -> (float: SampleBank, seen: SampleBank) {
    let count = min(UnitSamples.fitting([unit.input, unit.output], graph, memory: memory), seen.count)
    guard unit.input != place else { return (float.first(count), seen.first(count)) }
    let floatPlan = try GradientPlan(
      teacher, inputs: [place], outputs: [.init(unit.input)], gradientsOf: [], mode: .float, threads: threads)
    let plan = try GradientPlan(
      graph, inputs: [place], outputs: [.init(unit.input)], gradientsOf: learned.map(\.value), shardSize: 8,
      threads: threads)
    let values = Dictionary(uniqueKeysWithValues: learned.map { ($0.value, $0.tensor) })
    let result = (
      float: try SampleBank(floatPlan, float.first(count), overriding: [:]),
      seen: try SampleBank(plan, seen.first(count), overriding: values)
    )
    if count == seen.count {
      (place, float, seen, learned) = (unit.input, result.float, result.seen, [])
    }
    return result
  }

  /// What training made of the unit whose inputs came last.
  mutating func add(_ trained: [Trainable]) { learned += trained }
}
