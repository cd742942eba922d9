import COpenMPI
import Glibc
import Support

/// The processes that `mpirun` started together. Without it there is this one alone, and MPI stays untouched.
enum Ranks {
  static let isDistributed = number("OMPI_COMM_WORLD_SIZE", 1) > 1
  /// Prints, and writes all files.
  static let isFirst = !isDistributed || number("OMPI_COMM_WORLD_RANK", 0) == 0
  static let all: any Communicator = isDistributed ? OpenMPI() : SingleProcess()

  /// Those of this machine that are a rank's own: as mpirun binds it, or its share.
  static let processorCount: Int = {
    let online = max(Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), 1)
    guard isDistributed else { return online }
    let share = max(online / number("OMPI_COMM_WORLD_LOCAL_SIZE", 1), 1)
    let bound = Int(qcc_bound_processor_count()), count = bound > 0 ? min(bound, share) : share
    if isFirst, count < share {
      Console.report(
        Diagnostic(
          .note, "mpirun binds every process to \(count) of \(online) processors; --bind-to none frees them"))
    }
    return count
  }()

  /// The end of all ranks: together, or at once where this one failed and others may wait for it.
  static func finish(_ status: Int32) {
    guard isDistributed, qcc_mpi_is_started() != 0 else { return }
    // All agree on an interruption.
    if status == ExitStatus.success.rawValue || status == ExitStatus.interrupted.rawValue {
      qcc_mpi_finish()
    } else {
      qcc_mpi_abort(status)
    }
  }

  /// Whether this rank should tell of an error: most of them all ranks meet, and the first, which tells, ends the others.
  static func shouldReport() -> Bool {
    guard !isFirst else { return true }
    waitForTheFirst()
    return !Interruption.isRequested
  }
  /// Time for the first rank to tell of an error: where another one ended before it, mpirun would end it untold.
  static func waitForTheFirst() { sleep(2) }

  private static func number(_ name: String, _ usual: Int) -> Int {
    environment(name).flatMap { Int($0) } ?? usual
  }
}

private struct OpenMPI: Communicator {
  let rank: Int
  let rankCount: Int

  init() {
    qcc_mpi_start()
    rank = Int(qcc_mpi_rank())
    rankCount = Int(qcc_mpi_rank_count())
  }
  func allGather(
    _ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer
  ) throws(CompilerError) {
    qcc_mpi_all_gather(own.baseAddress, try size(own.count), all.baseAddress)
  }
  func allToAll(
    _ own: UnsafeRawBufferPointer, into all: UnsafeMutableRawBufferPointer
  ) throws(CompilerError) {
    qcc_mpi_all_to_all(own.baseAddress, try size(own.count / rankCount), all.baseAddress)
  }
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer) throws(CompilerError) {
    qcc_mpi_broadcast(bytes.baseAddress, try size(bytes.count))
  }
  /// MPI counts in 32 bits.
  private func size(_ count: Int) throws(CompilerError) -> Int32 {
    guard let size = Int32(exactly: count) else {
      throw CompilerError("ranks can exchange messages below 2 GiB, not of \(humanBytes(count))")
    }
    return size
  }
}
