import ArgumentParser
import KernelInterface
import Program
import Runtime
import Support

struct KernelsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernels", abstract: "List the kernels, or those that can run a layer, with the pick.",
    discussion: """
      Example: qcc kernels
               qcc kernels --shape 3x3,64-64,@56x56,stride=1,bits=8
               qcc kernels --shape 3x3,128-128,@28x28,bits=1 --time
               qcc kernels --shape 3x3,96-96,@56x56,dw --time
               qcc kernels --shape 1x1,1280-1000,@1x1,bits=4 --time --cpu avx2 --json
      \(LayerShape.syntax)
      """)
  @Option(help: "Only kernels that can run this layer.") var shape: String?
  @Flag(help: "With --shape: time each.") var time = false
  @Option(help: "With --time: runs of each, in turns; the minimum counts.") var runs = 100
  @Option(help: "Instructions the interpreter may use: auto, portable, avx2, avxvnni or vnni. Also QCC_CPU.")
  var cpu: String?
  @Option(help: "With --time: threads for one sample.") var threads = 1
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    if shape == nil && time { throw ValidationError("--time needs --shape") }
    if runs < 1 || runs > 10_000_000 { throw ValidationError("--runs must be 1 to 10000000") }
    if threads < 1 || threads > 1024 { throw ValidationError("--threads must be 1 to 1024") }
  }

  func run() throws {
    let features = try chosenFeatures(cpu)
    if let shape { return try listCandidates(LayerShape(shape), features) }
    let kernels =
      KernelTable.layers.map { ($0.name, $0.features) }
      + KernelTable.elementwise.map { ($0.name, $0.features) }
      + KernelTable.pool.map { ($0.name, $0.features) }
      + KernelTable.quantize.map { ($0.name, $0.features) }
    if json {
      let list = Json.array(
        kernels.map { name, needs in
          .object([
            ("kernel", .string("\(name)")), ("needs", .string(instructionSets(needs))),
            ("available", .bool(features.isSuperset(of: needs))),
          ])
        })
      return print(list.text)
    }
    var table = Table(["kernel", "needs", "here"])
    for (name, needs) in kernels {
      table.add(["\(name)", instructionSets(needs), features.isSuperset(of: needs) ? "yes" : "no"])
    }
    print(table.text)
  }

  private func listCandidates(_ shape: LayerShape, _ features: CPUFeatures) throws {
    let program = try shape.program(), layer = LayerShape.instruction
    let pick = Interpreter(program, features: features).kernel(of: layer).map { "\($0)" }
    var names: [String] = [], interpreters: [Interpreter] = []
    for kernel in KernelTable.layers where features.isSuperset(of: kernel.features) {
      let interpreter = Interpreter(
        program, features: features, threads: threads,
        tuning: Tuning([StaticString?](repeating: kernel.name, count: program.instructions.count)))
      // Where a kernel cannot run the layer, the pick does.
      guard let name = interpreter.kernel(of: layer).map({ "\($0)" }), name == "\(kernel.name)" else {
        continue
      }
      names.append(name)
      interpreters.append(interpreter)
    }
    var timings: [InstructionTiming] = []
    var peaks: Peaks?
    if time {
      peaks = Peaks(only: Set(KernelTable.peaks.map { "\($0.name)" }), features: features)
      let profiles = try interpreters.map { try Profile($0, benchInputs($0)) }
      for _ in 0..<runs { profiles.forEach { $0.run(1) } }
      timings = profiles.map { $0.timings[layer] }
    }
    print(
      json
        ? jsonReport(names, timings, peaks, pick).text
        : textReport(names, timings, peaks, pick, macs: program.products(layer)))
  }

  private func share(_ timing: InstructionTiming, _ peaks: Peaks?) -> Double? {
    peaks?[timing.peak].map { timing.gops / ($0 * Double(threads)) }
  }

  private func textReport(
    _ names: [String], _ timings: [InstructionTiming], _ peaks: Peaks?, _ pick: String?, macs: Int
  ) -> String {
    var table = Table(["kernel", "µs", "GOPS", "of peak", ""], right: [1, 2, 3])
    for (index, name) in names.enumerated() {
      let timing = time ? timings[index] : nil
      table.add([
        name, timing.map { fixed($0.microseconds, 2) } ?? "", timing.map { fixed($0.gops, 1) } ?? "",
        timing.flatMap { share($0, peaks) }.map { "\(fixed(100 * $0, 1)) %" } ?? "",
        name == pick ? "pick" : "",
      ])
    }
    return "\(table.text)\n\(humanCount(macs)) multiply-accumulates"
  }

  private func jsonReport(
    _ names: [String], _ timings: [InstructionTiming], _ peaks: Peaks?, _ pick: String?
  ) -> Json {
    .array(
      names.enumerated().map { index, name in
        var members: [(String, Json)] = [("kernel", .string(name)), ("isPick", .bool(name == pick))]
        if time {
          let timing = timings[index]
          members += [
            ("microseconds", .double(timing.microseconds)),
            ("medianMicroseconds", .double(1e-3 * Double(timing.medianNanoseconds))),
            ("gops", .double(timing.gops)),
            ("shareOfPeak", share(timing, peaks).map { .double($0) } ?? .null),
          ]
        }
        return .object(members)
      })
  }
}

/// `AVX2, AVX-512 VNNI`; `any processor` for none.
func instructionSets(_ features: CPUFeatures) -> String {
  let names: [(CPUFeatures, String)] = [
    (.avx2, "AVX2"), (.avxvnni, "AVX-VNNI"), (.avx512vnni, "AVX-512 VNNI"),
    (.avx512popcount, "AVX-512 VPOPCNTDQ"), (.neon, "NEON"),
    (.dotProduct, "dot product"),
    (.i8mm, "i8mm"),
  ]
  let held = names.filter { features.contains($0.0) }.map(\.1)
  let unnamed = names.reduce(features) { $0.subtracting($1.0) }
  let all = held + (unnamed.isEmpty ? [] : ["features \(unnamed.rawValue)"])
  return all.isEmpty ? "any processor" : all.joined(separator: ", ")
}
