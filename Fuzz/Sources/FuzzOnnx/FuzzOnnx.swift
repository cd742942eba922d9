import Importer
import Support

/// Reads arbitrary bytes as an ONNX model. The only permitted outcomes are a graph and a diagnostic.
private func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var options = ImportOptions()
  // libonnx is not ours to test, and slow.
  options.check = .off
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  do throws(CompilerError) {
    _ = try importModel(bytes: bytes, location: "input", directory: nil, options: options)
  } catch {
    precondition(!error.diagnostics.isEmpty && error.diagnostics.allSatisfy { !$0.message.isEmpty })
  }
  return 0
}

/// The entry point as SwiftPM names it; libFuzzer's own `main` cannot be one.
@_cdecl("FuzzOnnx_main")
public func entry(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
  var count = count
  var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> = arguments
  return runFuzzer(&count, &arguments, fuzz)
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt
