#if hasFeature(Embedded)
  /// Without threads: the caller does all shares.
  final class ThreadPool {
    let threads = 1
    private var next = 0

    init(threads _: Int) {}

    func run(
      _ parts: Int, _ context: UnsafeMutableRawPointer,
      _ body: @convention(c) (UnsafeMutableRawPointer, Int) -> Void
    ) {
      next = 0
      for part in 0..<parts { body(context, part) }
    }

    func takeIndex() -> Int {
      next += 1
      return next - 1
    }
  }
#else
  import CInstructions
  import Glibc
  import Synchronization

  /// A few threads that work on the shares of one step at a time, with the caller as one of them. Shares go
  /// to whoever asks first, so that a thread that the system has put aside delays nobody. Between steps the
  /// threads spin for some 50 microseconds, since waking a parked thread takes as long as a small step; then
  /// they park.
  final class ThreadPool {
    let threads: Int
    private let next = Atomic<Int>(0)
    private let state: SharedState
    private var workers: [pthread_t] = []

    /// - Parameter threads: 1 or more, the caller included.
    init(threads: Int) {
      state = SharedState()
      for _ in 1..<max(threads, 1) {
        let start = Unmanaged.passRetained(state)
        var thread = pthread_t()
        let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
          if let argument { Unmanaged<SharedState>.fromOpaque(argument).takeRetainedValue().work() }
          return nil
        }
        guard pthread_create(&thread, nil, body, start.toOpaque()) == 0 else {
          // The system gives no more threads: go on with fewer.
          start.release()
          break
        }
        workers.append(thread)
      }
      self.threads = workers.count + 1
    }

    deinit {
      state.stop()
      for worker in workers { pthread_join(worker, nil) }
    }

    /// Calls `body(context, part)` for every part, on any threads, and returns when all calls have returned.
    /// - Requires: 1 <= parts <= 65535; one caller at a time.
    func run(
      _ parts: Int, _ context: UnsafeMutableRawPointer,
      _ body: @convention(c) (UnsafeMutableRawPointer, Int) -> Void
    ) {
      next.store(0, ordering: .relaxed)
      state.run(parts, context, body)
    }

    /// 0, 1, 2 … in each `run`, every number once: for bodies that take their work piece by piece.
    func takeIndex() -> Int { next.wrappingAdd(1, ordering: .relaxed).oldValue }
  }

  private final class SharedState: @unchecked Sendable {  // plain fields are published by `ticket`
    /// The number of parts in bits 0 to 15, the next part to take in bits 16 to 31.
    private let ticket = Atomic<UInt64>(0)
    /// Parts of the current run whose calls have returned.
    private let finished = Atomic<Int>(0)
    private let parked = Atomic<Int>(0)
    private let isStopping = Atomic<Bool>(false)
    private var context: UnsafeMutableRawPointer?
    private var body: (@convention(c) (UnsafeMutableRawPointer, Int) -> Void)?
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private static let spins = 2000  // some 20 ns each

    init() {
      mutex.initialize(to: pthread_mutex_t())
      wake.initialize(to: pthread_cond_t())
      pthread_mutex_init(mutex, nil)
      pthread_cond_init(wake, nil)
    }

    deinit {
      pthread_cond_destroy(wake)
      pthread_mutex_destroy(mutex)
      wake.deallocate()
      mutex.deallocate()
    }

    func run(
      _ parts: Int, _ context: UnsafeMutableRawPointer,
      _ body: @convention(c) (UnsafeMutableRawPointer, Int) -> Void
    ) {
      // No worker reads these fields now: each had taken a part of the last run, and all of those are
      // finished.
      self.context = context
      self.body = body
      finished.store(0, ordering: .relaxed)
      // Sequentially consistent on both sides: either a worker that parks sees the ticket, or it is seen
      // parked.
      ticket.store(UInt64(parts), ordering: .sequentiallyConsistent)
      if parts > 1 && parked.load(ordering: .sequentiallyConsistent) > 0 { wakeAll() }
      while let part = takePart() { call(part) }
      var spins = 0
      while finished.load(ordering: .acquiring) < parts {
        spins += 1
        // Where there are fewer processors than threads, let the worker have this one.
        if spins < Self.spins { qcc_pause() } else { sched_yield() }
      }
    }

    /// A part that is not taken yet. Whoever has one may read the fields until it is finished.
    private func takePart() -> Int? {
      var seen = ticket.load(ordering: .acquiring)
      while true {
        let part = seen >> 16
        guard part < seen & 0xFFFF else { return nil }
        let (exchanged, current) = ticket.weakCompareExchange(
          expected: seen, desired: seen + (1 << 16), ordering: .acquiringAndReleasing)
        if exchanged { return Int(part) }
        seen = current
      }
    }

    private func call(_ part: Int) {
      if let body, let context { body(context, part) }
      finished.wrappingAdd(1, ordering: .releasing)
    }

    private var hasParts: Bool {
      let seen = ticket.load(ordering: .sequentiallyConsistent)
      return seen >> 16 < seen & 0xFFFF
    }

    private func wakeAll() {
      pthread_mutex_lock(mutex)
      pthread_cond_broadcast(wake)
      pthread_mutex_unlock(mutex)
    }

    func stop() {
      isStopping.store(true, ordering: .sequentiallyConsistent)
      wakeAll()
    }

    /// The life of a worker.
    func work() {
      while true {
        var idle = 0
        while idle < Self.spins {
          if let part = takePart() {
            call(part)
            idle = 0
          } else {
            qcc_pause()
            idle += 1
          }
        }
        pthread_mutex_lock(mutex)
        parked.wrappingAdd(1, ordering: .sequentiallyConsistent)
        while !hasParts && !isStopping.load(ordering: .sequentiallyConsistent) {
          pthread_cond_wait(wake, mutex)
        }
        parked.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        pthread_mutex_unlock(mutex)
        if isStopping.load(ordering: .sequentiallyConsistent) { return }
      }
    }
  }
#endif
