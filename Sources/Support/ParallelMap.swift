import Dispatch

/// `items` mapped by `transform` on up to `threads` threads, in order.
package func parallelMap<T: Sendable, R: Sendable>(
  _ items: [T], threads: Int, _ transform: @Sendable (T) -> R
) -> [R] {
  var results = [R?](repeating: nil, count: items.count)
  results.withUnsafeMutableBufferPointer { buffer in
    nonisolated(unsafe) let slots = buffer  // every index is written by one thread
    let workers = min(max(threads, 1), max(items.count, 1))
    DispatchQueue.concurrentPerform(iterations: workers) { worker in
      for index in stride(from: worker, to: items.count, by: workers) {
        slots[index] = transform(items[index])
      }
    }
  }
  return results.compactMap { $0 }
}
