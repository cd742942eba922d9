/// The four vectors of 16 channels: sums, or weights of one step.
package struct Row {
  package private(set) var v0: Lanes
  package private(set) var v1: Lanes
  package private(set) var v2: Lanes
  package private(set) var v3: Lanes

  @inline(__always)
  package init(_ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) {
    (self.v0, self.v1, self.v2, self.v3) = (v0, v1, v2, v3)
  }

  @inline(__always)
  package init(repeating vector: Lanes) { self.init(vector, vector, vector, vector) }

  @inline(__always)
  package init(_ pointer: UnsafeRawPointer) {
    self.init(load(pointer), load(pointer + 16), load(pointer + 32), load(pointer + 48))
  }

  /// - Parameter vector: of channels 4 i to 4 i + 3.
  @inline(__always)
  package init(_ vector: (_ i: Int) -> Lanes) { self.init(vector(0), vector(1), vector(2), vector(3)) }

  @inline(__always)
  package static var zero: Row { Row(repeating: .zero) }

  @inline(__always)
  package func store(_ vectors: UnsafeMutablePointer<Lanes>) {
    vectors[0] = v0
    vectors[1] = v1
    vectors[2] = v2
    vectors[3] = v3
  }

  @inline(__always)
  package func map(_ transform: (Lanes) -> Lanes) -> Row {
    Row(transform(v0), transform(v1), transform(v2), transform(v3))
  }

  @inline(__always)
  package func combined(_ other: Row, _ combine: (Lanes, Lanes) -> Lanes) -> Row {
    Row(combine(v0, other.v0), combine(v1, other.v1), combine(v2, other.v2), combine(v3, other.v3))
  }

  @inline(__always)
  package static func + (a: Row, b: Row) -> Row { a.combined(b) { $0 &+ $1 } }

  @inline(__always)
  package static func - (a: Row, b: Row) -> Row { a.combined(b) { $0 &- $1 } }

  /// What `add` makes of these sums, weights, and the inputs of all channels.
  @inline(__always)
  package mutating func accumulate(
    _ weights: Row, _ x: Lanes, _ add: (_ sum: Lanes, _ weights: Lanes, _ x: Lanes) -> Lanes
  ) {
    v0 = add(v0, weights.v0, x)
    v1 = add(v1, weights.v1, x)
    v2 = add(v2, weights.v2, x)
    v3 = add(v3, weights.v3, x)
  }
}

@inline(__always)
package func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }
