import Glibc
import IR
import Support
import Testing

/// Damaged texts give a graph or a diagnostic, never a trap; what reads as a graph obeys the law of the text form.
@Suite struct MutationTests {
  /// Numbers and words that tend to break readers.
  private static let odd = [
    "0", "-1", "1", "255", "16777217", "2147483647", "-2147483648", "9223372036854775807",
    "-9223372036854775808",
    "1099511627776", "18446744073709551616", "nan", "inf", "-inf", "1e39", "N", "x", "f32", "u8<1:0>", "s1",
    "u1<1e-45:9>",
    "tensor<f32>", "tensor<0xf32>", "tensor<1099511627776xi64>", "[]", "[0]", "[-1, -1]",
    "[9223372036854775807]",
    "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "{", "}", "(", ")", ",", "\"", "\\", "%", "@", "=", ":", "//", "\n",
    "\u{301}", "true",
  ]

  private static let integers = [
    "0", "-1", "-2", "2", "3", "65536", "16777217", "2147483647", "-2147483648", "4294967296",
    "9223372036854775807",
    "-9223372036854775808", "9223372036854775806", "4611686018427387904",
  ]
  private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

  static func mutated(seed: UInt64) -> [UInt8] {
    var random = SeededGenerator(seed)
    var text = Array(
      RandomGraph.make(seed: random.next(), operations: random.int(1...12)).text(.embedded).utf8)
    for _ in 0..<random.int(1...4) {
      let at = random.int(0...(text.count - 1))
      switch random.int(0...9) {
      case 0: text[at] = UInt8(random.int(0...255))
      case 1: text.removeSubrange(at..<min(at + random.int(1...20), text.count))
      case 2: text.insert(contentsOf: Array(random.pick(odd).utf8), at: at)
      case 3: text.removeSubrange(at...)
      case 4...7:
        // Another integer where the text has one, most of them in attributes.
        let starts = text.indices.dropFirst().filter { isDigit(text[$0]) && [32, 91].contains(text[$0 - 1]) }
        guard !starts.isEmpty else { continue }
        let start = random.pick(starts), end = text[start...].firstIndex { !isDigit($0) } ?? text.count
        text.replaceSubrange(start..<end, with: Array(random.pick(integers).utf8))
      default:
        // Replaces a whole number or word, which keeps the rest readable.
        let start = text[..<at].lastIndex { !isWordByte($0) }.map { $0 + 1 } ?? 0
        let end = text[at...].firstIndex { !isWordByte($0) } ?? text.count
        if start < end { text.replaceSubrange(start..<end, with: Array(random.pick(odd).utf8)) }
      }
      if text.isEmpty { text = [0] }
    }
    return text
  }

  @Test func damagedTextsNeverTrap() throws {
    let rounds = getenv("QCC_MUTATIONS").flatMap { UInt64(String(cString: $0)) } ?? 400
    let first = getenv("QCC_SEED").flatMap { UInt64(String(cString: $0)) } ?? 0
    var readable = 0
    for seed in first..<first + rounds {
      if getenv("QCC_VERBOSE") != nil {
        let line = "seed \(seed)\n"
        write(STDERR_FILENO, line, line.utf8.count)
      }
      guard let graph = try? Graph(text: MutationTests.mutated(seed: seed)) else { continue }
      readable += 1
      let text = graph.text(.embedded)
      #expect(try Graph(text: text).text(.embedded) == text, "QCC_SEED=\(seed) QCC_MUTATIONS=1")
      _ = graph.verificationDiagnostics()
    }
    #expect(readable > 0)
    if getenv("QCC_VERBOSE") != nil { print("\(readable) of \(rounds) texts were graphs") }
  }
}
