import IR

/// A number with a unit of a thousand, as flags and options give budgets: `100K`, `1.5M`, `64Ki`, `250us`.
package struct Quantity: Hashable, Sendable, TextCodable {
  package enum Unit: Sendable { case none, bytes, seconds }
  package var value: Double
  package let text: String
  private let isTime: Bool

  package static var expectation: String { "a positive number such as 4, 100K, 1.5M, 64Ki, 80us or 2ms" }

  package init?(text: String) {
    let digits = text.prefix { $0.isNumber || $0 == "." }
    let suffix = text.dropFirst(digits.count).drop { $0 == " " }
    guard let number = Double(digits), number.isFinite, number > 0 else { return nil }
    let times: [(String, Double)] = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1)]
    let counts: [(String, Double)] = [
      ("", 1), ("B", 1), ("K", 1e3), ("KB", 1e3), ("k", 1e3), ("M", 1e6), ("MB", 1e6), ("G", 1e9),
      ("GB", 1e9), ("T", 1e12), ("Ki", 1024), ("KiB", 1024), ("Mi", 1_048_576), ("MiB", 1_048_576),
      ("Gi", 1_073_741_824), ("GiB", 1_073_741_824),
    ]
    if let (_, factor) = counts.first(where: { $0.0 == suffix }) {
      (value, isTime) = (number * factor, false)
    } else if let (_, factor) = times.first(where: { $0.0 == suffix }) {
      (value, isTime) = (number * factor, true)
    } else {
      return nil
    }
    self.text = text
  }

  /// Whether the unit suits what is counted: times need one of time, everything else none of it.
  package func suits(_ unit: Unit) -> Bool { (unit == .seconds) == isTime }
}
