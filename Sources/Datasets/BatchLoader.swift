import Foundation
import Support

/// Several samples.
package struct Batch: Sendable {
  /// The network's input for each, row-major.
  package var inputs: [[Float]] = []
  /// Positions in the prepared dataset.
  package var positions: [Int] = []
  /// Class indices; nil where the data have none.
  package var labels: [Int?] = []

  package var count: Int { positions.count }
}

/// Reads samples ahead with worker threads and hands them out in order. At most `window` samples are in memory. The
/// result is the same for any number of threads. Damaged files are left out and listed in `unreadable`.
package final class BatchLoader {
  /// One message per sample that could not be read, in order; complete when `next` has returned nil.
  package private(set) var unreadable: [Diagnostic] = []
  private let state: LoaderState
  private var position = 0

  /// - Parameter threads: workers, at least 1.
  package init(_ data: PreparedDataset, threads: Int, window: Int = 64) {
    let threads = max(1, min(threads, data.count))
    let state = LoaderState(data, window: max(window, threads))
    self.state = state
    for _ in 0..<threads {
      Thread.detachNewThread { state.work() }
    }
  }

  deinit {
    state.stop()
  }

  /// The next samples, `size` of them unless the data end; nil at the end.
  /// - Throws: when a sample does not fit the network, or none can be read.
  package func next(_ size: Int) throws(CompilerError) -> Batch? {
    var batch = Batch()
    while batch.count < size, position < state.data.count {
      let result = state.take(position)
      switch result {
      case .success(let sample):
        batch.inputs.append(sample.values)
        batch.positions.append(position)
        batch.labels.append(sample.label)
      case .failure(let error):
        // A damaged file says nothing about the others; a wrong shape does.
        guard error.status == .malformedInput || error.status == .missingInput,
          unreadable.count < state.data.count - 1
        else { throw error }
        unreadable += error.diagnostics.map { .warning($0.message, at: $0.location, notes: $0.notes) }
      }
      position += 1
    }
    return batch.count == 0 ? nil : batch
  }
}

/// A ring of finished samples between the workers and the reader.
private final class LoaderState: @unchecked Sendable {  // every variable is guarded by `condition`
  typealias Outcome = Result<(values: [Float], label: Int?), CompilerError>

  let data: PreparedDataset
  private let condition = NSCondition()
  private var finished: [Outcome?]
  /// The next position that a worker takes, and the next one that the reader takes.
  private var started = 0
  private var taken = 0
  private var isStopped = false

  init(_ data: PreparedDataset, window: Int) {
    self.data = data
    finished = Array(repeating: nil, count: window)
  }

  func work() {
    while let position = claim() {
      let outcome: Outcome
      do throws(CompilerError) {
        outcome = .success(try data.sample(position))
      } catch {
        outcome = .failure(error)
      }
      condition.lock()
      finished[position % finished.count] = outcome
      condition.broadcast()
      condition.unlock()
    }
  }

  /// A position to work on, when there is room for its result.
  private func claim() -> Int? {
    condition.lock()
    defer { condition.unlock() }
    while !isStopped, started < data.count, started >= taken + finished.count { condition.wait() }
    guard !isStopped, started < data.count else { return nil }
    defer { started += 1 }
    return started
  }

  func take(_ position: Int) -> Outcome {
    condition.lock()
    defer { condition.unlock() }
    let slot = position % finished.count
    while true {
      if let outcome = finished[slot] {
        finished[slot] = nil
        taken = position + 1
        condition.broadcast()
        return outcome
      }
      condition.wait()
    }
  }

  func stop() {
    condition.lock()
    isStopped = true
    condition.broadcast()
    condition.unlock()
  }
}
