import CZip
import Foundation
import Support

/// The arrays of an `.npz` file, in the byte order of their names.
package func readNumPyZip(
  _ path: String, limits: DataLimits = .standard
) throws(CompilerError) -> [(name: String, array: NumPyArray)] {
  var code: Int32 = 0
  guard let archive = zip_open(path, ZIP_RDONLY, &code) else {
    var error = zip_error_t()
    zip_error_init_with_code(&error, code)
    defer { zip_error_fini(&error) }
    throw dataError("is not a readable .npz file: \(String(cString: zip_error_strerror(&error)))", file: path)
  }
  defer { zip_discard(archive) }

  let memberCount = zip_get_num_entries(archive, 0)
  guard (1...1024).contains(memberCount) else {
    throw dataError("holds \(memberCount) members; 1 to 1024 arrays are read", file: path)
  }
  var remaining = limits.expandedBytes
  var arrays: [(name: String, array: NumPyArray)] = []
  for index in 0..<UInt64(memberCount) {
    guard let rawName = zip_get_name(archive, index, 0) else {
      throw dataError("member \(index) has no readable name", file: path)
    }
    let name = String(cString: rawName)
    guard name.hasSuffix(".npy") else { continue }
    let bytes = try readMember(archive, index, printable(name), path, limit: remaining)
    remaining -= bytes.count
    arrays.append(
      (String(name.dropLast(4)), try NumPyArray(.memory(bytes, name: "\(path)(\(printable(name)))"))))
  }
  guard !arrays.isEmpty else { throw dataError("holds no .npy members", file: path) }
  return arrays.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
}

/// Expands one member. Its claimed size is believed only up to what its compressed size can become.
private func readMember(
  _ archive: OpaquePointer, _ index: UInt64, _ name: String, _ path: String, limit: Int
) throws(CompilerError) -> [UInt8] {
  var information = zip_stat_t()
  zip_stat_init(&information)
  let needed = UInt64(ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE)
  guard zip_stat_index(archive, index, 0, &information) == 0, information.valid & needed == needed else {
    throw dataError("member '\(name)' has no size", file: path)
  }
  guard information.size <= UInt64(limit) else {
    throw dataError("member '\(name)' expands to \(information.size) bytes; \(limit) may be read", file: path)
  }
  // Deflate's best is 1032 to 1; libzip's other methods do not occur in .npz files.
  let size = Int(information.size)
  guard information.comp_size > UInt64(size) / 1040 || size < 4096 else {
    throw dataError("member '\(name)' claims an impossible size", file: path)
  }
  guard let member = zip_fopen_index(archive, index, 0) else {
    throw dataError("member '\(name)' cannot be read: \(String(cString: zip_strerror(archive)))", file: path)
  }
  defer { zip_fclose(member) }
  let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
    while initialized < size {
      // Non-nil: the buffer has `size` > `initialized` bytes.
      let got = zip_fread(member, buffer.baseAddress! + initialized, UInt64(size - initialized))
      guard got > 0 else { return }
      initialized += Int(got)
    }
  }
  // Reading past the end makes libzip check the checksum.
  var extra: UInt8 = 0
  guard bytes.count == size, zip_fread(member, &extra, 1) == 0 else {
    throw dataError("member '\(name)' is damaged", file: path, notes: ["copy or save the file again"])
  }
  return bytes
}

/// Text from a file for a diagnostic: control characters would let it write on the user's terminal.
func printable(_ text: String) -> String {
  String(
    String.UnicodeScalarView(
      text.unicodeScalars.prefix(200).map { $0.properties.generalCategory == .control ? "?" : $0 }))
}
