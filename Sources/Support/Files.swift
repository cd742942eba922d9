import Glibc

/// A file mapped read-only into memory; unmapped when the last reference goes.
package final class MappedFile: @unchecked Sendable {  // immutable after init
  package let path: String
  package let bytes: UnsafeRawBufferPointer

  /// - Throws: `missingInput` when the file cannot be opened, `inputOutput` when it cannot be mapped.
  package init(path: String) throws(CompilerError) {
    self.path = path
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw CompilerError("cannot open the file: \(systemMessage())", at: path, status: .missingInput)
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw CompilerError("not a regular file", at: path, status: .missingInput)
    }
    let count = Int(status.st_size)
    guard count > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw CompilerError("cannot map the file: \(systemMessage())", at: path, status: .inputOutput)
    }
    bytes = UnsafeRawBufferPointer(start: base, count: count)
  }

  /// What the file `path` of another machine holds.
  package init(path: String, holding contents: [UInt8]) {
    self.path = path
    guard !contents.isEmpty,
      let base = mmap(nil, contents.count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      base != MAP_FAILED
    else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    contents.withUnsafeBytes {
      UnsafeMutableRawBufferPointer(start: base, count: $0.count).copyMemory(from: $0)
    }
    bytes = UnsafeRawBufferPointer(start: base, count: contents.count)
  }

  /// A copy, for which the file surely stays mapped: `bytes` of a temporary may be gone before they are read.
  package var contents: [UInt8] { withExtendedLifetime(self) { Array(bytes) } }

  deinit { if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) } }
}

/// The message of the last failed system call.
package func systemMessage() -> String { String(cString: strerror(errno)) }

/// Whether `path` is a device or a pipe: something to write into, never to replace.
package func isSpecialFile(_ path: String) -> Bool {
  var status = stat()
  guard stat(path, &status) == 0 else { return false }
  return status.st_mode & S_IFMT != S_IFREG && status.st_mode & S_IFMT != S_IFDIR
}

/// Writes a file whole or not at all: into a temporary neighbour that is renamed at the end. Devices and pipes are
/// written into.
package func writeFile(_ path: String, _ bytes: UnsafeRawBufferPointer) throws(CompilerError) {
  let temporary = isSpecialFile(path) ? nil : "\(path).tmp\(getpid())"
  let descriptor =
    temporary.map { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666) }
    ?? open(path, O_WRONLY | O_CLOEXEC)
  guard descriptor >= 0 else {
    throw CompilerError("cannot create the file: \(systemMessage())", at: path, status: .cannotCreate)
  }
  var offset = 0
  while offset < bytes.count {
    // The count is positive, so the base exists.
    let written = write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
    if written < 0, errno == EINTR { continue }
    guard written > 0 else {
      let message = systemMessage()
      close(descriptor)
      if let temporary { unlink(temporary) }
      throw CompilerError("cannot write the file: \(message)", at: path, status: .inputOutput)
    }
    offset += written
  }
  close(descriptor)
  guard let temporary else { return }
  guard rename(temporary, path) == 0 else {
    let message = systemMessage()
    unlink(temporary)
    throw CompilerError("cannot write the file: \(message)", at: path, status: .cannotCreate)
  }
}

package func writeFile(_ path: String, _ content: [UInt8]) throws(CompilerError) {
  var failure: CompilerError?
  content.withUnsafeBytes { buffer in
    do throws(CompilerError) { try writeFile(path, buffer) } catch { failure = error }
  }
  if let failure { throw failure }
}

package func writeFile(_ path: String, _ text: String) throws(CompilerError) {
  try writeFile(path, Array(text.utf8))
}

/// Makes a folder and those above it; one that is there already is fine.
package func createFolder(_ path: String) throws(CompilerError) {
  if mkdir(path, 0o777) == 0 || errno == EEXIST { return }
  if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex {
    try createFolder(String(path[..<slash]))
    if mkdir(path, 0o777) == 0 || errno == EEXIST { return }
  }
  throw CompilerError("cannot create the folder: \(systemMessage())", at: path, status: .cannotCreate)
}
