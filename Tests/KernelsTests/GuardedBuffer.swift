import Glibc

/// Memory that ends at an inaccessible page, so that a read or write behind it stops the process.
final class GuardedBuffer {
  let base: UnsafeMutableRawPointer
  let count: Int
  private let mapping: UnsafeMutableRawPointer
  private let mappedBytes: Int

  init(bytes count: Int, fill: UInt8) {
    let page = 4096
    mappedBytes = (count + page - 1) / page * page + page
    guard
      let mapping = mmap(nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      mapping != MAP_FAILED, mprotect(mapping + (mappedBytes - page), page, PROT_NONE) == 0
    else { fatalError("cannot map \(mappedBytes) bytes") }
    self.mapping = mapping
    self.count = count
    base = mapping + (mappedBytes - page - count)
    memset(base, Int32(fill), count)
  }

  convenience init<Element: BitwiseCopyable>(_ elements: [Element]) {
    self.init(bytes: elements.count * MemoryLayout<Element>.stride, fill: 0)
    elements.withUnsafeBytes {
      base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count)
    }
  }

  deinit { munmap(mapping, mappedBytes) }

  func pointer<Element: BitwiseCopyable>(to _: Element.Type) -> UnsafePointer<Element> {
    UnsafePointer(base.assumingMemoryBound(to: Element.self))
  }
}
