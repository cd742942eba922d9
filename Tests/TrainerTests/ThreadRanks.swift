import Foundation
import Support

/// Ranks that are threads of this process.
final class ThreadRanks: @unchecked Sendable {  // `state` is guarded by `condition`
  private let condition = NSCondition()
  private let rankCount: Int
  private var messages: [Int: [UInt8]] = [:]
  private var complete: [[UInt8]] = []
  private var generation = 0
  private var hasFailed = false

  private init(_ rankCount: Int) { self.rankCount = rankCount }

  /// What `body` returns on each of several ranks.
  /// - Throws: the first error of any rank, which ends the others.
  static func run<Result: Sendable>(
    _ rankCount: Int, _ body: @Sendable @escaping (any Communicator) throws -> Result
  ) throws -> [Result] {
    let shared = ThreadRanks(rankCount), results = Results<Result>()
    let threads = (0..<rankCount).map { rank in
      let thread = Thread {
        let outcome = Swift.Result { try body(Rank(rank: rank, shared: shared)) }
        if case .failure = outcome { shared.fail() }
        results.set(outcome, rank)
      }
      thread.stackSize = 8 << 20
      thread.start()
      return thread
    }
    while !threads.allSatisfy(\.isFinished) { usleep(1000) }
    return try (0..<rankCount).map { try results[$0].get() }
  }

  private final class Results<Result: Sendable>: @unchecked Sendable {  // guarded by `lock`
    private let lock = NSLock()
    private var outcomes: [Int: Swift.Result<Result, any Error>] = [:]
    func set(_ outcome: Swift.Result<Result, any Error>, _ rank: Int) {
      lock.withLock { outcomes[rank] = outcome }
    }
    subscript(rank: Int) -> Swift.Result<Result, any Error> {
      lock.withLock { outcomes[rank] ?? .failure(CompilerError("rank \(rank) left nothing")) }
    }
  }

  private func fail() {
    condition.withLock {
      hasFailed = true
      condition.broadcast()
    }
  }

  /// All messages, when every rank has sent one.
  private func exchange(_ message: [UInt8], _ rank: Int) throws(CompilerError) -> [[UInt8]] {
    condition.lock()
    defer { condition.unlock() }
    let own = generation
    messages[rank] = message
    if messages.count == rankCount {
      complete = (0..<rankCount).map { messages[$0] ?? [] }
      messages = [:]
      generation += 1
      condition.broadcast()
    }
    while generation == own, !hasFailed { condition.wait() }
    guard generation > own else { throw CompilerError("another rank failed") }
    return complete
  }

  private struct Rank: Communicator {
    let rank: Int
    let shared: ThreadRanks
    var rankCount: Int { shared.rankCount }
    func allGather(
      _ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer
    ) throws(CompilerError) {
      all.copyBytes(from: try shared.exchange(Array(own), rank).joined())
    }
    func allToAll(
      _ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer
    ) throws(CompilerError) {
      let size = own.count / rankCount
      let parts = try shared.exchange(Array(own), rank).map { $0[rank * size..<(rank + 1) * size] }
      all.copyBytes(from: parts.joined())
    }
    func broadcast(_ bytes: UnsafeMutableRawBufferPointer) throws(CompilerError) {
      bytes.copyBytes(from: try shared.exchange(rank == 0 ? Array(bytes) : [], rank)[0])
    }
  }
}
