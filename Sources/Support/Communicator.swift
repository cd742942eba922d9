/// The processes of one run, numbered from 0. All go through the same steps and make every call in the same order.
package protocol Communicator: Sendable {
  /// The number of this process.
  var rank: Int { get }
  var rankCount: Int { get }
  /// Fills `all` with the bytes of every rank, in the order of ranks.
  /// - Requires: `own` has as many bytes on every rank, `all` has room for them.
  func allGather(
    _ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer
  ) throws(CompilerError)
  /// Sends the i-th of `rankCount` parts of `own` to rank i, and fills `all` with what the ranks sent here, in their order.
  /// - Requires: equal parts, of the same size on every rank.
  func allToAll(
    _ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer
  ) throws(CompilerError)
  /// Overwrites the bytes with those of rank 0.
  /// - Requires: as many on every rank.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer) throws(CompilerError)
}

/// A run of one process.
package struct SingleProcess: Communicator {
  package let rank = 0
  package let rankCount = 1
  package init() {}
  package func allGather(_ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer) {
    all.copyMemory(from: own)
  }
  package func allToAll(_ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer) {
    all.copyMemory(from: own)
  }
  package func broadcast(_ bytes: UnsafeMutableRawBufferPointer) {}
}

extension Communicator {
  /// Work is dealt in turn, as cards are.
  package func owns(_ index: Int) -> Bool { index % rankCount == rank }

  /// The values of every rank, in the order of ranks; as many from each.
  package func allGather<Value: BitwiseCopyable>(_ own: [Value]) throws(CompilerError) -> [Value] {
    let sent = UnsafeMutableBufferPointer<Value>.allocate(capacity: own.count)
    let all = UnsafeMutableBufferPointer<Value>.allocate(capacity: own.count * rankCount)
    defer {
      sent.deallocate()
      all.deallocate()
    }
    _ = sent.initialize(from: own)
    try allGather(UnsafeRawBufferPointer(sent), into: UnsafeMutableRawBufferPointer(all))
    return Array(all)
  }

  /// Rank 0's values; those of other ranks, and how many they have, do not matter.
  package func broadcast<Value: BitwiseCopyable>(_ values: [Value]) throws(CompilerError) -> [Value] {
    let count = try allGather([values.count])[0]
    let buffer = UnsafeMutableBufferPointer<Value>.allocate(capacity: count)
    defer { buffer.deallocate() }
    if rank == 0 { _ = buffer.initialize(from: values) }
    try broadcast(UnsafeMutableRawBufferPointer(buffer))
    return Array(buffer)
  }

  /// Whether it holds on any rank.
  package func any(_ condition: Bool) throws(CompilerError) -> Bool {
    try rankCount == 1 ? condition : allGather([condition]).contains(true)
  }

  /// Values 0 to `count`, of which every rank computes its own.
  /// - Parameter idle: what ranks send that have none left; any value.
  package func dealt<Value: BitwiseCopyable>(
    _ count: Int, idle: Value, _ value: (_ index: Int) throws(CompilerError) -> Value
  ) throws(CompilerError) -> [Value] {
    var result: [Value] = []
    for first in stride(from: 0, to: count, by: rankCount) {
      let own = first + rank
      result += try allGather([own < count ? value(own) : idle])
    }
    return Array(result.prefix(count))
  }

  /// - Parameter hash: of what must be the same on all ranks.
  /// - Throws: when it is not.
  package func requireSame(_ hash: UInt64, _ what: String) throws(CompilerError) {
    let all = try allGather([hash])
    guard let other = all.firstIndex(where: { $0 != all[0] }) else { return }
    throw CompilerError(
      "\(what) of rank \(other) differs from that of rank 0",
      notes: ["all need the same command, files and kind of processor"])
  }
}
