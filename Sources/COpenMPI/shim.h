#pragma once
/* MPI's constants are macros that Swift cannot name, hence these functions. An error of MPI ends the run with its message:
   the default, which nothing here changes. */
#include <mpi.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* For calls from this thread alone. */
static inline void qcc_mpi_start(void) {
  int provided;
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
}
static inline int qcc_mpi_is_started(void) {
  int started;
  MPI_Initialized(&started);
  return started;
}
static inline int qcc_mpi_rank(void) {
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}
static inline int qcc_mpi_rank_count(void) {
  int count;
  MPI_Comm_size(MPI_COMM_WORLD, &count);
  return count;
}
/* `count` bytes of every rank; `all` holds as many for each. */
static inline void qcc_mpi_all_gather(const void *own, int count, void *all) {
  MPI_Allgather(own, count, MPI_BYTE, all, count, MPI_BYTE, MPI_COMM_WORLD);
}
/* `count` bytes from every rank to every rank. */
static inline void qcc_mpi_all_to_all(const void *own, int count, void *all) {
  MPI_Alltoall(own, count, MPI_BYTE, all, count, MPI_BYTE, MPI_COMM_WORLD);
}
/* From rank 0. */
static inline void qcc_mpi_broadcast(void *bytes, int count) {
  MPI_Bcast(bytes, count, MPI_BYTE, 0, MPI_COMM_WORLD);
}
/* Those that mpirun lets this process use; 0: unknown. The C library has its function for GNU extensions alone. */
static inline int qcc_bound_processor_count(void) {
  unsigned long mask[128];
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int count = 0;
  for (long i = 0; i < bytes / (long)sizeof *mask; i++) count += __builtin_popcountl(mask[i]);
  return count;
}
static inline void qcc_mpi_finish(void) { MPI_Finalize(); }
/* Ends all ranks. */
static inline void qcc_mpi_abort(int status) { MPI_Abort(MPI_COMM_WORLD, status); }
