import KernelInterface
import Program
import Runtime
import Support

/// Times the kernels that can run each layer of a program, in the program itself, and picks the fastest. All give the
/// same bits.
struct Tuner {
  /// A layer that several kernels can run.
  struct Layer {
    var timing: InstructionTiming
    /// Nanoseconds by kernel, the usual one first.
    var candidates: [(kernel: String, nanoseconds: UInt64)]
    var choice: String
    var usual: String { candidates[0].kernel }
  }
  let layers: [Layer]
  /// What differs from the usual choice.
  let choices: [Int: String]

  /// Another kernel must be so much faster, or else the difference is likely noise.
  private static let leastGain = 0.02
  /// Where kernels take so many times as long as the best they are not measured again.
  private static let hopeless = 2.0

  /// - Parameter runs: of every kernel, in turns.
  init(_ program: Program, features: CPUFeatures, threads: Int, runs: Int) throws {
    let usual = try Profile(
      Interpreter(program, features: features, threads: threads),
      benchInputs(Interpreter(program, features: features)))
    usual.run(1)
    let usualKernels = usual.timings.map { $0.kernel.map { "\($0)" } }
    var profiles = [usual]
    for layer in KernelTable.layers where features.isSuperset(of: layer.features) {
      let names = [StaticString?](repeating: layer.name, count: program.instructions.count)
      let interpreter = Interpreter(program, features: features, threads: threads, tuning: Tuning(names))
      // Where it cannot run a layer, the usual kernel does.
      let kernels = program.instructions.indices.map { interpreter.kernel(of: $0).map { "\($0)" } }
      guard kernels != usualKernels else { continue }
      let profile = try Profile(interpreter, benchInputs(interpreter))
      profile.run(1)
      let isPromising = zip(profile.timings, usual.timings).contains { timing, usual in
        timing.kernel.map { "\($0)" } != usualKernels[timing.instruction]
          && timing.seconds < Self.hopeless * usual.seconds
      }
      if isPromising { profiles.append(profile) }
    }
    let clock = ContinuousClock(), start = clock.now
    for run in 1..<max(runs, 2) {
      for profile in profiles { profile.run(1) }
      Console.progress("tuning", run + 1, max(runs, 2))
      if (clock.now - start).seconds > Self.mostSeconds { break }
    }
    Console.finishProgress()
    layers = Self.layers(profiles.map(\.timings))
    var choices: [Int: String] = [:]
    for layer in layers where layer.choice != layer.usual { choices[layer.timing.instruction] = layer.choice }
    self.choices = choices
  }

  private static let mostSeconds = 60.0

  /// - Parameter timings: of the usual kernels first.
  private static func layers(_ timings: [[InstructionTiming]]) -> [Layer] {
    timings[0].compactMap { usual in
      guard let usualKernel = usual.kernel else { return nil }
      var candidates: [(kernel: String, nanoseconds: UInt64)] = [("\(usualKernel)", usual.nanoseconds)]
      for others in timings.dropFirst() {
        let other = others[usual.instruction]
        guard let kernel = other.kernel.map({ "\($0)" }) else { continue }
        if let known = candidates.firstIndex(where: { $0.kernel == kernel }) {
          candidates[known].nanoseconds = min(candidates[known].nanoseconds, other.nanoseconds)
        } else {
          candidates.append((kernel, other.nanoseconds))
        }
      }
      guard candidates.count > 1, let best = candidates.min(by: { $0.nanoseconds < $1.nanoseconds }) else {
        return nil
      }
      let gains = Double(best.nanoseconds) < (1 - leastGain) * Double(candidates[0].nanoseconds)
      return Layer(
        timing: usual, candidates: candidates, choice: gains ? best.kernel : candidates[0].kernel)
    }
  }

  var text: String {
    var table = Table(["operation", "name", "usual µs", "chosen µs", "gain", "kernel"], right: [2, 3, 4])
    for layer in layers {
      let usual = Double(layer.candidates[0].nanoseconds)
      let chosen = Double(layer.candidates.first { $0.kernel == layer.choice }?.nanoseconds ?? 0)
      table.add([
        layer.timing.mnemonic, "\(layer.timing.name)", fixed(usual * 1e-3, 2), fixed(chosen * 1e-3, 2),
        layer.choice == layer.usual ? "" : "\(fixed(100 * (usual / max(chosen, 1) - 1), 1)) %", layer.choice,
      ])
    }
    return table.text
  }

  var json: Json {
    .array(
      layers.map { layer in
        .object([
          ("instruction", .int(layer.timing.instruction)), ("operation", .string(layer.timing.mnemonic)),
          ("name", .string("\(layer.timing.name)")), ("usual", .string(layer.usual)),
          ("choice", .string(layer.choice)),
          (
            "microseconds",
            .object(layer.candidates.map { ($0.kernel, .double(1e-3 * Double($0.nanoseconds))) })
          ),
        ])
      })
  }
}
