import IR
import Support
import Synchronization

/// The sums of all variants over the samples so far: what a checkpoint holds.
struct SensitivitySums: Sendable {
  let variants: [Variant]
  let names: [String]
  let samples: Int
  private(set) var samplesDone = 0
  private(set) var sums: [VariantSums]

  init(variants: [(variant: Variant, name: String)], samples: Int) {
    self.variants = variants.map(\.variant)
    names = variants.map(\.name)
    self.samples = samples
    sums = variants.map { _ in VariantSums() }
  }

  mutating func add(_ parts: [VariantSums], samples count: Int) {
    for (index, part) in parts.enumerated() { sums[index] += part }
    samplesDone += count
  }

  /// Reads back as the same numbers.
  func text(key: UInt64) -> String {
    var lines = ["qcc-sensitivity 1", "key \(String(key, radix: 16))", "samples \(samplesDone)"]
    for (name, sum) in zip(names, sums) {
      lines.append(
        "\(sum.divergence) \(sum.noise) \(sum.signal) \(sum.localNoise) \(sum.localSignal) \(name)")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// These sums with what a text holds; nil when it is damaged or of something else.
  func reading(_ text: String, key: UInt64) -> SensitivitySums? {
    let lines = text.split(separator: "\n")
    guard lines.count == 3 + names.count, lines[0] == "qcc-sensitivity 1",
      lines[1] == "key \(String(key, radix: 16))", lines[2].hasPrefix("samples "),
      let done = Int(lines[2].dropFirst(8)), (0...samples).contains(done)
    else { return nil }
    var result = self
    result.samplesDone = done
    for (index, line) in lines.dropFirst(3).enumerated() {
      let parts = line.split(separator: " ", maxSplits: 5)
      let numbers = parts.prefix(5).compactMap { Double($0) }
      guard parts.count == 6, numbers.count == 5, numbers.allSatisfy(\.isFinite), parts[5] == names[index]
      else { return nil }
      result.sums[index].divergence = numbers[0]
      result.sums[index].noise = numbers[1]
      result.sums[index].signal = numbers[2]
      result.sums[index].localNoise = numbers[3]
      result.sums[index].localSignal = numbers[4]
    }
    return result
  }
}

/// A file for every network, data and choice of variants. What cannot be used is ignored: then everything is measured
/// again.
struct SensitivityStore {
  private let path: String
  private let key: UInt64

  init(folder: String, key: UInt64) throws(CompilerError) {
    self.key = key
    path = "\(folder)/\(String(key, radix: 16)).sensitivity"
    try createFolder(folder)
  }

  func load(_ sums: SensitivitySums) -> SensitivitySums? {
    guard let file = try? MappedFile(path: path), file.bytes.count < 1 << 28 else { return nil }
    return sums.reading(String(decoding: file.contents, as: UTF8.self), key: key)
  }

  func save(_ sums: SensitivitySums) throws(CompilerError) { try writeFile(path, sums.text(key: key)) }
}

/// Counts work that several threads do, and reports it one at a time.
final class ProgressCounter: Sendable {
  private let done: Mutex<Int>
  private let total: Int

  init(total: Int, done: Int) {
    self.total = total
    self.done = Mutex(done)
  }
  func add(_ amount: Int, report: (_ done: Int, _ total: Int) -> Void) {
    done.withLock {
      $0 += amount
      report($0, total)
    }
  }
}
