import Glibc
import IR
import Support

/// The files beside a model that hold tensors: mapped once each, and only below the model's own folder.
struct ExternalData {
  /// The folder of the model, or nil when it came from a pipe.
  let directory: String?
  /// The name of the model in messages.
  let location: String
  private var files: [String: MappedFile] = [:]

  init(directory: String?, location: String) {
    self.directory = directory
    self.location = location
  }

  /// The bytes that a tensor's `external_data` entries name.
  /// - Throws: `malformedInput` for paths that leave the folder and ranges that leave the file, `missingInput` for
  ///   files that are not there.
  mutating func storage(
    for tensor: String, entries: [(key: String, value: String)], byteCount: Int
  ) throws(CompilerError) -> TensorStorage {
    let location = location
    func fault(_ message: String) -> CompilerError {
      .malformed("tensor '\(tensor)': \(message)", at: location)
    }
    guard let name = entries.last(where: { $0.key == "location" })?.value, !name.isEmpty else {
      throw fault("external data without a location")
    }
    func number(_ key: String) throws(CompilerError) -> Int? {
      guard let text = entries.last(where: { $0.key == key })?.value else { return nil }
      guard let value = Int(text), value >= 0 else {
        throw fault("external data \(key) '\(text)' is not a size")
      }
      return value
    }
    let offset = try number("offset") ?? 0
    let length = try number("length")
    guard length == nil || length == byteCount else {
      throw fault("external data of \(length ?? 0) bytes, but its shape and type need \(byteCount)")
    }
    let file = try file(name, fault)
    guard offset <= file.bytes.count, byteCount <= file.bytes.count - offset else {
      throw fault(
        "bytes \(offset) to \(offset) + \(byteCount) leave '\(name)', which has \(file.bytes.count)")
    }
    return TensorStorage(file: file, range: offset..<(offset + byteCount))
  }

  private mutating func file(
    _ name: String, _ fault: (String) -> CompilerError
  ) throws(CompilerError) -> MappedFile {
    if let known = files[name] { return known }
    guard let directory else {
      throw fault("external data '\(name)', but the model is not a file: it has no folder")
    }
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard !name.hasPrefix("/"), !parts.contains(".."), !name.contains("\\") else {
      throw fault("external data path '\(name)' leaves the folder of the model")
    }
    let path = "\(directory)/\(name)"
    guard let real = resolved(path), let root = resolved(directory) else {
      throw CompilerError(
        "cannot open the external data '\(path)': \(systemMessage())", at: location,
        notes: ["keep the model's data files beside it, under the names they were exported with"],
        status: .missingInput)
    }
    guard real.hasPrefix(root == "/" ? "/" : root + "/") else {
      throw fault(
        "external data '\(name)' is a symbolic link out of the model's folder; copy the file there instead")
    }
    // Opening a pipe would wait for a writer.
    var status = stat()
    guard stat(real, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw fault("external data '\(name)' is not a regular file")
    }
    let file = try MappedFile(path: real)
    files[name] = file
    return file
  }

  /// The path without symbolic links, or nil (with errno) when it does not exist.
  private func resolved(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }
}
