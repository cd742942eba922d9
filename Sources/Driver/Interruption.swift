import Glibc
import Synchronization

/// The first Ctrl-C asks long work to stop at the next good place; the second ends the process at once.
enum Interruption {
  private static let isAsked = Atomic(false)

  /// From here on SIGINT is noted instead of ending the process.
  static func watch() {
    // Touched first here: the handler must not run the lazy initializer.
    isAsked.store(false, ordering: .relaxed)
    signal(SIGINT) { _ in
      Interruption.isAsked.store(true, ordering: .relaxed)
      signal(SIGINT, SIG_DFL)
    }
  }
  static var isRequested: Bool { isAsked.load(ordering: .relaxed) }
}
