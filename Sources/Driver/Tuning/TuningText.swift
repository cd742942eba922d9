import KernelInterface
import Runtime

/// The kernels that a measurement chose for a program on one kind of processor, where they are not the usual ones.
/// As text, with a checksum, so that damage is noticed:
///
///     qcc-tuning 1
///     processor AuthenticAMD 26.2.1 AMD EPYC, features 3
///     program 0f1e2d3c4b5a6978
///     kernels 0123456789abcdef
///     3 dense8_avx512vnni_3x8
///     check 89abcdef01234567
///
/// A text may hold several records, for several processors.
struct TuningRecord: Hashable {
  var processor: String
  /// `Program.contentHash`.
  var program: UInt64
  /// `Processor.kernelTableHash` of the qcc that measured.
  var kernelTable: UInt64
  /// Names of kernels by instruction.
  var choices: [Int: String]

  static let largestText = 1 << 20

  var text: String {
    var text = """
      qcc-tuning 1
      processor \(processor)
      program \(hexadecimal(program))
      kernels \(hexadecimal(kernelTable))

      """
    for (instruction, kernel) in choices.sorted(by: { $0.key < $1.key }) {
      text += "\(instruction) \(kernel)\n"
    }
    return text + "check \(hexadecimal(Processor.hash(text)))\n"
  }

  /// The records of a text that may be anything.
  /// - Returns: nil when it is no text of whole records.
  static func parse(_ bytes: [UInt8]) -> [TuningRecord]? {
    guard bytes.count <= largestText, let text = String(validating: bytes, as: UTF8.self) else { return nil }
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
    guard lines.popLast() == "" else { return nil }
    var records: [TuningRecord] = []
    while !lines.isEmpty {
      guard let record = TuningRecord(&lines) else { return nil }
      records.append(record)
    }
    return records
  }

  init(processor: String, program: UInt64, kernelTable: UInt64, choices: [Int: String]) {
    self.processor = processor
    self.program = program
    self.kernelTable = kernelTable
    self.choices = choices
  }

  /// Takes the lines of one record.
  private init?(_ lines: inout ArraySlice<Substring>) {
    func value(_ key: String) -> Substring? {
      guard let line = lines.popFirst(), line.hasPrefix(key + " ") else { return nil }
      return line.dropFirst(key.count + 1)
    }
    guard value("qcc-tuning") == "1", let processor = value("processor"),
      let program = value("program").flatMap({ UInt64($0, radix: 16) }),
      let kernelTable = value("kernels").flatMap({ UInt64($0, radix: 16) })
    else { return nil }
    self.init(processor: String(processor), program: program, kernelTable: kernelTable, choices: [:])
    while let line = lines.first, !line.hasPrefix("check ") {
      let words = line.split(separator: " ", omittingEmptySubsequences: false)
      guard words.count == 2, let instruction = Int(words[0]), instruction >= 0,
        choices.updateValue(String(words[1]), forKey: instruction) == nil
      else { return nil }
      lines.removeFirst()
    }
    // The checksum is over what this record would be written as, so nothing can hide between the lines.
    guard let check = value("check"), text.hasSuffix("check \(check)\n") else { return nil }
  }

  /// What the interpreter takes; names that are not in the table are dropped.
  func tuning(instructions: Int) -> Tuning {
    var names: [String: StaticString] = [:]
    for layer in KernelTable.layers { names["\(layer.name)"] = layer.name }
    return Tuning((0..<instructions).map { index in choices[index].flatMap { names[$0] } })
  }
}
