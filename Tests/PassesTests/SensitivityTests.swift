import Evaluator
import Foundation
import IR
import Numerics
import PassKit
import Support
import Testing

@testable import Passes

/// A small network: three convolutions with a shortcut, pooled, and a classifier.
func sampleNetwork(target: String = "x86-int4") throws -> Graph {
  var random = SeededGenerator(3)
  var graph = Graph(name: "net", stage: .canonical)
  func weights(_ name: String, _ shape: [Int]) -> Constant {
    Constant(name, shape, random.floats(shape.reduce(1, *), -0.5...0.5))
  }
  func append(_ op: Op, _ operands: [ValueID], _ name: String) throws -> ValueID {
    let id = try graph.append(op, operands, name: name)
    return graph[id].results[0]
  }
  func convolution(_ x: ValueID, _ name: String, _ inputs: Int, _ outputs: Int) throws -> ValueID {
    var op = Conv2D()
    op.pads = [1, 1, 1, 1]
    op.activation = .relu
    let w = graph.addConstant(weights("\(name).w", [outputs, inputs, 3, 3]))
    let b = graph.addConstant(weights("\(name).b", [outputs]))
    return try append(.conv2d(op), [x, w, b], name)
  }
  let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(6), .known(6)]), .f32))
  let a = try convolution(x, "c1", 3, 8), b = try convolution(a, "c2", 8, 8)
  let c = try convolution(b, "c3", 8, 8)
  let sum = try append(.binary(Binary(.add)), [a, c], "sum")
  let pooled = try append(.globalAveragePool(GlobalAveragePool()), [sum], "pool")
  let flat = try append(.flatten(Flatten()), [pooled], "flat")
  var gemm = Gemm()
  gemm.transposeB = true
  let w = graph.addConstant(weights("fc.w", [5, 8])), bias = graph.addConstant(weights("fc.b", [5]))
  graph.addOutput(try append(.gemm(gemm), [flat, w, bias], "fc"))
  var context = PassContext()
  return try graph.applying(insertQuantizers, [("target", target)], &context)
}

struct RandomSamples: CalibrationData {
  let count: Int
  func sample(_ index: Int) throws -> [Float] {
    var random = SeededGenerator(UInt64(index) + 100)
    return random.floats(108, -1...1)
  }
}

private func context(threads: Int = 1, samples: Int = 20) -> PassContext {
  var context = PassContext(threads: threads)
  context.calibration = RandomSamples(count: samples)
  return context
}

@Suite("Sensitivity and search")
struct SensitivityTests {
  private func searcher(
    _ change: (inout SearchSettings) -> Void = { _ in }, threads: Int = 1, budget: BudgetKind = .averageBits
  ) throws -> Searcher {
    var settings = SearchSettings(), budgets = Budgets()
    settings.sensitivity.samples = 20
    change(&settings)
    budgets[budget] = .greatestFiniteMagnitude
    var context = context(threads: threads)
    return try Searcher(try sampleNetwork(), settings, budgets, &context)
  }

  /// Running only what is behind a change gives the bits of a whole run with that change.
  @Test func replayEqualsAWholeRun() throws {
    let graph = try sampleNetwork()
    let evaluator = try Evaluator(graph, mode: .float, threads: 1)
    let input = Tensor(
      [2, 3, 6, 6], try RandomSamples(count: 2).sample(0) + RandomSamples(count: 2).sample(1))
    let trace = try evaluator.trace([input])
    #expect(trace[graph.outputs[0]]?.floats == (try evaluator.run([input])[0].floats))
    for (name, form) in [("c2", 4), ("fc", 2)] {
      let id = try #require(graph.weightedOps.first { graph[$0].name == name })
      let quantized = graph[id].operands[1], weights = try #require(evaluator.constantContents(quantized))
      let changed = Tensor(weights.shape, weights.floats.map { ($0 * Float(form)).rounded() / Float(form) })
      var change = Change()
      change.constants[quantized] = changed
      let replayed = try evaluator.replay(trace, change, wanted: graph.outputs)[0].floats
      var other = graph
      other.setOperand(id, 1, to: other.addConstant(Constant("new", changed.shape, changed.floats)))
      let whole = try Evaluator(other, mode: .float, threads: 1).run([input])[0].floats
      #expect(replayed == whole)
      #expect(replayed != trace[graph.outputs[0]]?.floats)
      // The trace and the prepared weights stay what they were.
      #expect(try evaluator.run([input])[0].floats == trace[graph.outputs[0]]?.floats)
    }
  }

  @Test func wideFormsHurtLessThanNarrowOnes() throws {
    let table = try searcher { $0.activationBits = [8, 4, 2] }.table
    for site in table.sites where site.candidates.count > 1 {
      let noises = site.candidates.compactMap { table.entries[site.index][$0]?.localNoise }
      #expect(noises.count == site.candidates.count)
      #expect(zip(noises, noises.dropFirst()).allSatisfy { $0 <= $1 }, "\(site.name): \(noises)")
      let last = try #require(table.entries[site.index][site.candidates[site.candidates.count - 1]])
      #expect(last.divergence > 0 && last.outputNoise > 0)
      #expect((last.weightNoise > 0) == (site.role == .weight))
    }
  }

  @Test func theTableIsTheSameForAnyNumberOfThreads() throws {
    let tables = try [1, 2, 5].map { threads in
      try searcher({ $0.sensitivity.interactions = true }, threads: threads).table
    }
    for table in tables.dropFirst() {
      #expect(table.entries == tables[0].entries)
      #expect(table.interactions == tables[0].interactions)
    }
    #expect(!tables[0].interactions.isEmpty)
  }

  /// What is interrupted goes on with the same bits; what is complete is read and not measured again.
  @Test func anInterruptedMeasurementGoesOn() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "qcc-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let expected = try searcher().table
    let graph = try sampleNetwork()
    var settings = SearchSettings(), budgets = Budgets()
    settings.sensitivity.samples = 20
    settings.sensitivity.cacheFolder = folder
    budgets[.averageBits] = 4
    // Chunks have 16 samples: the second one is interrupted.
    final class Calls: @unchecked Sendable {
      private let lock = NSLock()
      private var count = 0
      func next() -> Int {
        lock.withLock {
          count += 1
          return count
        }
      }
    }
    let calls = Calls(), variants = 4 * 7
    var stopping = context()
    stopping.isInterrupted = { calls.next() > 7 + variants + 3 }
    #expect {
      _ = try Searcher(graph, settings, budgets, &stopping)
    } throws: { ($0 as? CompilerError)?.status == .interrupted }
    var resumed = context(threads: 2)
    #expect(try Searcher(graph, settings, budgets, &resumed).table.entries == expected.entries)
    // Damaged files are ignored.
    for file in try FileManager.default.contentsOfDirectory(atPath: folder) {
      try Data("qcc-sensitivity 1\nkey 0\n".utf8).write(to: URL(filePath: "\(folder)/\(file)"))
    }
    var again = context()
    #expect(try Searcher(graph, settings, budgets, &again).table.entries == expected.entries)
  }

  @Test func budgetsAreKept() throws {
    let searcher = try searcher { $0.activationBits = [8, 4, 2] }
    for (kind, share) in [
      (BudgetKind.averageBits, 0.4), (.bitOperations, 0.3), (.latency, 0.5), (.size, 0.5),
    ] {
      let range = try searcher.range(of: kind, Budgets())
      #expect(range.lowerBound < range.upperBound, "\(kind)")
      var budgets = Budgets()
      budgets[kind] = range.lowerBound + share * (range.upperBound - range.lowerBound)
      let solution = try searcher.solve(budgets)
      #expect(solution.isOptimal)
      #expect(solution.costs[0].cost <= (budgets[kind] ?? 0) * (1 + 1e-6), "\(kind)")
    }
    // Bytes of activations do not depend on their bits.
    let memory = try searcher.range(of: .memory, Budgets())
    #expect(memory.lowerBound == memory.upperBound)
  }

  @Test func infeasibleBudgetsSayWhatIsFeasible() throws {
    let searcher = try searcher { $0.pins = ["c2=w8"] }
    var budgets = Budgets()
    budgets[.averageBits] = 2.5
    #expect {
      _ = try searcher.solve(budgets)
    } throws: { error in
      guard let error = error as? CompilerError else { return false }
      return error.status == .infeasible && error.description.contains("feasible: ")
        && error.description.contains("'c2.weight' at 8 bits") && error.description.contains("fixed")
    }
  }

  @Test func assignmentsReadBackAndApply() throws {
    let searcher = try searcher()
    var budgets = Budgets()
    budgets[.averageBits] = 4
    let solution = try searcher.solve(budgets), file = searcher.file(solution, budgets)
    #expect(try AssignmentFile(text: file.text, at: "test") == file)
    let path = FileManager.default.temporaryDirectory.appending(path: "qcc-\(UUID().uuidString).json").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try writeFile(path, file.text)
    var context = context()
    let graph = try sampleNetwork()
    let assigned = try graph.applying(assign, [("assignment", path.text)], &context)
    let forms = zip(graph.quantizers, assigned.quantizers).map { before, after in
      before.quantizer.forms.all.firstIndex(of: after.quantizer.form)
    }
    #expect(forms == solution.forms)
    // The pass chooses the same.
    let searched = try graph.applying(search, [("avg-bits", "4"), ("samples", "20")], &context)
    #expect(searched.quantizers.map(\.quantizer.form) == assigned.quantizers.map(\.quantizer.form))
    // An assignment of another network.
    var other = file
    other.entries[0].site = "elsewhere"
    try writeFile(path, other.text)
    #expect(throws: CompilerError.self) { try graph.applying(assign, [("assignment", path.text)], &context) }
  }

  @Test(arguments: ["", "{}", "[1, 2", "{\"format\": \"qcc-assignment-1\", \"sites\": [{\"site\": 1}]}"])
  func malformedAssignments(text: String) {
    #expect { try AssignmentFile(text: text, at: "test") } throws: {
      ($0 as? CompilerError)?.status == .malformedInput
    }
  }

  @Test func quantities() {
    #expect(Quantity(text: "100K")?.value == 100_000)
    #expect(Quantity(text: "64KiB")?.value == 65_536)
    #expect(Quantity(text: "1.5 M")?.value == 1_500_000)
    #expect(Quantity(text: "80us").map { abs($0.value - 8e-5) < 1e-12 } == true)
    for text in ["", "K", "-3", "0", "1e", "4 apples", "1..2", "nan"] { #expect(Quantity(text: text) == nil) }
    var budgets = Budgets()
    #expect(throws: CompilerError.self) { try budgets.set(.size, "80us") }
    #expect(throws: CompilerError.self) { try budgets.set(.latency, "80") }
  }
}
