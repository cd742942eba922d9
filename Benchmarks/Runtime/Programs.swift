import Foundation
import Program
import Runtime

/// Loading, single samples with one and two threads, and batches of a program.
func programReport(_ path: String) throws -> [String] {
  let file = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
  var lines = ["\(path): \(file.count) bytes"]
  func add(_ name: String, _ seconds: Double, _ note: String = "") {
    lines.append("  " + column(name, 34) + column("\((seconds * 1e7).rounded() / 10) µs", 14) + note)
  }
  for verifyingData in [true, false] {
    add(
      verifyingData ? "load, mapped" : "load, mapped, weights not hashed",
      try fastest(20) {
        let file = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        _ = try load(file, verifyingData: verifyingData)
      })
  }
  let program = try load(file)
  add("prepare", fastest(20) { _ = Interpreter(program) })
  let single = seconds(Interpreter(program), samples: 1)
  add("one sample, 1 thread", single)
  let double = seconds(Interpreter(program, threads: 2), samples: 1)
  add("one sample, 2 threads", double, "\(factor(single, double)) times as fast")
  let batch = seconds(Interpreter(program, threads: 2), samples: 16) / 16
  add("one of 16 samples, 2 threads", batch, "\(factor(single, batch)) times as fast")
  return lines
}

private func load(_ file: Data, verifyingData: Bool = true) throws -> Program {
  try file.withUnsafeBytes {
    try Program(reading: $0, verifyingData: verifyingData, keepAlive: { withExtendedLifetime(file) {} })
  }
}

/// Seconds of the fastest run.
private func seconds(_ interpreter: Interpreter, samples: Int) -> Double {
  let sources = interpreter.inputNumbers.map { number in
    let count = samples * interpreter.inputCount(number)
    let pointer = UnsafeMutablePointer<Float>.allocate(capacity: count)
    for index in 0..<count { (pointer + index).initialize(to: Float(index * 37 % 255) / 255) }
    return pointer
  }
  let targets = interpreter.outputNumbers.map {
    UnsafeMutablePointer<Float>.allocate(capacity: samples * interpreter.outputCount($0))
  }
  defer { (sources + targets).forEach { $0.deallocate() } }
  let inputs = sources.map { UnsafePointer($0) }
  return fastest(max(20, 400 / samples)) { interpreter.run(samples, inputs: inputs, outputs: targets) }
}

private func fastest(_ runs: Int, _ body: () throws -> Void) rethrows -> Double {
  var best = Double.infinity
  for _ in 0..<runs {
    let duration = try ContinuousClock().measure(body)
    best = min(best, Double(duration.components.attoseconds) * 1e-18 + Double(duration.components.seconds))
  }
  return best
}

private func factor(_ a: Double, _ b: Double) -> Double { (100 * a / b).rounded() / 100 }

func column(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(1, width - text.count))
}
