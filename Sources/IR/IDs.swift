/// A stable index into one of a graph's tables. Ids are never reused within a graph.
package protocol EntityID: Hashable, Comparable, Sendable, CustomStringConvertible {
  static var prefix: String { get }
  var index: Int { get }
  init(index: Int)
}
extension EntityID {
  package static func < (left: Self, right: Self) -> Bool { left.index < right.index }
  package var description: String { "\(Self.prefix)\(index)" }
}

package struct ValueID: EntityID {
  package static let prefix = "%"
  private let raw: UInt32
  package var index: Int { Int(raw) }
  package init(index: Int) { raw = UInt32(index) }
}

package struct OpID: EntityID {
  package static let prefix = "op"
  private let raw: UInt32
  package var index: Int { Int(raw) }
  package init(index: Int) { raw = UInt32(index) }
}

package struct ConstantID: EntityID {
  package static let prefix = "@"
  private let raw: UInt32
  package var index: Int { Int(raw) }
  package init(index: Int) { raw = UInt32(index) }
}
