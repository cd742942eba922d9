import Glibc

/// Zeros that end where an inaccessible page starts, and start at most a page behind another.
package final class GuardedMemory {
  package let base: UnsafeMutableRawPointer
  private let mapping: UnsafeMutableRawPointer
  private let mappedBytes: Int

  package init(_ count: Int) {
    let page = 4096, pages = (count + page - 1) / page
    mappedBytes = (pages + 2) * page
    guard
      let mapping = mmap(nil, mappedBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      mapping != MAP_FAILED,
      pages == 0 || mprotect(mapping + page, pages * page, PROT_READ | PROT_WRITE) == 0
    else { fatalError("cannot map \(mappedBytes) bytes") }
    self.mapping = mapping
    base = mapping + (mappedBytes - page - count)
  }

  deinit { munmap(mapping, mappedBytes) }
}
