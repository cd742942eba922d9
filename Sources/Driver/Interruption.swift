import Glibc
import Synchronization

/// The first Ctrl-C asks long work to stop at the next good place; the second ends the process at once.
enum Interruption {
  private static let isAsked = Atomic(false)

  /// From here on SIGINT is noted instead of ending the process; SIGTERM too where mpirun sends it to all ranks.
  static func watch() {
    // Touched first here: the handler must not run the lazy initializer.
    isAsked.store(false, ordering: .relaxed)
    for number in [SIGINT] + (Ranks.isDistributed ? [SIGTERM] : []) {
      signal(number) { number in
        Interruption.isAsked.store(true, ordering: .relaxed)
        signal(number, SIG_DFL)
      }
    }
  }
  static var isRequested: Bool { isAsked.load(ordering: .relaxed) }
}
