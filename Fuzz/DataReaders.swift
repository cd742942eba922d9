import Datasets
import Glibc
import Support

/// Opens the bytes as a data set of whatever format they claim to have, and prepares some samples.
func readData(_ bytes: UnsafeRawBufferPointer) {
  // A nameless file in memory.
  var name = Array("/dev/shm/qcc-fuzz-XXXXXX".utf8CString)
  let descriptor = mkstemp(&name)
  precondition(descriptor >= 0, "no file in memory")
  defer { close(descriptor) }
  unlink(name)
  var offset = 0
  while offset < bytes.count {
    // Non-nil: there are bytes left.
    let written = write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
    precondition(written > 0, "no room for the file in memory")
    offset += written
  }
  var limits = DataLimits()
  limits.imagePixels = 1 << 16
  limits.expandedBytes = 1 << 22
  var steps = Preprocessing()
  steps.resize = .size(height: 5, width: 7, .bicubic)
  do throws(CompilerError) {
    let dataset = try Dataset(path: "/proc/self/fd/\(descriptor)", limits: limits)
    for shape: [Int?] in [[nil, 3, 5, 7], [nil, 5, 7, 1], [nil, 35]] {
      let data = try PreparedDataset(dataset, inputShape: shape, preprocessing: steps, samples: 3, seed: 1)
      for position in 0..<data.count { _ = try data.sample(position) }
    }
  } catch {
    checkDiagnostics(error)
  }
}

/// Reads a preprocessing description; what it means must survive its canonical text.
func readPreprocessing(_ bytes: UnsafeRawBufferPointer) {
  do throws(CompilerError) {
    let parsed = try Preprocessing(yaml: String(decoding: bytes, as: UTF8.self), file: "fuzz.yaml")
    let again = try Preprocessing(yaml: parsed.canonicalText, file: "canonical")
    precondition(again == parsed, "the canonical text means something else")
    _ = try parsed.completed(for: [nil, 3, 224, 224])
  } catch {
    precondition(
      !error.diagnostics.contains { $0.location.hasPrefix("canonical") }, "the canonical text is refused")
    checkDiagnostics(error)
  }
}
