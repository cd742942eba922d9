import Support

/// Fuzzes one reader of untrusted files: `qcc-fuzz READER [options and folders of libFuzzer]`.
/// Any trap, sanitizer report or time-out is a defect; a thrown error is not.
@main
enum Fuzz {
  static func main() {
    let readers = Reader.allCases.map(\.rawValue).joined(separator: ", ")
    guard CommandLine.arguments.count > 1, let chosen = Reader(rawValue: CommandLine.arguments[1]) else {
      try? writeStandardOutput(
        "usage: qcc-fuzz READER [libFuzzer's arguments]; READER is one of \(readers)\n")
      return
    }
    reader = chosen
    // libFuzzer sees the arguments without the reader's name.
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> = CommandLine.unsafeArgv + 1
    arguments[0] = CommandLine.unsafeArgv[0]
    var count = CommandLine.argc - 1
    _ = runFuzzer(&count, &arguments, testOneInput)
  }
}

enum Reader: String, CaseIterable {
  case onnx, qir, qpk, data, preprocessing

  func read(_ bytes: UnsafeRawBufferPointer) {
    switch self {
    case .onnx: readOnnx(bytes)
    case .qir: readGraph(bytes)
    case .qpk: readProgram(bytes)
    case .data: readData(bytes)
    case .preprocessing: readPreprocessing(bytes)
    }
  }
}

/// Set once, before the first input.
nonisolated(unsafe) private var reader = Reader.onnx

/// The name that libFuzzer's own objects call.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  reader.read(UnsafeRawBufferPointer(start: data, count: count))
  return 0
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt
