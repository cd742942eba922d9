import Foundation
import Support

/// A regular file read by position. Reading rather than mapping, so that a file that shrinks meanwhile gives an
/// error instead of a fault; positions make it safe to share between threads.
package final class RandomAccessFile: Sendable {
  package let path: String
  package let size: Int
  private let descriptor: Int32

  package init(path: String) throws(CompilerError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw dataError("cannot be opened: \(systemMessage())", file: path, status: .missingInput)
    }
    var information = stat()
    guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw dataError("is not a regular file", file: path)
    }
    self.path = path
    self.size = Int(information.st_size)
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
  }

  /// Exactly `count` bytes from `offset`.
  package func read(at offset: Int, count: Int) throws(CompilerError) -> [UInt8] {
    guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
      throw dataError("ends at byte \(size), before byte \(offset) + \(count)", file: path)
    }
    var failure: CompilerError?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      while initialized < count {
        // Non-nil: the buffer has `count` > `initialized` bytes.
        let target = UnsafeMutableRawPointer(buffer.baseAddress! + initialized)
        let got = pread(descriptor, target, count - initialized, off_t(offset + initialized))
        if got > 0 {
          initialized += got
        } else if got == 0 {
          failure = dataError("became shorter while it was read", file: path)
          return
        } else if errno != EINTR {
          failure = dataError("cannot be read: \(systemMessage())", file: path, status: .inputOutput)
          return
        }
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// The whole file, which may have at most `limit` bytes.
  package func readAll(limit: Int) throws(CompilerError) -> [UInt8] {
    guard size <= limit else {
      throw dataError("has \(size) bytes; at most \(limit) are read", file: path)
    }
    return try read(at: 0, count: size)
  }
}

/// What a path names.
enum PathKind {
  case file
  case folder
  case absent

  init(_ path: String) {
    var information = stat()
    guard stat(path, &information) == 0 else {
      self = .absent
      return
    }
    self = information.st_mode & S_IFMT == S_IFDIR ? .folder : .file
  }
}

/// The last component of a path.
func fileName(_ path: String) -> String {
  path.split(separator: "/").last.map(String.init) ?? path
}

/// The folder that holds `path`.
func folder(of path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}

func join(_ folder: String, _ name: String) -> String {
  folder.hasSuffix("/") ? folder + name : folder + "/" + name
}

/// Names in a folder, without hidden ones, in the order of their UTF-8 bytes.
func names(in folder: String) throws(CompilerError) -> [String] {
  guard let stream = opendir(folder) else {
    throw dataError("cannot be listed: \(systemMessage())", file: folder, status: .missingInput)
  }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if !name.hasPrefix(".") { names.append(name) }
  }
  return sortedByBytes(names)
}

/// Sorted by UTF-8 bytes: what `LC_ALL=C sort` and Python's `sorted` give, on every machine.
func sortedByBytes(_ names: [String]) -> [String] {
  names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}
