#if hasFeature(Embedded)
  /// Without threads: the caller does all shares.
  final class ThreadPool {
    let threads = 1
    private var next = 0

    init(threads _: Int) {}

    func run(_ parts: Int, _ context: UnsafeMutableRawPointer, _ body: (UnsafeMutableRawPointer, Int) -> Void) {
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

  /// A few threads that work on the shares of one step at a time, with the caller as the first of them. Between steps
  /// they spin for some 50 microseconds, since waking a parked thread takes as long as a small step; then they park.
  final class ThreadPool {
    let threads: Int
    private let next = Atomic<Int>(0)
    private let state: SharedState
    private var workers: [pthread_t] = []

    /// - Parameter threads: 1 or more, the caller included.
    init(threads: Int) {
      state = SharedState()
      for index in 1..<max(threads, 1) {
        let start = Unmanaged.passRetained(WorkerStart(state: state, index: index))
        var thread = pthread_t()
        let result = pthread_create(&thread, nil, { argument in
          guard let argument else { return nil }
          let start = Unmanaged<WorkerStart>.fromOpaque(argument).takeRetainedValue()
          start.state.work(start.index)
          return nil
        }, start.toOpaque())
        guard result == 0 else {
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

    /// Calls `body(context, part)` for every part, each on its own thread, and returns when all have returned.
    /// - Requires: 1 <= parts <= threads; one caller at a time.
    func run(
      _ parts: Int, _ context: UnsafeMutableRawPointer, _ body: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
      next.store(0, ordering: .relaxed)
      if parts > 1 { state.start(parts, context, body, workers: workers.count) }
      body(context, 0)
      if parts > 1 { state.waitForWorkers() }
    }

    /// 0, 1, 2 … in each `run`, every number once: for bodies that take their work piece by piece.
    func takeIndex() -> Int { next.wrappingAdd(1, ordering: .relaxed).oldValue }
  }

  private final class WorkerStart {
    let state: SharedState
    let index: Int

    init(state: SharedState, index: Int) {
      self.state = state
      self.index = index
    }
  }

  private final class SharedState: @unchecked Sendable {  // plain fields are published by `generation`
    private let generation = Atomic<Int>(0)
    /// Workers that have not finished with the current generation.
    private let busy = Atomic<Int>(0)
    private let parked = Atomic<Int>(0)
    private let isStopping = Atomic<Bool>(false)
    private var parts = 0
    private var context: UnsafeMutableRawPointer?
    private var body: (@Sendable (UnsafeMutableRawPointer, Int) -> Void)?
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

    func start(
      _ parts: Int, _ context: UnsafeMutableRawPointer, _ body: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void,
      workers: Int
    ) {
      self.parts = parts
      self.context = context
      self.body = body
      busy.store(workers, ordering: .relaxed)
      advance()
    }

    /// Sequentially consistent on both sides: either a worker that parks sees the new generation, or it is seen parked.
    private func advance() {
      generation.wrappingAdd(1, ordering: .sequentiallyConsistent)
      if parked.load(ordering: .sequentiallyConsistent) > 0 {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(mutex)
      }
    }

    func waitForWorkers() {
      var spins = 0
      while busy.load(ordering: .acquiring) > 0 {
        spins += 1
        // Where there are fewer processors than threads, let the worker have this one.
        if spins < Self.spins { qcc_pause() } else { sched_yield() }
      }
    }

    func stop() {
      isStopping.store(true, ordering: .relaxed)
      advance()
    }

    /// The life of worker `index`, which takes the part of that number.
    func work(_ index: Int) {
      var seen = 0
      while true {
        seen = waitForGeneration(after: seen)
        if isStopping.load(ordering: .relaxed) { return }
        if index < parts, let body, let context { body(context, index) }
        busy.wrappingSubtract(1, ordering: .releasing)
      }
    }

    private func waitForGeneration(after seen: Int) -> Int {
      for _ in 0..<Self.spins {
        let current = generation.load(ordering: .acquiring)
        if current != seen { return current }
        qcc_pause()
      }
      pthread_mutex_lock(mutex)
      parked.wrappingAdd(1, ordering: .sequentiallyConsistent)
      while generation.load(ordering: .sequentiallyConsistent) == seen { pthread_cond_wait(wake, mutex) }
      parked.wrappingSubtract(1, ordering: .sequentiallyConsistent)
      let current = generation.load(ordering: .acquiring)
      pthread_mutex_unlock(mutex)
      return current
    }
  }
#endif
