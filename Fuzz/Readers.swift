import CXXHash
import IR
import Importer
import KernelInterface
import Program
import Runtime
import Support

/// Imports and, where that succeeds, prints the graph and reads it back.
func readOnnx(_ bytes: UnsafeRawBufferPointer) {
  var options = ImportOptions()
  options.check = .off  // libonnx is not ours to test, and slow
  do throws(CompilerError) {
    checkRoundTrip(
      try importModel(bytes: bytes, location: "fuzz.onnx", directory: nil, options: options).graph)
  } catch {
    checkDiagnostics(error)
  }
}

/// Reads the text form, with invented weights where the text has none.
func readGraph(_ bytes: UnsafeRawBufferPointer) {
  do throws(CompilerError) {
    checkRoundTrip(try Graph(text: Array(bytes), file: "fuzz.qir", weights: .seeded))
  } catch {
    checkDiagnostics(error)
  }
}

func checkDiagnostics(_ error: CompilerError) {
  precondition(
    !error.diagnostics.isEmpty && error.diagnostics.allSatisfy { !$0.message.isEmpty },
    "an error says nothing")
}

/// The law of the text form; a graph that breaks it is a defect of the printer or the parser.
private func checkRoundTrip(_ graph: Graph) {
  let text = graph.text(.embedded)
  do throws(CompilerError) {
    let again = try Graph(text: text).text(.embedded)
    precondition(again == text, "the text changes when it is read and printed:\n\(text)\n---\n\(again)")
  } catch {
    preconditionFailure("the printed graph cannot be read: \(error)\n\(text)")
  }
}

/// Reads the bytes as they are, then with size and checksums made right, so that the records behind them are
/// reached; a program that is accepted runs.
func readProgram(_ bytes: UnsafeRawBufferPointer) {
  _ = try? Program(bytes: Array(bytes))
  var mended = Array(bytes)
  mendChecksums(&mended)
  guard let program = try? Program(bytes: mended), isSmall(program) else { return }
  for features: CPUFeatures in [[], .host] {
    let interpreter = Interpreter(program, features: features)
    let inputs = interpreter.inputNumbers.map { input in
      (0..<interpreter.inputCount(input)).map { Float($0 % 17) - 8 }
    }
    _ = try? interpreter.run(inputs)
  }
}

/// Whether running takes a moment, which a valid program need not.
private func isSmall(_ program: Program) -> Bool {
  var work = program.arenaBytes + program.tensors.reduce(0) { $0 + $1.byteCount }
  for (index, instruction) in program.instructions.enumerated() {
    work += program.products(index)
    switch instruction.operation {
    case .copy(let o): work += o.dimensions.reduce(1) { $0 * $1.extent }
    case .averagePool(let o):
      work += program.tensors[o.output].elementCount * o.window.kernelHeight * o.window.kernelWidth
    case .maxPool(let o):
      work += program.tensors[o.output].elementCount * o.window.kernelHeight * o.window.kernelWidth
    case .quantize, .dequantize, .convolution, .add, .multiply, .lookup, .softmax, .floatProduct: break
    }
    guard work < 4_000_000 else { return false }
  }
  return true
}

/// The offsets are those of FileFormat's table.
private func mendChecksums(_ file: inout [UInt8]) {
  let headerBytes = 64
  let entryBytes = 40
  guard file.count >= headerBytes else { return }
  func number(_ offset: Int) -> Int {
    (0..<8).reduce(0) { $0 | Int(file[offset + $1]) &<< (8 * $1) }
  }
  func store(_ value: UInt64, at offset: Int) {
    for byte in 0..<8 { file[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
  }
  store(UInt64(file.count), at: 16)
  let sections = Int(file[12])
  let tableEnd = headerBytes + sections * entryBytes
  guard tableEnd <= file.count else { return }
  for index in 0..<sections {
    let entry = headerBytes + index * entryBytes
    let offset = number(entry + 8)
    let length = number(entry + 16)
    guard offset >= 0, length >= 0, offset <= file.count, length <= file.count - offset else { continue }
    store(file.withUnsafeBytes { qcc_xxh3_64($0.baseAddress.map { $0 + offset }, length) }, at: entry + 32)
  }
  store(0, at: 24)
  store(file.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, tableEnd) }, at: 24)
}
