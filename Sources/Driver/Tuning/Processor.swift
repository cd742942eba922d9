import CXXHash
import Foundation
import KernelInterface
import Runtime
import Support

/// What decides which kernel is fastest: the model of the processor, and what kernels may use of it.
struct Processor: Hashable {
  /// One line of printable ASCII: `AuthenticAMD 26.2.1 AMD EPYC, features 3`.
  let identity: String

  init(features: CPUFeatures) {
    identity = Processor.printable("\(Processor.model), features \(features.rawValue)")
  }

  /// Vendor, numbers and name of the first processor of /proc/cpuinfo; only the architecture where that tells nothing.
  static let model: String = {
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else { return "unknown" }
    var fields: [String: String] = [:]
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.isEmpty && !fields.isEmpty { break }
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2 else { continue }
      fields[parts[0].trimmingCharacters(in: .whitespaces)] = parts[1].trimmingCharacters(in: .whitespaces)
    }
    func joined(_ names: [String], _ separator: String) -> String {
      names.compactMap { fields[$0] }.joined(separator: separator)
    }
    let vendor = joined(["vendor_id", "CPU implementer"], " ")
    let numbers = joined(["cpu family", "model", "stepping", "CPU part", "CPU variant", "CPU revision"], ".")
    let name = joined(["model name"], " ")
    let model = [vendor, numbers, name].filter { !$0.isEmpty }.joined(separator: " ")
    return model.isEmpty ? "unknown" : printable(model)
  }()

  /// Changes with the kernels that there are: a choice among others says nothing.
  static let kernelTableHash: UInt64 = hash(KernelTable.layers.map { "\($0.name)" }.joined(separator: " "))

  static func hash(_ text: String) -> UInt64 {
    Array(text.utf8).withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) }
  }

  private static func printable(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { (32...126).contains($0.value) ? $0 : "?" }.prefix(200)))
  }
}

/// 16 hexadecimal digits.
func hexadecimal(_ number: UInt64) -> String {
  let digits = String(number, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
